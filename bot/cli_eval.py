"""`troupe eval`: held-out questions, asked of a persona through an engine, and how many came out right."""

from __future__ import annotations

import json
import os
import sys
from contextlib import AsyncExitStack, nullcontext
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from bot.cli_shared import awaited, quiet_settings
from bot.errors import ProbesUnanswered
from bot.settings import Settings
from data.home import Home
from personas.loader import Persona, load_cast
from training.evaluate import Probe, Verdict, judge, read_probes, scores

__all__ = ["evaluate"]


def evaluate(
    persona: Annotated[str, typer.Argument(help="a persona")],
    as_json: Annotated[bool, typer.Option("--json", help="JSON on standard output")] = False,  # noqa: FBT002
    replies: Annotated[bool, typer.Option(help="with every question and its reply")] = False,  # noqa: FBT002
) -> None:
    """Ask a persona its held-out questions, greedily, and count what is right."""
    from bot.app import SHIPPED_PERSONAS  # noqa: PLC0415

    settings = quiet_settings()
    cast = load_cast([SHIPPED_PERSONAS, Home(settings.home.resolve()).personas]).personas
    if persona not in cast:
        raise typer.BadParameter(f"nobody here is called {persona}; there are {', '.join(cast)}")
    path = cast[persona].folder / "probes.jsonl"
    if not path.is_file():
        raise typer.BadParameter(f"{persona} has no probes.jsonl; write held-out questions there first")
    adapter, verdicts = awaited(_ask(settings, cast[persona], read_probes(path)))
    found = scores(verdicts)
    if as_json:
        values: dict[str, Any] = {
            "persona": persona,
            "adapter": adapter,
            "scores": [asdict(score) for score in found],
        }
        if replies:
            values["replies"] = [asdict(verdict) for verdict in verdicts]
        typer.echo(json.dumps(values, ensure_ascii=False))
        return
    if replies:
        for verdict in verdicts:
            mark = "right" if verdict.is_right else "wrong"
            typer.echo(f"{mark}  {' / '.join(verdict.probe.turns)} → {verdict.reply}")
    table = Table("held-out", "right", "of", title=f"{persona}, {adapter or 'by prompt only'}")
    for score in found:
        table.add_row(score.group, str(score.right), str(score.asked))
    Console().print(table)


async def _ask(settings: Settings, persona: Persona, probes: list[Probe]) -> tuple[str | None, list[Verdict]]:
    from bot.app import SHIPPED_ADAPTERS  # noqa: PLC0415
    from bot.engine_process import borrowed_engine  # noqa: PLC0415
    from bot.once import Asked, Heard, visit  # noqa: PLC0415
    from engine.client import HttpEngine  # noqa: PLC0415

    home = Home(settings.home.resolve())
    verdicts: list[Verdict] = []
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(borrowed_engine(settings, home, os.environ))
        client = HttpEngine(url)
        stack.push_async_callback(client.close)
        guest = await visit(client, home, SHIPPED_ADAPTERS, persona, seed=0, greedy=True)
        with Progress(console=Console(stderr=True)) if sys.stderr.isatty() else nullcontext() as progress:
            task = progress.add_task("asking", total=len(probes)) if progress is not None else None
            waiting = iter(probes)

            def emit(heard: Heard) -> None:
                if heard.error is not None:
                    raise ProbesUnanswered(f"Question {heard.asked.id} got no answer: {heard.error}")
                verdicts.append(judge(next(waiting), heard.replies[-1]))
                if progress is not None and task is not None:
                    progress.advance(task)

            await guest.batch([Asked(probe.id, probe.turns) for probe in probes], emit)
        return guest.adapter, verdicts
