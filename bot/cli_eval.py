"""`troupe eval`: held-out questions, asked of a persona through an engine, and how many came out right."""

from __future__ import annotations

import json
import os
import sys
from contextlib import AsyncExitStack
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from bot.cli_shared import awaited, quiet_settings
from bot.exam import Result, sit
from bot.papers import Papers, read_papers
from bot.settings import Settings
from data.home import Home
from personas.loader import Cast, load_cast

__all__ = ["evaluate"]


def evaluate(
    persona: Annotated[str, typer.Argument(help="a persona")],
    as_json: Annotated[bool, typer.Option("--json", help="JSON on standard output")] = False,  # noqa: FBT002
    replies: Annotated[bool, typer.Option(help="with every question and its reply")] = False,  # noqa: FBT002
) -> None:
    """Ask a persona its held-out questions in several ways and count what is right."""
    from bot.app import SETS, SHIPPED_PERSONAS  # noqa: PLC0415

    settings = quiet_settings()
    cast = load_cast([SHIPPED_PERSONAS, Home(settings.home.resolve()).personas])
    if persona not in cast.personas:
        raise typer.BadParameter(f"nobody here is called {persona}; there are {', '.join(cast.personas)}")
    if not (cast[persona].folder / "probes.jsonl").is_file():
        raise typer.BadParameter(f"{persona} has no probes.jsonl; write held-out questions there first")
    papers = read_papers(cast[persona], SETS)
    if not papers.probes:
        raise typer.BadParameter(f"{persona}'s probes.jsonl is empty; write held-out questions there first")
    result = awaited(_sat(settings, cast, persona, papers))
    if as_json:
        typer.echo(json.dumps(_values(persona, result, with_replies=replies), ensure_ascii=False))
        return
    if replies:
        for verdict in result.ways[0].verdicts:
            mark = "right" if verdict.is_right else "wrong"
            typer.echo(f"{mark}  {' / '.join(verdict.probe.turns)} → {verdict.reply}")
    Console().print(_table(persona, result))


def _values(persona: str, result: Result, *, with_replies: bool) -> dict[str, Any]:
    served, *_ = result.ways
    values: dict[str, Any] = {
        "persona": persona,
        "adapter": result.adapter,
        "scores": [asdict(score) for score in (*served.scores, *result.more)],
        "other_ways": {way.name: [asdict(score) for score in way.scores] for way in result.ways[1:]},
        "median_seconds": result.median_seconds,
    }
    if with_replies:
        values["replies"] = [asdict(verdict) for verdict in served.verdicts]
        values["other_replies"] = {
            way.name: {verdict.probe.id: verdict.reply for verdict in way.verdicts} for way in result.ways[1:]
        }
    return values


def _table(persona: str, result: Result) -> Table:
    title = f"{persona}, {result.adapter or 'by prompt only'}"
    table = Table("held-out", *(way.name for way in result.ways), title=title)
    by_way = [{score.group: f"{score.right} of {score.asked}" for score in way.scores} for way in result.ways]
    groups = list(dict.fromkeys(group for found in by_way for group in found))
    for group in groups:
        table.add_row(group, *(found.get(group, "") for found in by_way))
    for score in result.more:
        table.add_row(score.group, f"{score.right} of {score.asked}")
    table.add_row("median seconds of a reply", f"{result.median_seconds:.2f}")
    return table


async def _sat(settings: Settings, cast: Cast, slug: str, papers: Papers) -> Result:
    from bot.app import SHIPPED_ADAPTERS  # noqa: PLC0415
    from bot.engine_process import borrowed_engine  # noqa: PLC0415
    from engine.client import HttpEngine  # noqa: PLC0415

    home = Home(settings.home.resolve())
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(borrowed_engine(settings, home, os.environ))
        client = HttpEngine(url)
        stack.push_async_callback(client.close)
        progress = Progress(console=Console(stderr=True), disable=not sys.stderr.isatty())
        stack.enter_context(progress)
        task = progress.add_task("asking", total=None)
        return await sit(
            client,
            home,
            SHIPPED_ADAPTERS,
            cast,
            slug,
            papers,
            expect=lambda total: progress.update(task, total=total),
            tick=lambda: progress.advance(task),
        )
