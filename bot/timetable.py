"""What the bot does again and again by itself; the only module that knows APScheduler's scheduler.

```
interval ──► tick ──► each work that is not still going on, in a task group of ours
nudge() ──────┘       (the scheduler's own jobs are cut off at its shutdown, so they only say that it is time)
```
A tick is at the start, every ``every_s`` after it, and at each nudge. Whether anything is due at a tick is
each work's question, to the store and a clock; no truth is kept here.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC

import structlog
from apscheduler.schedulers.asyncio import AsyncIOScheduler

from data.clock import Clock

__all__ = ["Timetable"]

_log = structlog.get_logger(__name__)

TICK = "tick"
# APScheduler waits by the wall clock: one that was set back would keep it waiting until it has caught up.
LATE_S = 60.0


class Timetable:
    """Ticks by the scheduler and starts every work at each tick; one work's failure is no other's."""

    def __init__(self, clock: Clock, *, every_s: float = 30.0) -> None:
        self._clock = clock
        self._every_s = every_s
        self._works: dict[str, Callable[[], Awaitable[None]]] = {}
        self._scheduler = AsyncIOScheduler(timezone=UTC)
        # Set from the start: what was missed while the bot was away is caught up at once.
        self._is_time = asyncio.Event()
        self._is_time.set()

    def add(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """Has ``work`` started at every tick, unless it is still going on; a name is held by one work."""
        self._works[name] = work

    def nudge(self) -> None:
        """Ticks now; call it in the event loop."""
        self._is_time.set()

    async def run(self) -> None:
        """Ticks until cancelled; then the works that are going on are cancelled too."""
        # Two lines for every tick at INFO.
        logging.getLogger("apscheduler").setLevel(logging.WARNING)
        self._scheduler.start()
        try:
            self._schedule()
            async with asyncio.TaskGroup() as tasks:
                going: dict[str, asyncio.Task[None]] = {}
                while True:
                    await self._next_tick()
                    for name, work in self._works.items():
                        if name not in going or going[name].done():
                            going[name] = tasks.create_task(self._do(name, work), name=name)
        finally:
            self._scheduler.shutdown(wait=False)

    async def _next_tick(self) -> None:
        try:
            async with asyncio.timeout(self._every_s + LATE_S):
                await self._is_time.wait()
        except TimeoutError:
            _log.warning("timetable.late", seconds=LATE_S)
            self._schedule()
        self._is_time.clear()

    async def _do(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        began = self._clock.monotonic()
        try:
            await work()
        except Exception:  # noqa: BLE001 - a task's edge: one work's failure must not stop the others
            _log.exception("timetable.failed", work=name)
        if (took := self._clock.monotonic() - began) > self._every_s:
            _log.warning("timetable.slow", work=name, seconds=round(took, 1))

    def _schedule(self) -> None:
        self._scheduler.add_job(
            self._tick,
            "interval",
            seconds=self._every_s,
            id=TICK,
            replace_existing=True,
            coalesce=True,
            max_instances=1,
            misfire_grace_time=None,
        )

    async def _tick(self) -> None:
        self._is_time.set()
