"""`troupe user`: the rights of the people who talked with the bot, carried out by its operator."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from bot.cli_desk import consulted
from bot.rights import PERSON

__all__ = ["user_app"]

user_app = typer.Typer(no_args_is_help=True, help="What is kept of a person: a copy of it, and its end.")

Person = Annotated[str, typer.Argument(help="PLATFORM:USER_ID, for example telegram:12345")]


@user_app.command("export", epilog="example: troupe user export telegram:12345 --out kept.json")
def user_export(
    person: Person,
    out: Annotated[Path | None, typer.Option(help="the file to write; standard output without it")] = None,
) -> None:
    """Everything that is kept of a person, as JSON: messages, the replies to them, votes, consent, events."""
    _check(person)
    if out is not None:
        found = consulted("user_export", person=person, out=str(out.resolve()))
        kept = ", ".join(f"{many} {sort}" for sort, many in found["kept"].items())
        typer.echo(f"{found['out']} has what is kept of {person}: {kept}.")
        return
    # A file all the same: what a running bot keeps of somebody may be longer than an answer of its socket.
    with TemporaryDirectory(prefix="troupe-") as folder:
        copy = Path(folder) / "kept.json"
        consulted("user_export", person=person, out=str(copy))
        typer.echo(copy.read_text(encoding="utf-8"), nl=False)


@user_app.command("forget", epilog="example: troupe user forget telegram:12345 --yes")
def user_forget(
    person: Person,
    yes: Annotated[bool, typer.Option("--yes", help="do not ask")] = False,  # noqa: FBT002
) -> None:
    """Erase everything that is kept of a person, in snapshots too; it cannot be undone."""
    _check(person)
    if not yes:
        typer.confirm(f"Erase everything that is kept of {person}, for ever?", abort=True, err=True)
    found = consulted("user_forget", person=person)
    erased = ", ".join(f"{many} {sort}" for sort, many in found["erased"].items() if many)
    if not erased:
        typer.echo(f"Nothing was kept of {person}.")
        return
    typer.echo(f"{person} is forgotten: {erased}.")
    for path in found["deleted"]:
        typer.echo(f"{path} is deleted.")
    for persona in found["rebuilds"]:
        typer.echo(f"{persona} speaks with an adapter that learnt from it; a rebuild is due.")


def _check(person: str) -> None:
    if PERSON.fullmatch(person) is None:
        raise typer.BadParameter(f"{person!r} names nobody; write PLATFORM:USER_ID, as in telegram:12345")
