"""The bot's real parts put together in a test's own loop: store, core, and an engine at a URL."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bot.another import Another
from bot.conversation import Conversation
from bot.erase import forget
from bot.moderators import Moderators
from bot.outbox import Outbox
from bot.pace import Pace
from bot.reconcile import Reconciler
from bot.turns import Turns
from data.clock import Clock, SystemClock
from data.home import Home
from data.sqlite import SqliteStore, open_store
from engine.client import HttpEngine
from personas.loader import Cast, load_cast

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Troupe:
    core: Conversation
    store: SqliteStore
    reconciler: Reconciler
    cast: Cast


@contextlib.asynccontextmanager
async def troupe(
    home: Path,
    engine_url: str,
    *,
    patience_s: float = 20.0,
    moderators: Sequence[str] = (),
    moderators_channel: str | None = None,
    on_decision: Callable[[], None] = lambda: None,
    clock: Clock | None = None,
    personas: Path = ROOT / "personas",
    shipped: Path | None = None,
) -> AsyncIterator[Troupe]:
    """A running core on the store in ``home``; ends everything with the block.

    ``shipped`` holds the adapters that come with the base; none by default.
    """
    place = Home(home)
    place.prepare()
    clock = clock or SystemClock()
    cast = load_cast([personas])
    engine = HttpEngine(engine_url)
    with place.lock():
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(engine.close)
            store = await stack.enter_async_context(open_store(place.store, clock=clock))
            reconciler = Reconciler(store, engine, place, shipped=shipped or home / "none")
            with contextlib.suppress(Exception):
                await reconciler.once()
            pace = Pace(clock)
            outbox = Outbox(store, pace, clock)
            turns = Turns(
                store, engine, reconciler, outbox=outbox, pace=pace, clock=clock, patience_s=patience_s
            )
            core = Conversation(
                store,
                turns,
                outbox,
                cast,
                default="harry_potter",
                secret=place.secret(),
                clock=clock,
                moderators=Moderators(moderators),
                another=Another(store, engine, reconciler, clock),
                forget=partial(forget, store, place),
                moderators_channel=moderators_channel,
                on_decision=on_decision,
            )
            running = asyncio.create_task(core.run())
            try:
                yield Troupe(core, store, reconciler, cast)
            finally:
                running.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await running
