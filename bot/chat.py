"""`troupe chat PERSONA` at the keyboard: through a running bot, else with the core in this process."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator, Mapping
from typing import Any

from bot.app import make_bot
from bot.control import open_session
from bot.engine_process import borrowed_engine
from bot.errors import ControlUnavailable
from bot.platforms.terminal import Terminal, talk
from bot.settings import Settings
from data.home import Home
from engine.client import HttpEngine

__all__ = ["chat"]

PROMPT = "> "


async def chat(settings: Settings, environment: Mapping[str, str], persona: str, lang: str) -> None:
    """Talks until the keyboard's end or /quit.

    Raises:
        BotError, EngineError: as the parts do.
    """
    home = Home(settings.home.resolve())
    try:
        reader, writer = await open_session(home.control_socket, "terminal", persona=persona, lang=lang)
    except ControlUnavailable:
        await _alone(settings, environment, home, persona, lang)
        return
    events: asyncio.Queue[Mapping[str, Any]] = asyncio.Queue()

    async def ask(request: Mapping[str, Any]) -> None:
        writer.write(json.dumps(request).encode() + b"\n")
        await writer.drain()

    async def pump() -> None:
        while line := await reader.readline():
            events.put_nowait(json.loads(line))

    try:
        async with asyncio.TaskGroup() as tasks:
            pumping = tasks.create_task(pump())
            await talk(_read, _write, ask, events)
            pumping.cancel()
    finally:
        writer.close()


async def _alone(
    settings: Settings, environment: Mapping[str, str], home: Home, persona: str, lang: str
) -> None:
    home.prepare()
    events: asyncio.Queue[Mapping[str, Any]] = asyncio.Queue()
    requests: asyncio.Queue[Mapping[str, Any] | None] = asyncio.Queue()

    async def incoming() -> AsyncIterator[Mapping[str, Any]]:
        while (request := await requests.get()) is not None:
            yield request

    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(home.lock())
        url = await stack.enter_async_context(borrowed_engine(settings, home, environment))
        engine = HttpEngine(url)
        stack.push_async_callback(engine.close)
        bot = await stack.enter_async_context(make_bot(settings, home, engine))
        await bot.reconciler.once()
        terminal = Terminal(bot.core)
        bot.core.attach(terminal)
        async with asyncio.TaskGroup() as tasks:
            core = tasks.create_task(bot.core.run())
            session = tasks.create_task(terminal.session(persona, lang, incoming(), events.put))
            await talk(_read, _write, requests.put, events)
            await requests.put(None)
            await session
            core.cancel()


async def _read() -> str | None:
    def line() -> str | None:
        try:
            return input(PROMPT)
        except EOFError:
            return None

    return await asyncio.to_thread(line)


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
