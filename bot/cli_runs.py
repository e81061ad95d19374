"""`troupe runs`: training runs, what the gate found of them, and the operator's yes or veto."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Column, Table

from bot.cli_desk import consulted

__all__ = ["runs_app"]

runs_app = typer.Typer(no_args_is_help=True, help="Training runs, and whether they may go live.")

RunId = Annotated[str, typer.Argument(metavar="RUN", help="as troupe runs list shows it")]
MOMENTS = ("created_at", "updated_at", "lease_until", "share_since", "canary_since", "promoted_at")


@runs_app.command("list", epilog="example: troupe runs list --json")
def runs_list(
    as_json: Annotated[bool, typer.Option("--json", help="JSON on standard output")] = False,  # noqa: FBT002
) -> None:
    """Every run, oldest first, with how it stands and why."""
    rows = consulted("runs")["runs"]
    if as_json:
        typer.echo(json.dumps(rows, ensure_ascii=False))
        return
    table = Table(
        Column("run", no_wrap=True), "persona", "kind", Column("state", no_wrap=True), "since", "why"
    )
    for row in rows:
        since = _moment(row["updated_at"])
        table.add_row(row["id"], row["persona"], row["kind"], _standing(row), since, row["reason"] or "")
    Console().print(table)


@runs_app.command("show", epilog="example: troupe runs show 1hq0x8n2v3k4m5p6q7")
def runs_show(run: RunId) -> None:
    """Everything that is known of one run, and the gate's report as Markdown."""
    found = consulted("run", run=run)
    for name, value in found["run"].items():
        if value is not None:
            typer.echo(f"{name:<18} {_moment(value) if name in MOMENTS else value}")
    typer.echo(f"\n{found['report']}", nl=False)


@runs_app.command("approve", epilog="example: troupe runs approve 1hq0x8n2v3k4m5p6q7")
def runs_approve(run: RunId) -> None:
    """Let a run that waits for it go to a first share of the conversations."""
    _say(consulted("run_approve", run=run)["run"])


@runs_app.command("veto", epilog="example: troupe runs veto 1hq0x8n2v3k4m5p6q7")
def runs_veto(run: RunId) -> None:
    """Keep a run from going live, or take it back where it is live."""
    _say(consulted("run_veto", run=run)["run"])


def _say(row: Any) -> None:
    typer.echo(f"Run {row['id']} of {row['persona']} is {_standing(row)} now.")


def _standing(row: Any) -> str:
    state = str(row["state"]).replace("_", " ")
    return f"{state}, {row['share']} of 100" if row["state"] == "canary" else state


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")
