"""A bot of the bench's own: the real store, core, engine process and loop, in a home that is gone afterwards.

Only the platform (`bot.bench.square`) and the calendar are simulated.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bot.another import Another
from bot.bench.calendar import Calendar
from bot.bench.options import Options, Site
from bot.bench.people import Person
from bot.bench.square import PLATFORM, Square
from bot.conversation import Conversation
from bot.engine_process import borrowed_engine
from bot.erase import forget
from bot.errors import BotError
from bot.loop import Loop, Terms
from bot.moderators import Moderators
from bot.outbox import Outbox
from bot.pace import Pace
from bot.reconcile import Reconciler
from bot.runs import Runs
from bot.settings import Settings
from bot.turns import Turns
from bot.wiring import Ground, opening_of
from data.home import Home
from data.sqlite import SqliteStore, open_store
from engine.client import HttpEngine
from engine.protocol import EngineInfo
from personas.loader import Cast, load_cast
from training import canary
from training.schedule import Cron, Plan

__all__ = ["CANARY", "CRON", "World", "world"]

CRON = Cron("0 4 * * mon")
# The shipped shares would take two days and 1,400 replies a run.
CANARY = canary.Rules(shares=(50,), hours=24.0, replies=20)


@dataclass(frozen=True, slots=True)
class World:
    """The parts of a running bot."""

    home: Home
    store: SqliteStore
    cast: Cast
    engine: HttpEngine
    info: EngineInfo
    fingerprint: str
    reconciler: Reconciler
    square: Square
    calendar: Calendar
    loop: Loop


class _MeddledRuns(Runs):
    """The real runs; an attack gets at what was published before it is registered."""

    meddle: Callable[[Path], None] | None = None

    async def finish(self, run_id: str, owner: str, attempt: int, *, error: str | None) -> str | None:
        run = await self._store.ledger.run(run_id)
        if run is not None and error is None and self.meddle is not None:
            await asyncio.to_thread(self.meddle, self.out(run))
        return await super().finish(run_id, owner, attempt, error=error)


@contextlib.asynccontextmanager
async def world(
    site: Site, settings: Settings, options: Options, people: Sequence[Person]
) -> AsyncIterator[World]:
    """Serves until the block ends.

    Raises:
        BotError: the engine does not start, or cannot load adapters.
    """
    async with contextlib.AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="troupe-bench-"))
        home = Home(Path(folder).resolve() / "home")
        home.prepare()
        cast = await asyncio.to_thread(_cast, site, home, options)
        stack.enter_context(home.lock())
        own = settings.model_copy(update={"threads": options.threads, "home": home.root})
        engine = HttpEngine(await stack.enter_async_context(borrowed_engine(own, home, os.environ)))
        stack.push_async_callback(engine.close)
        calendar = Calendar()
        store = await stack.enter_async_context(open_store(home.store, clock=calendar))
        reconciler = Reconciler(store, engine, home, shipped=site.adapters)
        await reconciler.once()
        info = reconciler.info
        if info is None or info.base_fingerprint is None:
            raise BotError("This engine cannot load our adapters, so there is nothing to learn on it.")
        core = _core(store, engine, reconciler, cast, home, calendar, people)
        square = Square(core)
        core.attach(square)
        ground = Ground(store, home, own, site.sets, site.base, info.base_fingerprint, calendar)
        loop = _loop(ground, cast, options, reconciler)
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        running = [tasks.create_task(core.run()), tasks.create_task(reconciler.run())]
        try:
            yield World(
                home,
                store,
                cast,
                engine,
                info,
                info.base_fingerprint,
                reconciler,
                square,
                calendar,
                loop,
            )
        finally:
            for task in running:
                task.cancel()


def _cast(site: Site, home: Home, options: Options) -> Cast:
    poison = None if options.attack is None else options.attack.persona
    for slug in options.likes if poison is not None else ():
        shutil.copytree(site.personas / slug, home.personas / slug)
        if poison is not None:
            poison(home.personas / slug)
    cast = load_cast([site.personas, home.personas])
    for slug in options.likes:
        cast[slug].examples.index()
    return cast


def _core(
    store: SqliteStore,
    engine: HttpEngine,
    reconciler: Reconciler,
    cast: Cast,
    home: Home,
    calendar: Calendar,
    people: Sequence[Person],
) -> Conversation:
    pace = Pace(calendar)
    outbox = Outbox(store, pace, calendar)
    return Conversation(
        store,
        Turns(store, engine, reconciler, outbox=outbox, pace=pace, clock=calendar),
        outbox,
        cast,
        default=next(iter(cast.personas)),
        secret=home.secret(),
        clock=calendar,
        moderators=Moderators(f"{PLATFORM}:{one.id}" for one in people if one.role == "moderator"),
        another=Another(store, engine, reconciler, calendar),
        forget=partial(forget, store, home),
    )


def _loop(ground: Ground, cast: Cast, options: Options, reconciler: Reconciler) -> Loop:
    runs = _MeddledRuns(
        ground.store,
        ground.home,
        sets=ground.sets,
        base=ground.settings.base,
        base_folder=ground.base_folder,
        fingerprint=ground.fingerprint,
    )
    recipe = options.recipe
    if options.attack is not None:
        runs.meddle = options.attack.adapter
        recipe = options.attack.recipe or recipe
    threads = max(1, options.threads // len(options.likes))
    return Loop(
        ground.store,
        cast,
        runs,
        opening_of(ground, recipe=recipe),
        Terms(Plan(CRON), canary=CANARY, threads=threads),
        fingerprint=ground.fingerprint,
        clock=ground.clock,
        changed=reconciler.nudge,
        refusal=reconciler.refused.get,
    )
