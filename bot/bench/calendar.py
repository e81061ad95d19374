"""A calendar that the bench turns on: seconds pass as they do, and a week passes when nobody is waiting."""

from __future__ import annotations

import asyncio
import time

from training.schedule import Cron, next_fire

__all__ = ["Calendar"]

# A Wednesday; the schedule's Mondays lie ahead.
BEGIN = 1_799_280_000.0
# The loop trains where few replies were asked for in the last ten minutes.
CALM_S = 900.0


class Calendar:
    """A `data.clock.Clock` whose days are skipped; durations stay real."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._skipped = 0.0

    def now(self) -> float:
        return BEGIN + self._skipped + time.monotonic() - self._started

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def skip(self, seconds: float) -> None:
        """Lets so much time pass at once."""
        self._skipped += seconds

    def skip_to_next(self, cron: Cron) -> None:
        """Lets the time of a schedule come, and people fall silent before it."""
        self.skip(next_fire(cron, self.now() + CALM_S) - self.now() + 1)
