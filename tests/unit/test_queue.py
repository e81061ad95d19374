"""Nobody waits behind a flood, and no conversation overtakes itself."""

from __future__ import annotations

import asyncio

import pytest

from bot.queue import FairQueue, QueueFull, Waiting


async def test_eight_people_beside_a_flooder_are_served_in_turn():
    queue = FairQueue(per_user=40, in_all=200)
    for number in range(40):
        queue.put(Waiting("flooder", f"f{number}", number))
    for person in range(8):
        queue.put(Waiting(person, person, "please"))
    first = []
    for _ in range(9):
        waiting = await queue.get()
        first.append(waiting.user)
        queue.done(waiting)
    assert set(range(8)) <= set(first)


async def test_one_turn_of_a_conversation_at_a_time_in_order_of_arrival():
    queue = FairQueue()
    for number, user in enumerate(("ann", "bob", "ann", "bob")):
        queue.put(Waiting(user, "group", number))
    queue.put(Waiting("bob", "elsewhere", "other"))
    first = await queue.get()
    assert (first.value, (await queue.get()).value) == (0, "other")
    blocked = asyncio.ensure_future(queue.get())
    await asyncio.sleep(0)
    assert not blocked.done()
    queue.done(first)
    second = await blocked
    queue.done(second)
    third = await queue.get()
    assert (second.value, third.value) == (1, 2)


async def test_four_may_wait_per_person_and_so_many_in_all():
    queue = FairQueue(in_all=6)
    for number in range(4):
        queue.put(Waiting("ann", number, number))
    with pytest.raises(QueueFull):
        queue.put(Waiting("ann", 9, 9))
    queue.put(Waiting("bob", 1, 1))
    queue.put(Waiting("cat", 1, 1))
    with pytest.raises(QueueFull):
        queue.put(Waiting("dan", 1, 1))
    queue.done(await queue.get())
    queue.put(Waiting("dan", 1, 1))
    assert len(queue) == 6


async def test_who_waits_for_work_is_woken():
    queue = FairQueue()
    getting = asyncio.ensure_future(queue.get())
    await asyncio.sleep(0)
    queue.put(Waiting("ann", 1, "late"))
    assert (await getting).value == "late"


async def test_what_is_given_back_is_its_conversations_next_again():
    queue = FairQueue()
    for number in range(3):
        queue.put(Waiting("ann", "chat", number))
    first = await queue.get()
    queue.give_back(first)
    assert len(queue) == 3
    taken = []
    for _ in range(3):
        waiting = await queue.get()
        taken.append(waiting.value)
        queue.done(waiting)
    assert taken == [0, 1, 2]
