"""The conversation process's composition root: everything is made here, once, and ended here.

```
startup: lock, store, engine child or URLs, cast, core ──► serving ──► SIGTERM or Ctrl-C ──► shutdown
                                                            a second Ctrl-C ends it at once
```
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import structlog
from prometheus_client import CollectorRegistry

from bot.another import Another
from bot.banner import greet
from bot.control import parsed
from bot.control import serve as serve_control
from bot.conversation import Conversation
from bot.desk import COMMANDS, Desk
from bot.engine_process import EngineAddress, engine_child, wait_for_engine
from bot.erase import finish, forget
from bot.errors import BotError, EngineGone
from bot.leftovers import clear
from bot.loop import Loop
from bot.moderators import Moderators
from bot.outbox import Outbox
from bot.pace import Pace
from bot.platforms.discord_ import Discord
from bot.platforms.telegram_ import Telegram
from bot.platforms.terminal import Terminal
from bot.reconcile import Reconciler
from bot.runs import worker_routes
from bot.sentences import MENU
from bot.settings import Settings
from bot.supervise import Child, keep
from bot.timetable import Timetable
from bot.train import training_handlers
from bot.turns import Turns
from bot.web.server import Web
from bot.wiring import Ground, make_loop, make_runs, timetable_of
from data.clock import SystemClock
from data.errors import DataError
from data.home import Home
from data.logs import set_up_logs
from data.sqlite import SqliteStore, open_store
from engine.client import HttpEngine
from engine.errors import EngineError
from personas.errors import PersonaError
from personas.loader import Cast, Persona, load_cast

__all__ = ["ROOT", "SETS", "SHIPPED_ADAPTERS", "SHIPPED_PERSONAS", "Bot", "make_bot", "run", "starter_or"]

_log = structlog.get_logger(__name__)

ROOT = Path(__file__).resolve().parent.parent
SHIPPED_PERSONAS = ROOT / "personas"
STARTER = ROOT / "data" / "starter"
SHIPPED_ADAPTERS = STARTER / "adapters"
SETS = ROOT / "data" / "sets"
# Commands after which other adapters may be live, or a run may go on.
DECISIONS = frozenset({"promote", "rollback", "run_approve", "run_veto"})


@dataclass(slots=True)
class Learning:
    """The loop and its timetable, once the engine told which base they are for."""

    loop: Loop | None = None
    timetable: Timetable | None = None

    def nudge(self) -> None:
        """Something was decided: the loop looks at once."""
        if self.timetable is not None:
            self.timetable.nudge()


@dataclass(frozen=True, slots=True)
class Bot:
    """The parts that serve people, without the platforms."""

    settings: Settings
    home: Home
    store: SqliteStore
    engine: HttpEngine
    cast: Cast
    reconciler: Reconciler
    core: Conversation
    learning: Learning


def run(settings: Settings, environment: Mapping[str, str]) -> int:
    """Serves until told to stop; returns the exit code."""
    set_up_logs(settings.log_level, secrets=settings.secrets)
    try:
        asyncio.run(_serve_until_told(settings, environment))
    except BaseExceptionGroup as errors:
        reasons = [error for error in _leaves(errors) if isinstance(error, (BotError, DataError))]
        if not reasons:
            raise
        for error in reasons:
            _log.error("bot.stopped", reason=str(error))
        return 1
    except (BotError, DataError) as error:
        _log.error("bot.stopped", reason=str(error))
        return 1
    return 0


def starter_or(base: str) -> Path:
    """The folder of a base; a hub id is no folder here."""
    return STARTER if base == "starter" else Path(base)


@contextlib.asynccontextmanager
async def make_bot(settings: Settings, home: Home, engine: HttpEngine) -> AsyncIterator[Bot]:
    """The core on its store, running; hold `Home.lock` around it."""
    cast = load_cast([SHIPPED_PERSONAS, home.personas])
    for slug, reason in cast.broken:
        _log.error("persona.broken", persona=slug, reason=reason)
    if not cast.personas:
        raise BotError("No persona can be loaded; mend the folders named above.")
    clock, pace = SystemClock(), Pace(SystemClock())
    async with open_store(home.store) as store:
        await finish(store, home)
        await clear(store, home)
        reconciler = Reconciler(store, engine, home, shipped=SHIPPED_ADAPTERS)
        outbox = Outbox(store, pace, clock)
        turns = Turns(store, engine, reconciler, outbox=outbox, pace=pace, clock=clock)
        learning = Learning()

        def decided() -> None:
            learning.nudge()
            reconciler.nudge()

        core = Conversation(
            store,
            turns,
            outbox,
            cast,
            default=settings.default_persona,
            secret=home.secret(),
            clock=clock,
            moderators=Moderators(settings.moderators),
            another=Another(store, engine, reconciler, clock),
            forget=partial(forget, store, home),
            moderators_channel=settings.moderators_channel,
            on_decision=decided,
        )
        yield Bot(settings, home, store, engine, cast, reconciler, core, learning)


async def _serve_until_told(settings: Settings, environment: Mapping[str, str]) -> None:
    serving = asyncio.ensure_future(_serve(settings, environment))
    loop = asyncio.get_running_loop()
    told: list[int] = []

    def stop() -> None:
        if told:
            os._exit(130)
        told.append(1)
        serving.cancel()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    with contextlib.suppress(asyncio.CancelledError):
        await serving


async def _serve(settings: Settings, environment: Mapping[str, str]) -> None:
    home = Home(settings.home.resolve())
    home.prepare()
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(home.lock())
        if not settings.engine_urls and settings.engine_port == 0:
            settings = settings.model_copy(update={"engine_port": _free_port()})
        url = settings.engine_urls[0] if settings.engine_urls else f"http://127.0.0.1:{settings.engine_port}"
        engine = HttpEngine(url)
        stack.push_async_callback(engine.close)
        bot = await stack.enter_async_context(make_bot(settings, home, engine))
        web = Web(
            bot.core,
            bot.cast,
            host=settings.web_host,
            port=settings.web_port,
            adapter_of=lambda slug: _name(bot.reconciler, slug),
            registry=CollectorRegistry(),
        )
        # Taken before anything else starts, so that a taken port is one sentence.
        web.bind()
        child = None if settings.engine_urls else engine_child(settings, home, environment)
        async with asyncio.TaskGroup() as tasks:
            if child is not None:
                tasks.create_task(child.run())
            tasks.create_task(bot.core.run())
            tasks.create_task(bot.reconciler.run())
            tasks.create_task(keep("web", web.run))
            _start_platforms(tasks, bot)
            terminal = Terminal(bot.core, bot.cast)
            bot.core.attach(terminal)
            sessions = {"terminal": partial(_terminal, terminal)}
            tasks.create_task(serve_control(home.control_socket, _handlers(bot), sessions))
            tasks.create_task(_when_up(bot, web, child))
            tasks.create_task(_index(bot.cast))
            tasks.create_task(_learn(bot, child))


async def _index(cast: Cast) -> None:
    """Indexes the personas' exchanges beside the event loop; an end waits for one at most."""
    for persona in cast.personas.values():
        try:
            await asyncio.to_thread(_indexed, persona)
        except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
            _log.warning("persona.exchanges_unreadable", persona=persona.slug, reason=str(error))


def _indexed(persona: Persona) -> None:
    persona.examples.index()


def _start_platforms(tasks: asyncio.TaskGroup, bot: Bot) -> None:
    settings = bot.settings
    if settings.discord_token is not None:
        discord = Discord(settings.discord_token.get_secret_value(), bot.core, menu=MENU)
        tasks.create_task(keep("discord", discord.run))
    if settings.telegram_token is not None:
        telegram = Telegram(
            settings.telegram_token.get_secret_value(),
            bot.core,
            menu=MENU,
            api_url=settings.telegram_api_url,
        )
        tasks.create_task(keep("telegram", telegram.run))


async def _when_up(bot: Bot, web: Web, child: Child | None) -> None:
    """Waits for the engine, opens the worker's routes, and greets the operator."""
    address: EngineAddress | None = None
    if child is not None:
        try:
            address = await wait_for_engine(bot.home, child)
        except EngineGone as error:
            # The supervisor goes on trying; people hear that the persona rests meanwhile.
            _log.error("engine.not_up", reason=str(error))
    await bot.reconciler.is_up.wait()
    ground = ground_of(bot)
    if ground is not None and bot.settings.worker_secret is not None:
        routes = worker_routes(make_runs(ground), bot.settings.worker_secret.get_secret_value())
        web.app.include_router(routes)
    _log.info("bot.up", page=web.url, engine=bot.engine.url, pid=None if address is None else address.pid)
    try:
        await greet(bot.cast, bot.engine, bot.reconciler, page=web.url, settings=bot.settings)
    except (EngineError, PersonaError) as error:
        _log.warning("greeting.failed", reason=str(error))


def ground_of(bot: Bot) -> Ground | None:
    """What training stands on; None while the engine is away, or where it cannot load our adapters."""
    info = bot.reconciler.info
    if info is None or info.base_fingerprint is None:
        return None
    folder = starter_or(bot.settings.base)
    return Ground(bot.store, bot.home, bot.settings, SETS, folder, info.base_fingerprint, SystemClock())


async def _learn(bot: Bot, child: Child | None) -> None:
    """Keeps the loop from votes to adapters going, once the engine is up."""
    await bot.reconciler.is_up.wait()
    ground = ground_of(bot)
    if ground is None:
        _log.warning("loop.off", reason="The engine cannot load our adapters, so votes train nothing.")
        return
    post = bot.core.gate_post
    # An engine that somebody else runs is not ours to end.
    making = partial(
        make_loop,
        ground,
        bot.cast,
        news=post,
        changed=bot.reconciler.nudge,
        refusal=bot.reconciler.refused.get,
    )
    if child is not None and bot.settings.train_policy == "pause":
        loop = making(resting=partial(bot.reconciler.rest.of, child), freed_bytes=lambda: child.own_bytes)
    else:
        loop = making()
    timetable = timetable_of(loop, ground.clock)
    timetable.add("gate post", post.catch_up)
    bot.learning.loop, bot.learning.timetable = loop, timetable
    await timetable.run()


def _handlers(bot: Bot) -> dict[str, Callable[[Mapping[str, Any]], Any]]:
    async def status(_request: Mapping[str, Any]) -> Mapping[str, Any]:
        info = bot.reconciler.info
        names = {slug: _name(bot.reconciler, slug) for slug in bot.cast.personas}
        return {
            "base": None if info is None else info.base,
            "personas": names,
            "broken": dict(bot.cast.broken),
            "refused": bot.reconciler.refused,
            "states": await bot.store.states(),
        }

    async def desk(request: Mapping[str, Any]) -> Mapping[str, Any]:
        info = bot.reconciler.info
        fingerprint = None if info is None else info.base_fingerprint
        loop = bot.learning.loop
        waits = {} if loop is None else loop.waits
        rows = bot.settings.train_rows
        answer = await Desk(bot.store, bot.home, fingerprint, waits=waits, least_rows=rows).answer(request)
        if request["command"] in DECISIONS:
            bot.learning.nudge()
            with contextlib.suppress(EngineError):  # away again: the reconciler loads it when it is back
                await bot.reconciler.once()
        return answer

    desks = dict.fromkeys(COMMANDS, desk)
    return {"status": status, **training_handlers(lambda: ground_of(bot), bot.cast), **desks}


async def _terminal(
    terminal: Terminal,
    request: Mapping[str, Any],
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> None:
    async def requests() -> AsyncIterator[Mapping[str, Any]]:
        while line := await reader.readline():
            yield parsed(line)

    async def emit(event: Mapping[str, Any]) -> None:
        # A terminal that was closed ends the session by the end of its requests.
        with contextlib.suppress(ConnectionError):
            writer.write(json.dumps(event, ensure_ascii=False).encode() + b"\n")
            await writer.drain()

    await terminal.session(str(request.get("persona")), str(request.get("lang")), requests(), emit)


def _name(reconciler: Reconciler, slug: str) -> str | None:
    champion = reconciler.champion(slug)
    return None if champion is None else champion.name


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    found: list[BaseException] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found
