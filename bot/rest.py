"""The engine's rest on purpose, while a trainer has this machine to itself (``train_policy = "pause"``).

```
awake ──► resting ──────────────────────────► waking ──► awake
          turns under way end, the child is   it loads   it answers, or did not in time
          ended, others train
```
Messages that come meanwhile wait for the end of it: nobody's patience runs, and nothing is begun that a
killed bot would have to count as an attempt. How the child is ended is `bot.supervise.Child`'s affair.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator

import structlog

from bot.supervise import Child

__all__ = ["Rest"]

_log = structlog.get_logger(__name__)

# A reply takes seconds; the run's lease, which nobody renews before its trainer has begun, lasts a minute.
DRAIN_S = 30.0
# As long as the engine may take to come up at all: a large base loads for minutes from a slow disk.
WAKING_S = 600.0


class Rest:
    """Whether the engine rests; who asks it something for people does so within `turn`."""

    def __init__(self, *, drain_s: float = DRAIN_S, waking_s: float = WAKING_S) -> None:
        self._drain_s = drain_s
        self._waking_s = waking_s
        self._under_way = 0
        self._calm = asyncio.Event()
        self._calm.set()
        self._awake = asyncio.Event()
        self._awake.set()
        self._alarm: asyncio.TimerHandle | None = None

    @property
    def is_on(self) -> bool:
        """From before the engine is ended until it answers again."""
        return not self._awake.is_set()

    async def over(self) -> None:
        """Waits for the end of the rest, however long that takes."""
        await self._awake.wait()

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        """A rest that begins waits for the end of the block."""
        self._under_way += 1
        self._calm.clear()
        try:
            yield
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._calm.set()

    def answered(self) -> None:
        """The engine answers: while it wakes, that is the end of its rest."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
            self._awake.set()

    @contextlib.asynccontextmanager
    async def of(self, child: Child) -> AsyncIterator[None]:
        """Has the child ended within the block, once what it says is said, and started afterwards."""
        self._begin()
        try:
            await self._drained()
            async with child.paused():
                _log.info("engine.rests")
                yield
        finally:
            # Nothing is awaited here: a bot that ends does not wait for an engine.
            self._wake()

    def _begin(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        self._awake.clear()

    async def _drained(self) -> None:
        try:
            async with asyncio.timeout(self._drain_s):
                await self._calm.wait()
        except TimeoutError:
            # These break off, and are answered afterwards like those that came later.
            _log.warning("engine.not_drained", turns=self._under_way, seconds=self._drain_s)

    def _wake(self) -> None:
        _log.info("engine.wakes")
        self._alarm = asyncio.get_running_loop().call_later(self._waking_s, self.answered)
