"""`troupe data`: corpora, before anything is trained on them."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from bot.cli_shared import quiet_settings
from bot.corpora import Checked, gather
from bot.errors import CorpusUnknown
from data.checks.check import CHECKS, check
from data.checks.finding import Finding
from data.home import Home
from personas.loader import load_cast

__all__ = ["data_app"]

data_app = typer.Typer(no_args_is_help=True, help="Corpora: what personas are trained on.")

FEW = 3
COLUMNS = {"check": 13, "rows": 5, "share": 7, "bound": 7, "": 6}
# Six columns have seven lines and a blank at each side of the text.
BORDERS = 19
FEWEST = 12
# As many columns as a table in a file may have.
PIPED = 120


@data_app.callback()
def _data() -> None:
    """Corpora: what personas are trained on."""


@data_app.command("check", epilog="example: troupe data check li_bai --show leak")
def data_check(
    corpora: Annotated[
        list[str] | None, typer.Argument(help="personas, general sets or files; none: all of ours")
    ] = None,
    persona: Annotated[str | None, typer.Option(help="check a foreign file as this persona's text")] = None,
    show: Annotated[str | None, typer.Option(help="every row that this check found")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on standard output")] = False,  # noqa: FBT002
) -> None:
    """Look for faults that spoil a persona; exit code 1 where a bound is broken."""
    from bot.app import SETS, SHIPPED_PERSONAS  # noqa: PLC0415

    cast = load_cast([SHIPPED_PERSONAS, Home(quiet_settings().home.resolve()).personas]).personas
    known = ("unreadable", *CHECKS)
    if show is not None and show not in known:
        raise typer.BadParameter(f"there is no check {show}; there are {', '.join(known)}")
    if persona is not None and persona not in cast:
        raise typer.BadParameter(f"nobody here is called {persona}; there are {', '.join(cast)}")
    try:
        everything = list(gather(corpora or (), cast, sets=SETS, speaker=persona))
    except CorpusUnknown as error:
        raise typer.BadParameter(str(error)) from error
    results = [(one, _findings(one)) for one in everything]
    if as_json:
        typer.echo(json.dumps([_plain(one, found, show) for one, found in results], ensure_ascii=False))
    else:
        for one, found in results:
            _print(one, found, show)
    raise typer.Exit(1 if any(finding.is_broken for _, found in results for finding in found) else 0)


def _findings(one: Checked) -> list[Finding]:
    many = sys.stderr.isatty()
    found = []
    with Progress(console=Console(stderr=True), transient=True) if many else nullcontext() as progress:
        task = progress.add_task(one.name, total=len(CHECKS) + 1) if progress is not None else None
        for finding in check(one.corpus, one.context):
            found.append(finding)
            if progress is not None and task is not None:
                progress.advance(task)
    return found


def _print(one: Checked, found: Sequence[Finding], show: str | None) -> None:
    console = Console(highlight=False, width=None if sys.stdout.isatty() else PIPED)
    unit = one.corpus.unit
    if show is not None:
        for finding in found:
            for hit in finding.hits if finding.check == show else ():
                typer.echo(f"{one.path}, {unit} {hit.place}: {hit.text}")
        return
    whose = f", as {one.context.persona}" if one.context.persona else ""
    counted = "" if unit == "line" else "; rows are counted from 0"
    console.print(f"{one.name}: {len(one.corpus.rows)} rows{whose}{counted}", markup=False)
    table = Table()
    for name, width in COLUMNS.items():
        table.add_column(name, no_wrap=True, min_width=width)
    # A fixed width: the examples would else squeeze the figures out.
    room = max(FEWEST, console.width - sum(COLUMNS.values()) - BORDERS)
    table.add_column(f"{unit}s", no_wrap=True, overflow="ellipsis", width=room)
    for finding in found:
        mark = "" if finding.bound is None else "[red]broken[/]" if finding.is_broken else "[green]fine[/]"
        share, bound = f"{100 * finding.share:.2f} %", str(finding.bound or "–")
        table.add_row(finding.check, str(finding.count), share, bound, mark, _few(finding))
    console.print(table)


def _few(finding: Finding) -> Text:
    hits = finding.hits
    if not hits:
        return Text("")
    step = max(1, len(hits) // FEW)
    chosen = hits[: step * FEW : step][:FEW]
    return Text("\n".join(f"{hit.place}  {hit.text}" for hit in chosen))


def _plain(one: Checked, found: Sequence[Finding], show: str | None) -> dict[str, Any]:
    return {
        "corpus": one.name,
        "path": str(one.path),
        "rows": len(one.corpus.rows),
        "unit": one.corpus.unit,
        "persona": one.context.persona,
        "checks": [
            {
                "check": finding.check,
                "count": finding.count,
                "total": finding.total,
                "share": round(finding.share, 6),
                "bound": None if finding.bound is None else str(finding.bound),
                "broken": finding.is_broken,
                "hits": [
                    {unit: hit.place, "text": hit.text}
                    for unit in (one.corpus.unit,)
                    for hit in (finding.hits if finding.check == show else finding.hits[:FEW])
                ],
            }
            for finding in found
        ],
    }
