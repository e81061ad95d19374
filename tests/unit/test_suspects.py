"""Messages in whose handling the process ended."""

from __future__ import annotations

import asyncio

import pytest

from bot.suspects import MOST_ATTEMPTS, Suspects, calm_s, is_suspect
from tests.fakes.clock import FakeClock


def test_one_interrupted_try_makes_no_suspect_and_neither_does_giving_up():
    assert [is_suspect(attempts) for attempts in (0, 1, 2, 3)] == [False, False, True, True]
    assert is_suspect(MOST_ATTEMPTS - 1)
    assert not is_suspect(MOST_ATTEMPTS)


def test_calm_grows_to_a_minute_and_a_message_that_ends_the_process_is_given_up_in_minutes():
    waits = [calm_s(attempts) for attempts in range(2, MOST_ATTEMPTS)]
    assert waits == [4, 8, 16, 32, 60, 60, 60, 60]


async def test_a_suspect_waits_until_the_process_has_lived_long_enough():
    clock = FakeClock()
    suspects = Suspects(clock)
    suspects.put(3, "three")
    assert await suspects.get() == "three"
    assert sum(clock.slept) == calm_s(3)


async def test_after_a_long_life_nobody_waits():
    clock = FakeClock()
    suspects = Suspects(clock)
    clock.advance(100)
    suspects.put(9, "nine")
    assert await suspects.get() == "nine"
    assert clock.slept == []


async def test_the_least_suspected_is_next_and_equals_keep_their_order():
    suspects = Suspects(FakeClock())
    for attempts, name in ((5, "worst"), (2, "first"), (2, "second"), (3, "third")):
        suspects.put(attempts, name)
    assert [await suspects.get() for _ in range(4)] == ["first", "second", "third", "worst"]


async def test_one_that_comes_later_and_is_less_suspected_goes_before():
    suspects = Suspects(FakeClock())
    suspects.put(6, "much")
    getting = asyncio.create_task(suspects.get())
    await asyncio.sleep(0)
    suspects.put(2, "little")
    assert await getting == "little"
    assert await suspects.get() == "much"


async def test_with_nothing_waiting_it_sleeps_until_something_comes():
    suspects = Suspects(FakeClock())
    getting = asyncio.create_task(suspects.get())
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(getting), 0.01)
    suspects.put(2, "here")
    assert await getting == "here"
