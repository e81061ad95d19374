"""Messages in whose handling the process ended: tried again with growing care.

```
begun before    tried again
once            at once, beside all the others
2 to 9 times    alone, when the process has lived for 4, 8, 16, 32, 60, 60 … seconds
10 times        never: given up
```
A process that is killed, updated or out of memory costs no message, however often: what is only waiting here
is not counted. A message that itself ends the process does so alone, at growing distances, and not for ever.
"""

from __future__ import annotations

import asyncio
from heapq import heappop, heappush
from typing import Generic, TypeVar

from data.clock import Clock

__all__ = ["MOST_ATTEMPTS", "Suspects", "calm_s", "is_suspect"]

T = TypeVar("T")
MOST_ATTEMPTS = 10
# The first time, whatever was in flight comes back together: people wait for it.
UNSUSPECTED = 1
LONGEST_CALM_S = 60.0
LOOK_AGAIN_S = 1.0


def is_suspect(attempts: int) -> bool:
    """Whether a message that was begun so often waits for calm; one that is given up does not."""
    return UNSUSPECTED < attempts < MOST_ATTEMPTS


def calm_s(attempts: int) -> float:
    """How long the process must have lived before the next try."""
    return min(2.0**attempts, LONGEST_CALM_S)


class Suspects(Generic[T]):
    """What waits for calm, the least suspected first; the process's life begins with this object."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._began = clock.monotonic()
        self._waiting: list[tuple[int, int, T]] = []
        self._count = 0
        self._news = asyncio.Event()

    def put(self, attempts: int, value: T) -> None:
        self._count += 1
        heappush(self._waiting, (attempts, self._count, value))
        self._news.set()

    async def get(self) -> T:
        """The next one, once the process has lived long enough for it."""
        while True:
            if not self._waiting:
                self._news.clear()
                await self._news.wait()
            lived = self._clock.monotonic() - self._began
            missing = calm_s(self._waiting[0][0]) - lived
            if missing <= 0:
                return heappop(self._waiting)[2]
            # In steps, for one that is less suspected may come meanwhile.
            await self._clock.sleep(min(missing, LOOK_AGAIN_S))
