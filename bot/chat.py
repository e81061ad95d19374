"""`troupe chat` at the keyboard: through a running bot, else with the core in this process."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import termios
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

from bot.app import make_bot
from bot.control import open_session
from bot.engine_process import borrowed_engine
from bot.errors import ControlUnavailable
from bot.once import visit
from bot.platforms.terminal import Terminal, talk
from bot.settings import Settings
from data.home import Home
from data.script import Lang
from engine.client import HttpEngine
from engine.errors import EngineError
from personas.errors import PersonaError
from personas.prompt import Turn

__all__ = ["chat", "chat_with_base"]

PROMPT = "> "


async def chat(settings: Settings, environment: Mapping[str, str], persona: str, lang: Lang) -> None:
    """Talks with a persona until the keyboard's end or /quit.

    Raises:
        BotError, DataError, EngineError: as the parts do.
    """
    home = Home(settings.home.resolve())
    with _tidy_terminal():
        try:
            reader, writer = await open_session(home.control_socket, "terminal", persona=persona, lang=lang)
        except ControlUnavailable:
            await _alone(settings, environment, home, persona, lang)
        else:
            await _through_bot(reader, writer, lang)


async def chat_with_base(
    settings: Settings, environment: Mapping[str, str], shipped: Path, *, seed: int, greedy: bool
) -> None:
    """Talks with the base itself: no card, no store, forgotten at the end.

    Raises:
        BotError, EngineError: as the parts do.
    """
    home = Home(settings.home.resolve())
    history: list[Turn] = []
    with _tidy_terminal():
        async with contextlib.AsyncExitStack() as stack:
            engine = HttpEngine(await stack.enter_async_context(borrowed_engine(settings, home, environment)))
            stack.push_async_callback(engine.close)
            guest = await visit(engine, home, shipped, None, seed=seed, greedy=greedy)
            while (line := await _read()) is not None and line.strip() not in {"/quit", "/exit"}:
                if line.strip() == "/reset":
                    history.clear()
                    continue
                if not line.strip():
                    continue
                screen = _Screen()
                try:
                    _, turn = await guest.turn(history, line, f"turn-{len(history)}", hear=screen.show)
                except (EngineError, PersonaError) as error:
                    _write(f"{error}\n")
                    continue
                screen.show(turn.assistant)
                _write("\n")
                history.append(turn)


class _Screen:
    """A reply that grows on the screen."""

    def __init__(self) -> None:
        self._shown = ""

    def show(self, text: str) -> None:
        if text.startswith(self._shown):
            _write(text[len(self._shown) :])
        else:
            _write(f"\n{text}")
        self._shown = text


async def _through_bot(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, lang: Lang) -> None:
    events: asyncio.Queue[Mapping[str, Any]] = asyncio.Queue()

    async def ask(request: Mapping[str, Any]) -> None:
        writer.write(json.dumps(request).encode() + b"\n")
        with contextlib.suppress(ConnectionError):  # the end is read, and told, on the other side
            await writer.drain()

    async def pump() -> None:
        with contextlib.suppress(ConnectionError):
            while line := await reader.readline():
                events.put_nowait(json.loads(line))
        events.put_nowait({"ended": True})

    try:
        async with asyncio.TaskGroup() as tasks:
            pumping = tasks.create_task(pump())
            await talk(_read, _write, ask, events, lang=lang)
            pumping.cancel()
    finally:
        writer.close()


async def _alone(
    settings: Settings, environment: Mapping[str, str], home: Home, persona: str, lang: Lang
) -> None:
    home.prepare()
    events: asyncio.Queue[Mapping[str, Any]] = asyncio.Queue()
    requests: asyncio.Queue[Mapping[str, Any] | None] = asyncio.Queue()

    async def incoming() -> AsyncIterator[Mapping[str, Any]]:
        while (request := await requests.get()) is not None:
            yield request

    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(home.lock())
        engine = HttpEngine(await stack.enter_async_context(borrowed_engine(settings, home, environment)))
        stack.push_async_callback(engine.close)
        bot = await stack.enter_async_context(make_bot(settings, home, engine))
        await bot.reconciler.once()
        terminal = Terminal(bot.core, bot.cast)
        bot.core.attach(terminal)
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(bot.core.run()), tasks.create_task(bot.reconciler.run())]
            session = tasks.create_task(terminal.session(persona, lang, incoming(), events.put))
            await talk(_read, _write, requests.put, events, lang=lang)
            await requests.put(None)
            await session
            for task in running:
                task.cancel()


async def _read() -> str | None:
    """The next line; a thread waits for it that nobody has to wait for, so that Ctrl-C ends the talk."""
    loop = asyncio.get_running_loop()
    typed: asyncio.Future[str | None] = loop.create_future()

    def give(line: str | None) -> None:
        if not typed.done():
            typed.set_result(line)

    def wait() -> None:
        try:
            line: str | None = input(PROMPT)
        except (EOFError, UnicodeDecodeError):
            line = None
        with contextlib.suppress(RuntimeError):  # the loop ended meanwhile
            loop.call_soon_threadsafe(give, line)

    threading.Thread(target=wait, name="keyboard", daemon=True).start()
    return await typed


@contextlib.contextmanager
def _tidy_terminal() -> Iterator[None]:
    """Line editing while the block runs, and the terminal as it was afterwards, also after Ctrl-C."""
    if not sys.stdin.isatty():
        yield
        return
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401, PLC0415 - input() edits lines once it is there
    before = termios.tcgetattr(sys.stdin)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
