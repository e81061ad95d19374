"""Whether the engine lives while it says nothing."""

from __future__ import annotations

import asyncio

import pytest

from bot.pulse import ANSWER_S, SILENCE_S, Pulse, attended, watched
from engine.errors import EngineUnavailable
from tests.fakes.clock import FakeClock


class Patient:
    """An engine of which only the sign of life is asked; ``answers`` is taken from the front."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = 0

    async def info(self):
        self.asked += 1
        answer = self.answers.pop(0)
        await asyncio.sleep(0)
        if isinstance(answer, Exception):
            raise answer


async def told():
    """Nothing is said: the tests that use it are about the work."""


def test_the_limits_leave_half_a_second_of_the_promised_two():
    """They added up to 1.5 s in the best case only, and a busy machine said it after 2.04 s."""
    assert 2 * SILENCE_S + ANSWER_S <= 1.5


async def test_many_who_wonder_at_once_ask_once_and_later_again():
    clock = FakeClock()
    engine = Patient(None, EngineUnavailable())
    pulse = Pulse(engine, clock)
    assert await asyncio.gather(*(pulse.is_there() for _ in range(5))) == [True] * 5
    assert engine.asked == 1
    clock.advance(SILENCE_S)
    assert await asyncio.gather(*(pulse.is_there() for _ in range(5))) == [False] * 5
    assert engine.asked == 2


async def test_work_that_is_done_in_time_is_not_remarked_upon():
    async def work():
        return "done"

    async def remark():
        pytest.fail("it was quick")

    assert await attended(work(), remark, silence_s=60) == "done"


async def test_every_stretch_of_silence_is_remarked_upon_until_the_work_is_done():
    remarks, freed = [], asyncio.Event()

    async def remark():
        remarks.append(len(remarks))
        if len(remarks) == 3:
            freed.set()

    assert await attended(freed.wait(), remark, silence_s=0.001)
    assert remarks == [0, 1, 2]


async def test_what_the_work_raises_is_raised():
    async def work():
        raise EngineUnavailable

    with pytest.raises(EngineUnavailable):
        await attended(work(), told)


async def test_who_no_longer_waits_leaves_no_work_behind():
    begun, ended = asyncio.Event(), asyncio.Event()

    async def work():
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    waiting = asyncio.ensure_future(attended(work(), told))
    await begun.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert ended.is_set()


async def test_a_watched_stream_yields_what_the_stream_yields():
    async def stream():
        for piece in ("one", "two"):
            yield piece

    assert [piece async for piece in watched(stream(), told)] == ["one", "two"]
