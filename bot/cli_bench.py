"""`troupe bench`: figures, with ratios to peers that are measured in the same run.

What needs torch runs in a process of its own, whose output and exit code are passed on.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bot.cli_shared import awaited, quiet_settings

if TYPE_CHECKING:
    from bot.bench.command import Asked

__all__ = ["bench_app"]

LOOP_RUNS = Path(__file__).resolve().parent.parent / "docs" / "loop-runs.jsonl"

bench_app = typer.Typer(no_args_is_help=True, help="Figures, with ratios to peers in the same run.")


@bench_app.callback()
def _bench() -> None:
    """Figures, with ratios to peers in the same run."""


@bench_app.command("train", epilog="example: troupe bench train --quick --json")
def bench_train(
    as_json: Annotated[bool, typer.Option("--json", help="one JSON document on standard output")] = False,  # noqa: FBT002
    quick: Annotated[bool, typer.Option(help="fewer rows and rounds: some minutes")] = False,  # noqa: FBT002
    rows: Annotated[int | None, typer.Option(min=1, help="how many replies to learn from")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="torch threads; none: as configured")] = None,
) -> None:
    """Tokens a second and memory of our training loops and of TRL's trainers on the same rows."""
    wanted = threads or quiet_settings().threads
    command = [sys.executable, "-m", "training"]
    command += [] if wanted is None else ["--threads", str(wanted)]
    command.append("bench")
    command += ["--json"] if as_json else []
    command += ["--quick"] if quick else []
    command += [] if rows is None else ["--rows", str(rows)]
    raise typer.Exit(subprocess.call(command))  # noqa: S603 - our own module


@bench_app.command("loop", epilog="example: troupe bench loop --quick --json")
def bench_loop(
    as_json: Annotated[bool, typer.Option("--json", help="one JSON document on standard output")] = False,  # noqa: FBT002
    quick: Annotated[bool, typer.Option(help="one persona, one taste, two rounds: some minutes")] = False,  # noqa: FBT002
    demo: Annotated[bool, typer.Option(help="one round to watch, with a refusal and a rollback")] = False,  # noqa: FBT002
    attack: Annotated[str | None, typer.Option(help="what goes wrong; a line goes to --log")] = None,
    gate: Annotated[bool, typer.Option(help="whether what was trained has to pass the gate")] = True,  # noqa: FBT002
    taste: Annotated[str | None, typer.Option(help="form, content, tone or FILE.py:FUNCTION")] = None,
    persona: Annotated[str | None, typer.Option(help="who learns; else two with opposite tastes")] = None,
    rounds: Annotated[int | None, typer.Option(min=1)] = None,
    replies: Annotated[int | None, typer.Option(min=1, help="of each persona in a round, at least")] = None,
    raters: Annotated[int | None, typer.Option(min=12, help="people who chat and vote")] = None,
    seed: Annotated[int | None, typer.Option(help="of the people and the prompts")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="of the whole bench")] = None,
    recipe: Annotated[str | None, typer.Option(help="of the training from votes")] = None,
    log: Annotated[Path, typer.Option(help="where each attack leaves a line")] = LOOP_RUNS,
    table: Annotated[bool, typer.Option("--table", help="the table of --log, and nothing else")] = False,  # noqa: FBT002
    plot: Annotated[Path | None, typer.Option(help="draw the tastes over the rounds, an SVG file")] = None,
) -> None:
    """Simulated people chat and vote, and the whole loop runs on it; the store is one of its own."""
    from bot.bench import report  # noqa: PLC0415 - the core is slow to import

    if table:
        typer.echo(report.table(report.read_lines(log)))
        return
    if demo and attack is not None:
        raise typer.BadParameter("choose --demo or --attack, not both")
    from bot.bench.command import Asked  # noqa: PLC0415

    asked = Asked(
        is_short=quick or demo or attack is not None,
        taste=taste,
        persona=persona,
        attack=attack,
        is_gated=gate,
        rounds=rounds,
        replies=replies,
        raters=raters,
        seed=seed,
        threads=threads,
        recipe=recipe,
    )
    found = _measured(asked, is_demo=demo, says=not as_json)
    if attack is not None:
        with log.open("a", encoding="utf-8") as file:
            file.write(f"{report.line(found, on=str(datetime.now(UTC).date()))}\n")
    if plot is not None:
        report.draw(found, plot)
    typer.echo(json.dumps(found, ensure_ascii=False) if as_json else report.summary(found))


def _measured(asked: Asked, *, is_demo: bool, says: bool) -> Mapping[str, Any]:
    from bot.app import SETS, SHIPPED_ADAPTERS, SHIPPED_PERSONAS, starter_or  # noqa: PLC0415
    from bot.bench.command import measure, options_of  # noqa: PLC0415
    from bot.bench.errors import BenchError  # noqa: PLC0415
    from bot.bench.live import Screen  # noqa: PLC0415
    from bot.bench.options import Site  # noqa: PLC0415
    from personas.loader import load_cast  # noqa: PLC0415

    settings = quiet_settings()
    known = load_cast([SHIPPED_PERSONAS]).personas
    if asked.persona is not None and asked.persona not in known:
        raise typer.BadParameter(f"nobody here is called {asked.persona}; there are {', '.join(known)}")
    try:
        options = options_of(asked)
    except BenchError as error:
        raise typer.BadParameter(str(error)) from error
    site = Site(SHIPPED_PERSONAS, SETS, SHIPPED_ADAPTERS, starter_or(settings.base))
    with Screen(says=says) as screen:
        found: Mapping[str, Any] = awaited(measure(site, settings, options, screen, is_demo=is_demo))
    return found
