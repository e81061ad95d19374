"""What is wrong with a reply is stored with it, and keeps it from being learnt as a good one."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from bot.guard import findings
from bot.platform import Incoming, Place, Press
from tests.fakes.engine import FakeEngine
from tests.fakes.port import CAPABILITIES, FakePort
from tests.fakes.troupe import troupe
from tests.waiting import until
from training.eligibility import decide

PLACE = Place("telegram", "7")


@pytest.fixture(name="engine")
async def _engine():
    async with FakeEngine() as engine:
        yield engine


@pytest.fixture(name="port")
def _port():
    return FakePort(caps=replace(CAPABILITIES, max_units=4000))


@pytest.fixture(name="parts")
async def _parts(tmp_path, engine, port):
    async with troupe(tmp_path, engine.url, moderators=("telegram:mo",)) as parts:
        parts.core.attach(port)
        yield parts


async def answered(parts, port, number, text):
    await parts.core.receive([Incoming(PLACE, str(number), "ann", "Ann", text, is_direct=True)])
    await until(lambda: len(port.with_votes()) == number)
    return await parts.store.reply(port.with_votes()[-1][1])


@pytest.mark.parametrize(
    ("question", "reply", "expected"),
    [
        ("Who are you?", "I am Harry. I play Quidditch.", None),
        ("Who are you?", "I am Harry.\n" * 4, ["repetition"]),
        ("Who are you?", "我是哈利，在霍格沃茨上学。", ["language"]),
        ("你是誰？", "我是哈利，在霍格沃茨上学，这个问题很简单。", ["language"]),
        ("你是谁？", "作为一个人工智能，我没有名字。", ["character"]),
        ("Who are you?", "As an AI language model, I have no name.", ["character"]),
        ("Who are you?", "I have a scar. " * 200, ["repetition", "too_long"]),
    ],
)
async def test_a_replys_flags_are_stored_with_it(parts, port, engine, question, reply, expected):
    engine.reply = reply
    stored = await answered(parts, port, 1, question)
    assert (stored.guard and json.loads(stored.guard)) == expected


async def test_who_reads_the_card_out_is_flagged(parts, port, engine):
    engine.reply = parts.cast["harry_potter"].prompt_text
    stored = await answered(parts, port, 1, "Who are you?")
    assert "character" in json.loads(stored.guard)


def test_what_the_engine_says_of_the_end_counts():
    assert findings("I am", lang="en", card="", end="repetition") == '["repetition"]'
    assert findings("I am", lang="en", card="", end="length") == '["too_long"]'
    assert findings("I am", lang="en", card="", end="stop") is None


async def test_no_flagged_reply_is_learnt_as_a_good_one(parts, port, engine):
    for number, text in enumerate(("I am Harry.", "As an AI, I am nobody."), start=1):
        engine.reply = text
        reply = await answered(parts, port, number, "Who are you?")
        await parts.core.press(Press(PLACE, f"p{number}", "mo", f"vote:{reply.id}:u"))
    for user in ("ann", "mo"):
        await parts.core.press(Press(PLACE, "c", user, "consent:yes"))
    good, flagged = decide(await parts.store.thumbs())
    assert good.fate in {"trains", "held_out"}
    assert flagged.fate == "flagged"
