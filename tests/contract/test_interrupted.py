"""Messages that were being answered when the process ended, as people see them after the restart."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bot.platform import Incoming, Place, Press
from bot.suspects import LONGEST_CALM_S, MOST_ATTEMPTS
from tests.fakes.engine import FakeEngine
from tests.fakes.port import CAPABILITIES, FakePort
from tests.fakes.troupe import troupe
from tests.waiting import until


@pytest.fixture(name="engine")
async def _engine():
    async with FakeEngine() as engine:
        yield engine


@pytest.fixture(name="port")
def _port():
    return FakePort(caps=replace(CAPABILITIES, max_units=2000))


def say(text, *, chat):
    return Incoming(Place("telegram", chat), f"m{chat}", f"user{chat}", "Ann", text, is_direct=True)


async def interrupted(home, engine, begun):
    """A life in which each event was begun so often and never ended."""
    async with troupe(home, engine.url) as parts:
        await parts.core.receive(list(begun))
        items = await parts.store.open_items("telegram", after=0, most=len(begun))
        for item, times in zip(items, begun.values(), strict=True):
            for _ in range(times):
                await parts.store.begin(item.id)


async def test_the_often_interrupted_wait_for_calm_and_then_everybody_is_answered(tmp_path, engine, port):
    first, second, neighbour = (say(text, chat=text) for text in ("first", "second", "neighbour"))
    await interrupted(tmp_path, engine, {first: 2, second: 2, neighbour: 1})
    async with troupe(tmp_path, engine.url) as parts:
        parts.core.attach(port)
        await until(lambda: len(port.with_votes()) == 3)
        # The stand-in says the question backwards, and after it the lore that was found for it.
        words = [text.split()[1] for text in port.texts]
        assert words == ["ruobhgien", "tsrif", "dnoces"]


async def test_a_suspect_that_only_takes_long_holds_up_nobody(tmp_path, engine, port, monkeypatch):
    monkeypatch.setattr("bot.conversation.ALONE_S", 0.1)
    await interrupted(tmp_path, engine, {say(text, chat=text): 2 for text in ("slow", "next")})
    engine.silent = True
    async with troupe(tmp_path, engine.url) as parts:
        parts.core.attach(port)
        await until(lambda: len(engine.requests) == 2)
        assert engine.finished == [], "the slow one is still being answered"


async def test_an_often_interrupted_thumb_is_still_a_vote(tmp_path, engine, port):
    async with troupe(tmp_path, engine.url) as parts:
        parts.core.attach(port)
        await parts.core.receive([say("hello", chat="7")])
        ((_, reply),) = await until(port.with_votes)
    thumb = Press(Place("telegram", "7"), "p", "user7", f"vote:{reply}:u", is_direct=True)
    async with troupe(tmp_path, engine.url) as parts:
        await parts.core.receive([thumb])
        for _ in range(2):
            await parts.store.begin(2)
    async with troupe(tmp_path, engine.url) as parts:
        parts.core.attach(port)
        await until(lambda: port.acknowledged)
        (vote,) = await parts.store.votes(reply)
        assert vote.value == 1


async def test_a_message_that_ended_the_process_ten_times_is_dead_and_says_so_at_once(tmp_path, engine, port):
    await interrupted(tmp_path, engine, {say("poison", chat="1"): MOST_ATTEMPTS, say("fine", chat="2"): 1})
    async with troupe(tmp_path, engine.url) as parts:
        parts.core.attach(port)
        await until(lambda: len(port.texts) == 2, seconds=LONGEST_CALM_S / 2)
        assert any("(number 1)" in text for text in port.texts)
        assert any("enif" in text for text in port.texts)
        assert (await parts.store.states())["inbox"]["dead"] == 1
    assert len(engine.requests) == 1
