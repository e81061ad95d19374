"""The command line: `troupe`. Exit codes: 0 fine, 1 failed, 2 wrong use; errors are one sentence."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import AsyncExitStack, nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from bot.cli_bench import bench_app
from bot.cli_data import data_app
from bot.cli_desk import adapters_app, votes_app
from bot.cli_eval import evaluate
from bot.cli_runs import runs_app
from bot.cli_shared import awaited, quiet_settings, settings_now
from bot.cli_user import user_app
from bot.errors import BotError
from bot.settings import Settings
from data.errors import DataError
from data.home import Home
from data.script import lang_of
from engine.errors import EngineError
from personas.errors import PersonaError
from personas.loader import Persona, check, load_cast
from training.errors import TrainingError

__all__ = ["main"]

app = typer.Typer(
    no_args_is_help=True, pretty_exceptions_enable=False, help="Persona chat bots that learn from thumbs."
)
personas_app = typer.Typer(no_args_is_help=True, help="Who can be talked to.")
app.add_typer(personas_app, name="personas")
app.add_typer(data_app, name="data")
app.add_typer(adapters_app, name="adapters")
app.add_typer(votes_app, name="votes")
app.add_typer(runs_app, name="runs")
app.add_typer(user_app, name="user")
app.add_typer(bench_app, name="bench")
app.command("eval", epilog="example: troupe eval li_bai --replies")(evaluate)

BASE = "base"
MARKS = {
    "fine": "[green]fine[/]   ",
    "missing": "[yellow]missing[/]",
    "unsafe": "[red]unsafe[/] ",
    "broken": "[red]broken[/] ",
}
Failures = (BotError, DataError, EngineError, PersonaError, TrainingError, OSError)


def main() -> None:
    """The entry point of `troupe`."""
    try:
        app()
    except BaseExceptionGroup as errors:
        first = _first(errors)
        if not isinstance(first, Failures):
            raise
        _fail(first)
    except Failures as error:
        _fail(error)
    except KeyboardInterrupt:
        sys.exit(130)


@app.command(epilog="example: TELEGRAM_TOKEN=… troupe run")
def run() -> None:
    """Start everything; the page is at http://127.0.0.1:8080."""
    from bot.app import run as serve  # noqa: PLC0415 - the platforms' libraries are slow to import

    raise typer.Exit(serve(settings_now(), os.environ))


@app.command(epilog='example: troupe chat li_bai --once "你字什么？" --json')
def chat(
    persona: Annotated[str, typer.Argument(help="a persona, or base")],
    once: Annotated[str | None, typer.Option(help="ask this, print the reply, end")] = None,
    batch: Annotated[Path | None, typer.Option(help='JSON lines {"id","question"} or {"id","turns"}')] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on standard output")] = False,  # noqa: FBT002
    explain: Annotated[bool, typer.Option(help="print what went into the prompt")] = False,  # noqa: FBT002
    seed: Annotated[int, typer.Option(help="of the draw")] = 0,
    greedy: Annotated[bool, typer.Option(help="the likeliest reply instead of a draw")] = False,  # noqa: FBT002
) -> None:
    """Talk with a persona in the terminal, or with the base model itself."""
    settings = quiet_settings()
    if once is not None and batch is not None:
        raise typer.BadParameter("choose --once or --batch, not both")
    known = _cast(settings)
    if persona != BASE and persona not in known:
        raise typer.BadParameter(f"nobody here is called {persona}; there are {', '.join(known)} and base")
    if once is None and batch is None:
        _talk(settings, persona, seed=seed, greedy=greedy)
        return
    from bot.once import Asked, read_batch  # noqa: PLC0415

    if batch is None:
        asked = once or ""
        rows = [Asked("once", (asked,), error=None if asked.strip() else "The question is empty.")]
    else:
        rows = read_batch(_text_of(batch))
    who = None if persona == BASE else known[persona]
    failed = awaited(
        _visit(
            settings,
            who,
            rows,
            as_json=as_json or batch is not None,
            explain=explain,
            seed=seed,
            greedy=greedy,
        )
    )
    raise typer.Exit(1 if failed else 0)


@app.command(epilog="example: troupe train li_bai --from corpus")
def train(
    persona: Annotated[str, typer.Argument()],
    source: Annotated[
        str, typer.Option("--from", help="corpus: the written dialogues; votes: what people said of replies")
    ] = "corpus",
) -> None:
    """One training run now; from votes the new adapter still has to pass its gate and its canary."""
    if source not in {"corpus", "votes"}:
        raise typer.BadParameter("choose --from corpus or --from votes")
    settings = quiet_settings()
    if persona not in _cast(settings):
        raise typer.BadParameter(f"nobody here is called {persona}")
    from bot.app import SETS, SHIPPED_PERSONAS, starter_or  # noqa: PLC0415
    from bot.train import train_now  # noqa: PLC0415

    folder = starter_or(settings.base)
    found = awaited(
        train_now(
            settings,
            persona,
            source="votes" if source == "votes" else "corpus",
            shipped=SHIPPED_PERSONAS,
            sets=SETS,
            base_folder=folder,
        )
    )
    if source == "corpus":
        typer.echo(f"{persona} has a new adapter, {found.run_id}; troupe adapters list shows what is live.")
        return
    told = found.reason or "The running bot judges it now."
    typer.echo(f"Run {found.run_id} of {persona} is {found.state.replace('_', ' ')}. {told}")


@app.command(epilog="example: troupe doctor")
def doctor() -> None:
    """What is set, what is missing, what is unsafe."""
    from bot.app import SHIPPED_ADAPTERS, SHIPPED_PERSONAS, starter_or  # noqa: PLC0415
    from bot.doctor import examine  # noqa: PLC0415

    settings = settings_now()
    console = Console(soft_wrap=True, highlight=False)
    levels = set()
    for finding in examine(
        settings, shipped=SHIPPED_PERSONAS, adapters=SHIPPED_ADAPTERS, base=starter_or(settings.base)
    ):
        levels.add(finding.level)
        console.print(f"{MARKS[finding.level]}  {finding.what:<16} {finding.text}", markup=True)
    raise typer.Exit(1 if levels & {"unsafe", "broken"} else 0)


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
    epilog="example: troupe engine --base starter --port 8081",
)
def engine(context: typer.Context) -> None:
    """The engine process alone; everything after `engine` goes to it."""
    raise typer.Exit(subprocess.call([sys.executable, "-m", "engine", *context.args]))  # noqa: S603 - our own module


@personas_app.command("list", epilog="example: troupe personas list")
def personas_list() -> None:
    """Everybody who can be talked to, and the folders that are broken."""
    cast = _whole_cast(settings_now())
    table = Table("persona", "en", "zh-CN", "lore", "dialogues")
    for persona in cast.personas.values():
        names = persona.names
        sizes = (str(len(persona.lore.sections)), str(len(persona.examples.all)))
        table.add_row(persona.slug, names["en"], names["zh-CN"], *sizes)
    console = Console(soft_wrap=True)
    console.print(table)
    for slug, reason in cast.broken:
        console.print(f"{slug}: {reason}", style="red")
    raise typer.Exit(1 if cast.broken else 0)


@personas_app.command("check", epilog="example: troupe personas check li_bai")
def personas_check(persona: Annotated[str, typer.Argument()]) -> None:
    """What is wrong with a persona's folder."""
    from bot.app import SHIPPED_PERSONAS  # noqa: PLC0415

    home = Home(settings_now().home.resolve())
    folder = next((f for f in (home.personas / persona, SHIPPED_PERSONAS / persona) if f.is_dir()), None)
    if folder is None:
        raise typer.BadParameter(f"there is no folder personas/{persona}")
    found = check(folder)
    for sentence in found:
        typer.echo(sentence)
    if not found:
        typer.echo(f"{persona} is fine.")
    raise typer.Exit(1 if found else 0)


async def _visit(
    settings: Settings,
    persona: Persona | None,
    rows: list[Any],
    *,
    as_json: bool,
    explain: bool,
    seed: int,
    greedy: bool,
) -> bool:
    from bot.app import SHIPPED_ADAPTERS  # noqa: PLC0415
    from bot.engine_process import borrowed_engine  # noqa: PLC0415
    from bot.once import Heard, visit  # noqa: PLC0415
    from engine.client import HttpEngine  # noqa: PLC0415

    home = Home(settings.home.resolve())
    failed = False
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(borrowed_engine(settings, home, os.environ))
        client = HttpEngine(url)
        stack.push_async_callback(client.close)
        guest = await visit(client, home, SHIPPED_ADAPTERS, persona, seed=seed, greedy=greedy)
        many = len(rows) > 1 and sys.stderr.isatty()
        with Progress(console=Console(stderr=True)) if many else nullcontext() as progress:
            task = progress.add_task("asking", total=len(rows)) if progress is not None else None

            def emit(heard: Heard) -> None:
                nonlocal failed
                failed = failed or heard.error is not None
                _print(heard, persona, guest.adapter, as_json=as_json, explain=explain)
                if progress is not None and task is not None:
                    progress.advance(task)

            await guest.batch(rows, emit)
    return failed


def _print(heard: Any, persona: Persona | None, adapter: str | None, *, as_json: bool, explain: bool) -> None:
    if explain and heard.explained is not None:
        for part in heard.explained.parts:
            typer.echo(f"{part.kind:<9}{part.tokens:>5} tokens  {part.why}: {part.text!r}", err=True)
    if heard.error is not None:
        if as_json:
            typer.echo(json.dumps({"id": heard.asked.id, "error": heard.error}, ensure_ascii=False))
        else:
            typer.echo(heard.error, err=True)
        return
    if not as_json:
        typer.echo(heard.replies[-1])
        return
    row: dict[str, Any] = {"id": heard.asked.id, "reply": heard.replies[-1]}
    if heard.asked.is_multi:
        row["replies"] = list(heard.replies)
    row |= {"persona": persona.slug if persona else BASE, "adapter": adapter, "seconds": heard.seconds}
    typer.echo(json.dumps(row, ensure_ascii=False))


def _talk(settings: Settings, persona: str, *, seed: int, greedy: bool) -> None:
    from bot.app import SHIPPED_ADAPTERS  # noqa: PLC0415
    from bot.chat import chat, chat_with_base  # noqa: PLC0415 - only the talk needs the whole core

    if persona == BASE:
        awaited(chat_with_base(settings, os.environ, SHIPPED_ADAPTERS, seed=seed, greedy=greedy))
        return
    lang = lang_of(os.environ.get("LC_ALL") or os.environ.get("LANG", "").partition(".")[0]) or "en"
    awaited(chat(settings, os.environ, persona, lang))


def _text_of(batch: Path) -> str:
    try:
        return batch.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise typer.BadParameter(f"{batch} cannot be read as text: {error}") from error


def _whole_cast(settings: Settings) -> Any:
    from bot.app import SHIPPED_PERSONAS  # noqa: PLC0415

    return load_cast([SHIPPED_PERSONAS, Home(settings.home.resolve()).personas])


def _cast(settings: Settings) -> dict[str, Persona]:
    return dict(_whole_cast(settings).personas)


def _fail(error: BaseException) -> None:
    typer.echo(str(error), err=True)
    sys.exit(1)


def _first(errors: BaseExceptionGroup[Any]) -> BaseException:
    first = errors.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first


if __name__ == "__main__":
    main()
