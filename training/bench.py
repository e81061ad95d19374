"""`troupe bench train`: our loops beside TRL's trainers on the same rows in one run; imports no torch.

Each competitor works in a process of its own, which only it loads into memory, and they take turns round by
round: what else the machine does meets all of them alike. Figures are medians over the rounds.

What is compared: KTO without replay and without our looks at what is forgotten, which TRL has not, and with
as many mismatched pairs as TRL takes; likelihood of the replies alone (SFT). TRL runs as it comes, but with
activation checkpointing off where we have none either, and without writing a checkpoint, which ours does;
"trl_precomputed" asks the reference before training, as ours does. Tokens are those of the prompts and
replies, without padding and mismatched pairs, once for every pass.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from training.bench_rows import drawn_thumbs
from training.errors import PeerMissing, RunFailed
from training.vote_rows import Votes

__all__ = [
    "EPOCHS",
    "ROWS_PER_STEP",
    "SEED",
    "Bench",
    "Measured",
    "Task",
    "as_table",
    "bench",
    "in_own_process",
]

SEED = 1
# Twice: what is asked of the reference before the first pass serves the second too.
EPOCHS = 2
ROWS_PER_STEP = 8
COMPETITORS = {"kto": ("ours", "trl", "trl_precomputed"), "sft": ("ours", "trl")}
RATIOS = {"ratio": "tokens_per_s", "cpu_ratio": "tokens_per_cpu_s"}
VERSIONS = ("torch", "transformers", "peft", "trl")
LAST_WORDS = 2000


@dataclass(frozen=True, slots=True)
class Bench:
    """What to measure: so many ``rows``, so many ``rounds``; ``progress`` shows a bar on standard error."""

    base: Path
    personas: Path
    rows: int
    rounds: int
    progress: bool

    @classmethod
    def of(cls, *, base: Path, personas: Path, quick: bool, rows: int | None, progress: bool) -> Bench:
        """The usual one, or with ``quick`` a small one; ``rows`` are rounded down to whole steps."""
        wanted, rounds = (8, 2) if quick else (96, 3)
        wanted = wanted if rows is None else rows - rows % ROWS_PER_STEP
        return cls(base, personas, wanted, rounds, progress)


@dataclass(frozen=True, slots=True)
class Task:
    """One competitor's work: ``rows`` is the folder with the votes, ``out`` takes what it writes.

    ``is_large``: QLoRA on a random base in the shape of Qwen3-8B instead of ``adapter`` on ``base``.
    """

    loss: str
    trainer: str
    rows: Path
    base: Path
    adapter: Path
    out: Path
    is_large: bool = False

    def text(self) -> str:
        """The task as a line of JSON."""
        return json.dumps(asdict(self), default=str)

    @classmethod
    def read(cls, text: str) -> Task:
        """What `text` wrote."""
        values = json.loads(text)
        return cls(**values | {name: Path(values[name]) for name in ("rows", "base", "adapter", "out")})


@dataclass(frozen=True, slots=True)
class Measured:
    """What one competitor took; ``peak_mib``: of the GPU's memory where there is one, else of the process."""

    seconds: float
    cpu_seconds: float
    tokens: int
    steps: int
    peak_mib: float
    device: str
    threads: int


Measure = Callable[[Task], Measured]


def bench(asked: Bench, measure: Measure) -> Mapping[str, Any]:
    """Measures all competitors and returns the document.

    Raises:
        PeerMissing: TRL is not installed.
        RunFailed: there is nothing to measure on, or a competitor broke.
    """
    if importlib.util.find_spec("trl") is None:
        raise PeerMissing
    adapters = sorted((asked.base / "adapters").glob("*/v0"))
    if not adapters:
        raise RunFailed(f"{asked.base} has no adapters/*/v0 to train further; name another base.")
    with tempfile.TemporaryDirectory() as scratch:
        task = Task("", "", Path(scratch) / "rows", asked.base, adapters[0], Path(scratch) / "out")
        personas = [asked.personas / adapter.parent.name for adapter in adapters]
        _write(personas, asked, task.rows)
        with Progress(console=Console(stderr=True), disable=not asked.progress) as progress:
            at_work = progress.add_task("measuring", total=asked.rounds * sum(map(len, COMPETITORS.values())))

            def watched(one: Task) -> Measured:
                progress.update(at_work, description=f"{one.loss} by {one.trainer}")
                found = measure(one)
                progress.advance(at_work)
                return found

            measured = _rounds(task, asked.rounds, watched)
            first = measured["kto", "ours"][0]
            document: dict[str, Any] = {
                "device": first.device,
                "threads": first.threads,
                "rows": asked.rows,
                "rows_per_step": ROWS_PER_STEP,
                "epochs": EPOCHS,
                "rounds": asked.rounds,
                "versions": {name: importlib.metadata.version(name) for name in VERSIONS},
                **_compared(measured),
            }
            if first.device == "cpu":
                document["qlora"] = {"skipped": "there is no CUDA GPU"}
            else:
                progress.update(at_work, total=2 * asked.rounds * sum(map(len, COMPETITORS.values())))
                document["qlora"] = _compared(_rounds(replace(task, is_large=True), asked.rounds, watched))
    return document


def in_own_process(task: Task, *, threads: int | None) -> Measured:
    """Has the task done by a process of its own.

    Raises:
        RunFailed: with its last words.
    """
    command = [sys.executable, "-m", "training"]
    command += [] if threads is None else ["--threads", str(threads)]
    done = subprocess.run(  # noqa: S603 - our own module
        [*command, "bench", "--task", task.text()],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RunFailed(
            f"{task.loss} by {task.trainer} ended with {done.returncode}: …{done.stdout[-LAST_WORDS:]}"
        )
    # Trainers print what they like; the figures are the last line.
    return Measured(**json.loads(done.stdout.splitlines()[-1]))


def as_table(document: Mapping[str, Any]) -> Table:
    """The document for people."""
    title = f"{document['device']}, threads: {document['threads']}, {document['rows']} rows"
    columns = ("tokens/s", "tokens/CPU-s", "peak MiB", "seconds", "ours : theirs", "by CPU-s")
    table = Table("", *columns, title=title)
    for prefix, part in (("", document), ("QLoRA ", document["qlora"])):
        for loss, competitors in COMPETITORS.items():
            for trainer in competitors if loss in part else ():
                figures = part[loss][trainer]
                ratios = () if trainer == "ours" else (trainer.replace("trl", name) for name in RATIOS)
                table.add_row(
                    f"{prefix}{loss} {trainer}".replace("_", " "),
                    *(f"{figures[name]:,.0f}" for name in (*RATIOS.values(), "peak_mib")),
                    f"{figures['seconds']:.1f}",
                    *(f"{part[loss][name]:.2f}" for name in ratios),
                )
    if "skipped" in document["qlora"]:
        table.caption = f"QLoRA was skipped: {document['qlora']['skipped']}."
    return table


def _write(personas: Sequence[Path], asked: Bench, folder: Path) -> None:
    thumbs = drawn_thumbs(personas, asked.base, rows=asked.rows, seed=SEED)
    folder.mkdir()
    for name, lines in Votes(thumbs=tuple(thumbs)).files().items():
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        (folder / name).write_text(text, encoding="utf-8")


def _rounds(task: Task, rounds: int, measure: Measure) -> dict[tuple[str, str], list[Measured]]:
    measured: dict[tuple[str, str], list[Measured]] = {}
    for number in range(rounds):
        for loss, competitors in COMPETITORS.items():
            for trainer in competitors:
                out = task.out / f"{number}-{loss}-{trainer}-{task.is_large}"
                found = measure(replace(task, loss=loss, trainer=trainer, out=out))
                measured.setdefault((loss, trainer), []).append(found)
    return measured


def _compared(measured: Mapping[tuple[str, str], Sequence[Measured]]) -> dict[str, Any]:
    """Each loss with its competitors' medians, and how many times as fast ours is."""
    found: dict[str, Any] = {}
    for (loss, trainer), each in measured.items():
        part = found.setdefault(loss, {})
        part[trainer] = {
            "tokens_per_s": _median(one.tokens / one.seconds for one in each),
            "tokens_per_cpu_s": _median(one.tokens / one.cpu_seconds for one in each),
            "peak_mib": _median(one.peak_mib for one in each),
            "seconds": _median(one.seconds for one in each),
        }
        if trainer != "ours":
            for name, figure in RATIOS.items():
                ratio = part["ours"][figure] / part[trainer][figure]
                part[trainer.replace("trl", name)] = round(ratio, 2)
    return found


def _median(values: Iterable[float]) -> float:
    return round(statistics.median(values), 2)
