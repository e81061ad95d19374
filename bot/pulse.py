"""Whether the engine still lives while it says nothing.

A dead engine refuses at once; one that hangs keeps the connection open. A person hears of either within two
seconds, but a silent stream is not given up here: the engine's own deadlines do that, and one that was only
slow goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

from data.clock import Clock
from engine.errors import EngineError
from engine.protocol import Engine

__all__ = ["Pulse", "attended", "watched"]

T = TypeVar("T")
# An answer that came just before the engine fell silent counts as life once more: twice the silence and the
# wait for an answer together are 1.5 s, which leaves a busy machine half a second for telling it.
SILENCE_S = 0.4
ANSWER_S = 0.7


class Pulse:
    """Asks the engine for a sign of life; many turns that wonder at once make one question."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock
        self._asking = asyncio.Lock()
        self._asked_at = float("-inf")
        self._alive = True

    async def is_there(self) -> bool:
        async with self._asking:
            if self._clock.monotonic() - self._asked_at >= SILENCE_S:
                self._alive = await self._answers()
                self._asked_at = self._clock.monotonic()
            return self._alive

    async def _answers(self) -> bool:
        try:
            async with asyncio.timeout(ANSWER_S):
                await self._engine.info()
        except (EngineError, TimeoutError):
            return False
        return True


async def attended(
    work: Awaitable[T], on_silence: Callable[[], Awaitable[None]], *, silence_s: float = SILENCE_S
) -> T:
    """The work's result; ``on_silence`` is called whenever it has taken a while longer."""
    coming = asyncio.ensure_future(work)
    try:
        while not coming.done():
            done, _ = await asyncio.wait({coming}, timeout=silence_s)
            if not done:
                await on_silence()
        return coming.result()
    finally:
        if not coming.done():
            coming.cancel()
            await asyncio.wait({coming})


async def watched(
    stream: AsyncIterator[T], on_silence: Callable[[], Awaitable[None]], *, silence_s: float = SILENCE_S
) -> AsyncIterator[T]:
    """Yields what the stream yields; ``on_silence`` is called whenever nothing came for a while."""
    while True:
        item = await attended(anext(stream, None), on_silence, silence_s=silence_s)
        if item is None:
            return
        yield item
