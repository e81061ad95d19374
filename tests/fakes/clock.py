"""A clock that moves only when somebody sleeps on it or a test pushes it."""

from __future__ import annotations

import asyncio


class FakeClock:
    """``slept`` is every wait that was asked for; a sleep moves the clock at once and yields to the loop."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self._now = now
        self._monotonic = 0.0
        self.slept: list[float] = []

    def now(self) -> float:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.advance(seconds)
        await asyncio.sleep(0)

    def advance(self, seconds: float) -> None:
        self._now += seconds
        self._monotonic += seconds
