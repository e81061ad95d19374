"""The training process's composition root: `python -m training run | starter`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

__all__ = ["main"]

ROOT = Path(__file__).resolve().parent.parent


def main(arguments: Sequence[str] | None = None, environment: Mapping[str, str] = os.environ) -> int:
    """Runs one command and returns its exit code: 0 fine, 1 failed, 2 wrong use."""
    options = _parser().parse_args(arguments)
    threads = options.threads or environment.get("TROUPE_THREADS")
    _offline()
    # Imported late: `--help` must not wait for torch.
    import torch  # noqa: PLC0415

    from training.errors import TrainingError  # noqa: PLC0415

    if threads:
        torch.set_num_threads(int(threads))
    try:
        if options.command == "starter":
            _starter(options)
        else:
            _run(options)
    except TrainingError as error:
        print(error, file=sys.stderr)  # noqa: T201 - the command's answer
        return 1
    return 0


def _offline() -> None:
    """A training run finds its base in a folder; a hub is never asked."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TRANSFORMERS_OFFLINE", "1")
    # Set before torch's first import, or it has no effect.
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training",
        description="Trains the starter model or one adapter.",
        epilog="example: python -m training run --snapshot var/snapshots/7 --out var/adapters/li_bai/v1",
    )
    parser.add_argument("--threads", type=int, help="torch threads; 1 beside a serving engine")
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
    return parser
