"""`troupe adapters` and `troupe votes`: what the store knows, through the running bot or with its lock."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from bot.cli_shared import awaited, quiet_settings
from bot.errors import BotError
from data.home import Home

__all__ = ["adapters_app", "votes_app"]

adapters_app = typer.Typer(no_args_is_help=True, help="Versions of the personas' adapters.")
votes_app = typer.Typer(no_args_is_help=True, help="What people said of the replies.")

CONSENTS = ("yes", "vote", "no", "unasked")


@adapters_app.command("list", epilog="example: troupe adapters list --json")
def adapters_list(
    as_json: Annotated[bool, typer.Option("--json", help="JSON on standard output")] = False,  # noqa: FBT002
) -> None:
    """Versions for the configured base, and what is live."""
    rows = consulted("adapters")["adapters"]
    if as_json:
        typer.echo(json.dumps(rows, ensure_ascii=False))
        return
    table = Table("persona", "version", "name", "live as")
    for row in rows:
        table.add_row(row["persona"], row["version"], row["name"], ", ".join(row["aliases"]))
    Console().print(table)


@adapters_app.command("show", epilog="example: troupe adapters show li_bai v0")
def adapters_show(
    persona: Annotated[str, typer.Argument()], version: Annotated[str, typer.Argument()]
) -> None:
    """Everything that is known of one version."""
    for row in consulted("adapters")["adapters"]:
        if row["persona"] == persona and version in {row["version"], row["name"], row["digest"]}:
            for name, value in row.items():
                typer.echo(f"{name:<9} {', '.join(value) if isinstance(value, list) else value or '-'}")
            return
    raise BotError(f"{persona} has no version {version} for this base; troupe adapters list shows all.")


@adapters_app.command("promote", epilog="example: troupe adapters promote li_bai v0")
def adapters_promote(
    persona: Annotated[str, typer.Argument()], version: Annotated[str, typer.Argument()]
) -> None:
    """Make a version the one that people hear; the old one stays as previous."""
    _moved(consulted("promote", persona=persona, version=version))


@adapters_app.command("rollback", epilog="example: troupe adapters rollback li_bai")
def adapters_rollback(persona: Annotated[str, typer.Argument()]) -> None:
    """Go back to the previous version."""
    _moved(consulted("rollback", persona=persona))


@votes_app.command("stats", epilog="example: troupe votes stats --json")
def votes_stats(
    as_json: Annotated[bool, typer.Option("--json", help="JSON on standard output")] = False,  # noqa: FBT002
) -> None:
    """What people said and agreed to, what of it would train, and what the next run still lacks."""
    found = consulted("votes")
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False))
        return
    rows = found["votes"]
    table = Table("persona", "kind", "up", "down", "may train", "only the vote", "may not", "not asked yet")
    for persona, kind in dict.fromkeys((row["persona"], row["kind"]) for row in rows):
        mine = [row for row in rows if (row["persona"], row["kind"]) == (persona, kind)]
        columns = [("value", 1), ("value", -1), *(("consent", word) for word in CONSENTS)]
        counts = (sum(row["many"] for row in mine if row[name] == wanted) for name, wanted in columns)
        table.add_row(persona, kind, *map(str, counts))
    Console().print(table)
    for run in found["next_runs"]:
        _print_next_run(run)


@votes_app.command("export", epilog="example: troupe votes export li_bai --shape trl --out li_bai.jsonl")
def votes_export(
    persona: Annotated[str, typer.Argument()],
    out: Annotated[Path, typer.Option(help="the file to write, JSON lines")],
    shape: Annotated[str, typer.Option(help="trl, or llamafactory")] = "trl",
    pairs: Annotated[bool, typer.Option("--pairs", help="comparisons (DPO) instead of thumbs (KTO)")] = False,  # noqa: FBT002
) -> None:
    """Write the rows that votes make by now: only what people agreed to, scrubbed, none that is held out."""
    from training.votes import SHAPES  # noqa: PLC0415

    if shape not in SHAPES:
        raise typer.BadParameter(f"There is no shape {shape}; there are {', '.join(SHAPES)}.")
    found = consulted("export", persona=persona, shape=shape, out=str(out.resolve()), pairs=pairs)
    told = "comparisons" if pairs else f"rows, {found['good']} of them good"
    typer.echo(f"{found['out']} has {found['rows']} {told}.")


@adapters_app.command("verify", epilog="example: troupe adapters verify data/starter/adapters/li_bai/v0")
def adapters_verify(folder: Annotated[Path, typer.Argument()]) -> None:
    """Check an adapter folder against its manifest."""
    from data.manifest import ManifestError, verify  # noqa: PLC0415

    try:
        manifest = verify(folder)
    except ManifestError as error:
        raise BotError(str(error)) from error
    typer.echo(
        f"{folder} is {manifest.persona}@{manifest.digest[:8]} for base {manifest.base_fingerprint[:12]}."
    )


def _print_next_run(run: Any) -> None:
    from bot.next_run import FATES, LACKING  # noqa: PLC0415

    table = Table("thumbs", run["persona"])
    for fate, many in run["fates"].items():
        table.add_row(str(many), FATES[fate])
    Console().print(table)
    missing = ", ".join(f"{many} more {LACKING[name]}" for name, many in run["lacking"].items())
    state = f"needs {missing}" if missing else "has what it needs"
    waits = f" It {run['waits']}." if run.get("waits") else ""
    typer.echo(f"The next run of {run['persona']} {state}.{waits}")


def consulted(command: str, **arguments: str | bool) -> Any:
    from bot.app import starter_or  # noqa: PLC0415
    from bot.desk import consult  # noqa: PLC0415

    settings = quiet_settings()
    home, base, rows = Home(settings.home.resolve()), starter_or(settings.base), settings.train_rows
    return awaited(consult(home, base, command, least_rows=rows, **arguments))


def _moved(answer: Any) -> None:
    typer.echo(f"{answer['persona']} speaks with {answer['version']} ({answer['name']}) from now on.")
