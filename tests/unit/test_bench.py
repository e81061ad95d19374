"""The training bench without its competitors: who works when, and what is made of their figures."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from training.bench import COMPETITORS, ROWS_PER_STEP, Bench, Measured, Task, as_table, bench
from training.errors import RunFailed
from training.vote_rows import read_votes

ROOT = Path(__file__).parents[2]
FIGURES = Measured(
    seconds=2.0, cpu_seconds=4.0, tokens=1000, steps=4, peak_mib=512.0, device="cpu", threads=1
)
# Seconds of one turn each; of three the median counts.
SECONDS = {"ours": (1.0, 2.0, 9.0), "trl": (3.0, 8.0, 4.0), "trl_precomputed": (2.0, 2.0, 1.0)}


@pytest.fixture(name="asked", scope="module")
def _asked(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bench")
    (folder / "base/adapters/li_bai/v0").mkdir(parents=True)
    for name in ("tokenizer.json", "config.json"):
        shutil.copyfile(ROOT / "data/starter" / name, folder / "base" / name)
    persona = folder / "personas/li_bai"
    shutil.copytree(ROOT / "personas/li_bai", persona, ignore=shutil.ignore_patterns("*.jsonl"))
    lines = (ROOT / "personas/li_bai/dialogues.jsonl").read_text(encoding="utf-8").splitlines()
    (persona / "dialogues.jsonl").write_text("\n".join(lines[::100]) + "\n", encoding="utf-8")
    return Bench(folder / "base", folder / "personas", rows=16, rounds=3, progress=False)


class Competitors:
    """Answers every task at once; remembers the tasks and the thumbs they were given."""

    def __init__(self, device="cpu"):
        self.device = device
        self.tasks = []
        self.thumbs = []

    def __call__(self, task):
        turns = sum((each.loss, each.trainer) == (task.loss, task.trainer) for each in self.tasks)
        self.tasks.append(task)
        self.thumbs.append(read_votes(task.rows).thumbs)
        seconds = SECONDS[task.trainer]
        return replace(FIGURES, seconds=seconds[turns % len(seconds)], device=self.device)


def test_competitors_take_turns_round_by_round_on_the_same_rows(asked):
    competitors = Competitors()
    bench(asked, competitors)
    order = [(loss, trainer) for loss, each in COMPETITORS.items() for trainer in each]
    assert [(task.loss, task.trainer) for task in competitors.tasks] == 3 * order
    assert len({task.out for task in competitors.tasks}) == 3 * len(order)
    assert len({tuple(thumbs) for thumbs in competitors.thumbs}) == 1


def test_rows_are_served_prompts_with_written_replies_of_both_kinds(asked):
    competitors = Competitors()
    bench(asked, competitors)
    (thumbs, *_) = competitors.thumbs
    assert len(thumbs) == 16
    assert {thumb.is_good for thumb in thumbs} == {True, False}
    persona = (asked.personas / "li_bai/dialogues.jsonl").read_text(encoding="utf-8")
    for thumb in thumbs:
        assert [message.role for message in thumb.messages[:1]] == ["system"]
        assert thumb.messages[-1].role == "user"
        assert json.dumps(thumb.completion, ensure_ascii=False) in persona


def test_the_document_holds_medians_and_how_many_times_as_fast_ours_is(asked):
    document = bench(asked, Competitors())
    assert json.loads(json.dumps(document)) == document
    assert set(document) == {
        "device", "threads", "rows", "rows_per_step", "epochs", "rounds", "versions", "kto", "sft", "qlora",
    }  # fmt: skip
    assert (document["rows"], document["rounds"], document["device"]) == (16, 3, "cpu")
    kto = document["kto"]
    assert kto["ours"] == {
        "tokens_per_s": 500.0, "tokens_per_cpu_s": 250.0, "peak_mib": 512.0, "seconds": 2.0,
    }  # fmt: skip
    assert kto["trl"]["tokens_per_s"] == 250.0
    assert (kto["ratio"], kto["cpu_ratio"], kto["ratio_precomputed"]) == (2.0, 1.0, 1.0)
    assert set(document["sft"]) == {"ours", "trl", "ratio", "cpu_ratio"}


def test_qlora_is_measured_where_a_gpu_is_and_else_the_document_says_why_not(asked):
    assert bench(asked, Competitors())["qlora"] == {"skipped": "there is no CUDA GPU"}
    competitors = Competitors("NVIDIA H200")
    document = bench(asked, competitors)
    assert set(document["qlora"]) == {"kto", "sft"}
    half = len(competitors.tasks) // 2
    assert [task.is_large for task in competitors.tasks] == [False] * half + [True] * half


@pytest.mark.parametrize("device", ["cpu", "NVIDIA H200"])
def test_people_get_a_table_with_every_competitor(asked, device):
    console = Console(record=True, width=160, file=open("/dev/null", "w"))  # noqa: PTH123, SIM115
    with console.file:
        console.print(as_table(bench(asked, Competitors(device))))
    shown = console.export_text()
    for words in ("kto ours", "kto trl precomputed", "sft trl", device):
        assert words in shown
    assert ("QLoRA kto ours" in shown) == (device != "cpu")
    assert ("QLoRA was skipped" in shown) == (device == "cpu")


@pytest.mark.parametrize(("rows", "used"), [(8, 8), (15, 8), (16, 16), (None, 96)])
def test_rows_come_in_whole_steps(rows, used):
    made = Bench.of(base=ROOT, personas=ROOT, quick=False, rows=rows, progress=False)
    assert (made.rows, made.rows % ROWS_PER_STEP) == (used, 0)


def test_a_base_without_adapters_is_refused_in_one_sentence(asked, tmp_path):
    with pytest.raises(RunFailed, match="has no adapters") as refused:
        bench(replace(asked, base=tmp_path), Competitors())
    assert "\n" not in str(refused.value)


def test_a_task_is_read_as_it_was_written():
    task = Task("kto", "trl", Path("/a"), Path("/b"), Path("/c"), Path("/d"), is_large=True)
    assert Task.read(task.text()) == task


def test_who_waits_for_the_competitors_loads_no_torch():
    """The memory of the one that waits would be missing where it is measured."""
    code = "import sys, training.app, training.bench; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=ROOT).returncode == 0
