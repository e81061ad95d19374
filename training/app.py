"""The training process's composition root: `python -m training run | starter | worker | bench`."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from training.worker import Worker

__all__ = ["main"]

ROOT = Path(__file__).resolve().parent.parent
PARENT_CHECK_S = 1.0
# EX_TEMPFAIL: to be tried again.
ADOPTED = 75


def main(arguments: Sequence[str] | None = None, environment: Mapping[str, str] = os.environ) -> int:
    """Runs one command and returns its exit code: 0 fine, 1 failed, 2 wrong use."""
    options = _parser().parse_args(arguments)
    threads = options.threads or environment.get("TROUPE_THREADS")
    if options.command == "worker":
        return _worker(options, environment)
    if options.command == "bench" and options.task is None:
        return _bench(options)
    _prepare_environment()
    # Imported late: `--help` must not wait for torch.
    import torch  # noqa: PLC0415

    from training.allocator import keep_freed_memory  # noqa: PLC0415
    from training.errors import TrainingError  # noqa: PLC0415

    keep_freed_memory()
    os.nice(options.nice)
    if options.parent is not None:
        _end_with(options.parent)
    if threads:
        torch.set_num_threads(int(threads))
    try:
        if options.command == "starter":
            _starter(options)
        elif options.command == "bench":
            _compete(options)
        else:
            _run(options)
    except TrainingError as error:
        print(error, file=sys.stderr)  # noqa: T201 - the command's answer
        return 1
    return 0


def _end_with(parent: int) -> None:
    """Ends this process when it is adopted: a bot that was killed cannot stop its trainer.

    The next bot goes on from the last checkpoint, and two trainers must not write the same folder.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(PARENT_CHECK_S)
        os._exit(ADOPTED)

    threading.Thread(target=watch, daemon=True, name="parent").start()


def _prepare_environment() -> None:
    """Sets what the libraries read at their first import, and only then."""
    # A training run finds its base in a folder; a hub is never asked.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TRANSFORMERS_OFFLINE", "1")
    # oneDNN keeps what it prepares for every shape of a step, up to 1,024 of them: gigabytes.
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


def _starter(options: argparse.Namespace) -> None:
    from training.starter import build_starter  # noqa: PLC0415

    build_starter(
        personas=options.personas,
        sets=options.sets,
        out=options.out,
        work=options.work,
        seed=options.seed,
        quick=options.quick,
        progress=sys.stderr.isatty() or options.progress,
    )


def _run(options: argparse.Namespace) -> None:
    from training.run import run  # noqa: PLC0415

    run(
        options.snapshot,
        base=options.base,
        out=options.out,
        work=options.work or options.out.with_name(f".work-{options.out.name}"),
        progress=sys.stderr.isatty() or options.progress,
    )


def _bench(options: argparse.Namespace) -> int:
    """Measures competitors in processes of their own; this one loads no torch."""
    from rich.console import Console  # noqa: PLC0415

    from personas.errors import PersonaError  # noqa: PLC0415
    from training.bench import ROWS_PER_STEP, Bench, as_table, bench, in_own_process  # noqa: PLC0415
    from training.errors import TrainingError  # noqa: PLC0415

    if options.rows is not None and options.rows < ROWS_PER_STEP:
        _parser().error(f"argument --rows: a step has {ROWS_PER_STEP}; give at least so many")
    asked = Bench.of(
        base=options.base,
        personas=options.personas,
        quick=options.quick,
        rows=options.rows,
        progress=sys.stderr.isatty() or options.progress,
    )
    try:
        document = bench(asked, lambda task: in_own_process(task, threads=options.threads))
    except (TrainingError, PersonaError) as error:
        print(error, file=sys.stderr)  # noqa: T201 - the command's answer
        return 1
    if options.json:
        print(json.dumps(document))  # noqa: T201 - likewise
    else:
        Console().print(as_table(document))
    return 0


def _compete(options: argparse.Namespace) -> None:
    from training.bench import Task  # noqa: PLC0415
    from training.competitor import compete  # noqa: PLC0415

    print(json.dumps(asdict(compete(Task.read(options.task)))))  # noqa: T201 - the bench reads the last line


def _worker(options: argparse.Namespace, environment: Mapping[str, str]) -> int:
    from training.worker import Worker  # noqa: PLC0415 - the worker itself needs no torch

    secret = environment.get("TROUPE_WORKER_SECRET", "")
    file = environment.get("TROUPE_WORKER_SECRET_FILE")
    try:
        secret = Path(file).read_text(encoding="utf-8").strip() if file else secret
    except OSError as error:
        print(f"TROUPE_WORKER_SECRET_FILE names {file}, which cannot be read: {error}.", file=sys.stderr)  # noqa: T201
        return 1
    if not secret:
        print("Set TROUPE_WORKER_SECRET, or …_FILE, to the bot's worker secret.", file=sys.stderr)  # noqa: T201
        return 2
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    worker = Worker(
        options.bot,
        secret,
        name=f"{socket.gethostname()}-{os.getpid()}",
        shared=options.shared,
        base=options.base,
        threads=options.threads,
    )
    try:
        asyncio.run(_until_told(worker))
    except KeyboardInterrupt:
        return 130
    return 0


async def _until_told(worker: Worker) -> None:
    """Works until SIGTERM, then ends the trainer in order."""
    task = asyncio.ensure_future(worker.run())
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await task


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training",
        description="Trains the starter model or one adapter.",
        epilog="example: python -m training run --snapshot var/snapshots/7 --out var/adapters/li_bai/v1",
    )
    parser.add_argument("--threads", type=int, help="torch threads; 1 beside a serving engine")
    parser.add_argument("--nice", type=int, default=0, help="added to this process's niceness")
    parser.add_argument("--parent", type=int, help="end when this process is no longer the parent")
    parser.add_argument("--progress", action="store_true", help="a progress bar even where no terminal is")
    commands = parser.add_subparsers(dest="command", required=True)
    starter = commands.add_parser("starter", help="build data/starter from the written text")
    starter.add_argument("--personas", type=Path, default=ROOT / "personas")
    starter.add_argument("--sets", type=Path, default=ROOT / "data" / "sets")
    starter.add_argument("--out", type=Path, default=ROOT / "data" / "starter")
    starter.add_argument("--work", type=Path, default=Path("var") / "starter")
    starter.add_argument("--seed", type=int, default=7)
    starter.add_argument("--quick", action="store_true", help="a small sample of everything, for tests")
    run = commands.add_parser("run", help="train one adapter from a snapshot folder")
    run.add_argument("--snapshot", type=Path, required=True)
    run.add_argument("--out", type=Path, required=True, help="where the adapter folder appears")
    run.add_argument("--base", type=Path, default=ROOT / "data" / "starter")
    run.add_argument("--work", type=Path)
    bench = commands.add_parser("bench", help="our loops and TRL's trainers on the same rows")
    bench.add_argument("--json", action="store_true", help="one JSON document on standard output")
    bench.add_argument("--quick", action="store_true", help="fewer rows and rounds")
    bench.add_argument("--rows", type=int, help="how many replies to learn from; rounded down to whole steps")
    bench.add_argument("--base", type=Path, default=ROOT / "data" / "starter")
    bench.add_argument("--personas", type=Path, default=ROOT / "personas")
    bench.add_argument("--task", help=argparse.SUPPRESS)
    worker = commands.add_parser("worker", help="claim runs from a bot and train them here")
    worker.add_argument("--bot", required=True, help="the bot's URL, for example http://bot:8080")
    worker.add_argument(
        "--shared", type=Path, default=Path("/var/lib/troupe"), help="the bot's home, mounted here"
    )
    worker.add_argument("--base", type=Path, default=ROOT / "data" / "starter")
    return parser
