"""When a platform lets us speak again: one slot per interval and place, whoever writes there."""

from __future__ import annotations

from bot.platform import Capabilities, Place
from data.clock import Clock

__all__ = ["Pace", "interval_of"]

MOST_PLACES = 1024


def interval_of(capabilities: Capabilities, *, is_direct: bool) -> float:
    if is_direct and capabilities.direct_edit_interval_s is not None:
        return capabilities.direct_edit_interval_s
    return capabilities.min_edit_interval_s


class Pace:
    """Slots in order of asking; nothing queues here but the asking itself, so the newest text wins."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._next: dict[Place, float] = {}

    async def slot(self, place: Place, interval_s: float) -> None:
        """Waits for the place's next slot and takes it."""
        while (wait := self._next.get(place, 0.0) - self._clock.monotonic()) > 0:
            await self._clock.sleep(wait)
        self._hold(place, interval_s)

    def used(self, place: Place, interval_s: float) -> None:
        """Notes a call that did not wait for a slot."""
        self._hold(place, interval_s)

    def hold(self, place: Place, seconds: float) -> None:
        """The platform asked for a pause."""
        self._hold(place, seconds)

    def _hold(self, place: Place, seconds: float) -> None:
        now = self._clock.monotonic()
        self._next[place] = max(self._next.get(place, 0.0), now + seconds)
        if len(self._next) > MOST_PLACES:
            self._next = {key: moment for key, moment in self._next.items() if moment > now}
