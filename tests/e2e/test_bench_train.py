"""The training bench with its real competitors, on a base that is made in a second."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path

import pytest
import torch

from tests.fakes.tiny import make_adapter, make_base
from training.bench import COMPETITORS, EPOCHS, ROWS_PER_STEP, Bench, Measured, Task, bench, in_own_process
from training.competitor import compete
from training.errors import RunFailed
from training.random_base import QWEN3_8B, random_policy

pytestmark = pytest.mark.long
ROOT = Path(__file__).parents[2]


@pytest.fixture(name="asked", scope="module")
def _asked(tmp_path_factory):
    base = make_base(tmp_path_factory.mktemp("base"), context=4096)
    make_adapter(base / "adapters/li_bai/v0", base, persona="li_bai")
    personas = tmp_path_factory.mktemp("personas")
    written = ROOT / "personas/li_bai"
    shutil.copytree(written, personas / "li_bai", ignore=shutil.ignore_patterns("*.jsonl", "*.png"))
    lines = (written / "dialogues.jsonl").read_text(encoding="utf-8").splitlines()
    (personas / "li_bai/dialogues.jsonl").write_text("\n".join(lines[::100]) + "\n", encoding="utf-8")
    return Bench(base, personas, rows=ROWS_PER_STEP, rounds=1, progress=False)


@pytest.mark.skipif(
    importlib.util.find_spec("trl") is None, reason="trl, which is compared, is not installed"
)
def test_every_competitor_makes_the_same_steps_on_the_same_tokens(asked):
    measured = {}

    def measure(task):
        measured[task.loss, task.trainer] = found = compete(task)
        return found

    document = bench(asked, measure)
    assert {loss: tuple(part for part in document[loss] if "ratio" not in part) for loss in COMPETITORS} == {
        "kto": ("ours", "trl", "trl_precomputed"),
        "sft": ("ours", "trl"),
    }
    assert {one.steps for one in measured.values()} == {EPOCHS * asked.rows // ROWS_PER_STEP}
    (tokens,) = {one.tokens for one in measured.values()}
    assert tokens > asked.rows * EPOCHS
    for one in measured.values():
        assert one.seconds > 0
        assert one.cpu_seconds > 0
        assert one.peak_mib > 0
    assert json.loads(json.dumps(document)) == document


def test_a_competitor_works_in_a_process_of_its_own_and_one_that_breaks_says_why(asked, tmp_path):
    rows = tmp_path / "rows"

    def keep_rows(task):
        if not rows.exists():
            shutil.copytree(task.rows, rows)
        return Measured(1.0, 1.0, 1, 1, 1.0, "cpu", 1)

    bench(asked, keep_rows)
    task = Task("kto", "ours", rows, asked.base, asked.base / "adapters/li_bai/v0", tmp_path / "out")
    found = in_own_process(task, threads=1)
    assert (found.threads, found.steps) == (1, EPOCHS * asked.rows // ROWS_PER_STEP)
    with pytest.raises(RunFailed, match=r"(?s)kto by ours ended with 1: .*expects a positive integer"):
        in_own_process(task, threads=-1)


def test_a_random_base_comes_in_nf4_without_a_file():
    shape = QWEN3_8B | {
        "vocab_size": 512, "hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32,
    }  # fmt: skip
    model = random_policy(shape, device="cpu", prepared=False, seed=1)
    assert model.get_base_model().is_loaded_in_4bit
    layers = model.get_base_model().model.layers
    assert {layer.mlp.up_proj.base_layer.weight.dtype for layer in layers} == {torch.uint8}
    assert {"lora_" in name for name, weights in model.named_parameters() if weights.requires_grad} == {True}
    with torch.no_grad():
        assert model(torch.arange(8)[None]).logits.isfinite().all()
