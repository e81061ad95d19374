"""Who speaks while a challenger is heard in a share of the conversations; all real but the engine."""

from __future__ import annotations

import asyncio
import itertools
import json
from dataclasses import dataclass, replace

import pytest

from bot.another import Another
from bot.platform import Incoming, Place
from data.clock import SystemClock
from data.records import Adapter, InboxItem
from data.run_records import NewRun
from engine.client import HttpEngine
from tests.fakes.adapter import adapter
from tests.fakes.engine import FINGERPRINT, FakeEngine
from tests.fakes.port import CAPABILITIES, FakePort
from tests.fakes.troupe import troupe
from tests.waiting import until
from training.canary import arm_of

HARRY = "harry_potter"
RUN = "run"


@pytest.fixture(name="engine")
async def _engine():
    async with FakeEngine() as engine:
        yield engine


@pytest.fixture(name="port")
def _port():
    return FakePort(caps=replace(CAPABILITIES, max_units=4000))


@pytest.fixture(name="parts")
async def _parts(tmp_path, engine, port):
    async with troupe(tmp_path, engine.url, patience_s=5.0) as parts:
        parts.core.attach(port)
        yield parts


@pytest.fixture(name="voices")
async def _voices(parts, tmp_path):
    """Both adapters; the champion speaks, the challenger's run is ready for its canary."""
    ledger = parts.store.ledger
    champion = version(tmp_path / "adapters/harry_potter/v0", seed=1)
    challenger = version(tmp_path / "adapters/harry_potter/v1", seed=2, run_id=RUN)
    await parts.store.add_adapter(champion, champion_if_none=True)
    await ledger.open_run(NewRun(HARRY, FINGERPRINT, "incremental", 7, id=RUN, state="snapshotted"))
    await ledger.claim("worker", lease_s=60.0)
    assert await ledger.trained(RUN, "worker", 1, challenger, "{}") == "evaluating"
    await ledger.judged(RUN, passed=True, decision="{}", reason="Better.", needs_approval=False)
    await parts.reconciler.once()
    return Voices(champion, challenger)


@dataclass(frozen=True)
class Voices:
    champion: Adapter
    challenger: Adapter


def version(folder, *, seed, run_id=None):
    return Adapter(adapter(folder, seed=seed), HARRY, folder.name, FINGERPRINT, str(folder), run_id=run_id)


def name(one):
    return f"{HARRY}@{one.digest[:8]}"


async def begin(parts, share):
    assert await parts.store.ledger.start_canary(RUN, share)
    await parts.reconciler.once()


NUMBERS = iter(range(1, 10**9))


def say(chat, text="hello"):
    number = str(next(NUMBERS))
    return Incoming(Place("telegram", chat), number, f"user{chat}", "Ann", text, is_direct=True)


async def answered(parts, port, chat):
    before = {reply for _, reply in port.with_votes()}
    await parts.core.receive([say(chat)])
    found = await until(lambda: next((one for _, one in port.with_votes() if one not in before), None))
    return await parts.store.reply(found)


async def chats(parts, arm, *, share, many):
    """New chats whose conversations are in that arm."""
    found = []
    for chat in map(str, itertools.count(100 if arm == "champion" else 10_000)):
        conversation = await parts.store.conversation("telegram", chat, "", HARRY)
        if arm_of(conversation.id, RUN, share) == arm:
            found.append(chat)
        if len(found) == many:
            return found
    raise AssertionError


def made_by(reply):
    """The adapter that the stand-in says it spoke with, and what the row says."""
    said = reply.text.split(":")[0]
    assert reply.adapter == said
    assert said == f"{HARRY}@{reply.adapter_digest[:8]}"
    return reply.adapter_digest


async def test_at_a_share_of_a_hundred_every_reply_is_the_challengers(parts, port, voices):
    await begin(parts, 100)
    for chat in ("1", "2", "3", "4"):
        reply = await answered(parts, port, chat)
        assert (made_by(reply), reply.arm) == (voices.challenger.digest, "challenger")
    arms = await parts.store.ledger.arms(RUN)
    assert (arms["challenger"].replies, arms["champion"].replies) == (4, 0)


async def test_what_shows_a_personas_adapter_goes_on_to_show_the_champion(parts, voices, tmp_path):
    await begin(parts, 100)
    assert parts.reconciler.champion(HARRY).name == name(voices.champion)
    mirrored = json.loads((tmp_path / "champions.json").read_text())["champions"]
    assert mirrored[HARRY]["name"] == name(voices.champion)


async def test_before_and_after_a_canary_the_champion_speaks_and_no_arm_is_counted(parts, port, voices):
    replies = [await answered(parts, port, "1")]
    await begin(parts, 100)
    await parts.store.ledger.roll_back(RUN, "test", "No.")
    await parts.reconciler.once()
    replies.append(await answered(parts, port, "1"))
    assert [(made_by(one), one.arm) for one in replies] == [(voices.champion.digest, None)] * 2
    assert parts.reconciler.speaker("nobody", "c").adapter is None


async def test_a_conversation_is_always_in_the_same_arm(parts, port, voices):
    await begin(parts, 50)
    for arm in ("champion", "challenger"):
        (chat,) = await chats(parts, arm, share=50, many=1)
        replies = [await answered(parts, port, chat) for _ in range(3)]
        assert {made_by(one) for one in replies} == {getattr(voices, arm).digest}
        assert {one.arm for one in replies} == {arm}


async def test_a_wider_share_takes_conversations_over_and_gives_none_back(parts, voices):
    def challengers():
        speakers = {f"c{n}": parts.reconciler.speaker(HARRY, f"c{n}") for n in range(400)}
        assert {one.adapter.digest for one in speakers.values() if one.arm == "champion"} <= {
            voices.champion.digest
        }
        return {conversation for conversation, one in speakers.items() if one.arm == "challenger"}

    await begin(parts, 10)
    few = challengers()
    assert await parts.store.ledger.widen(RUN, 50)
    await parts.reconciler.once()
    many = challengers()
    assert few < many
    assert 15 <= len(few) <= 65
    assert 150 <= len(many) <= 250


async def test_a_rollback_in_the_middle_of_sixteen_replies_loses_none_of_them(parts, port, engine, voices):
    await begin(parts, 50)
    arms = {arm: await chats(parts, arm, share=50, many=8) for arm in ("champion", "challenger")}
    # Held back until all have been asked, so that all begin together and none is at its end.
    engine.silent, engine.delay_s = True, 0.1
    await parts.core.receive([say(chat, "hello " * 15) for one in arms.values() for chat in one])
    await until(lambda: len(engine.requests) == 16)
    engine.silent = False
    await until(lambda: len(port.texts) == 16)
    engine.silent, engine.delay_s = True, 0.0
    assert await parts.store.ledger.roll_back(RUN, "test", "A guard fell.")
    await parts.reconciler.once()
    assert (list(engine.adapters), engine.finished) == ([name(voices.champion)], [])
    engine.silent = False
    shown = await until(lambda: len(port.with_votes()) == 16 and port.with_votes())
    assert (len(port.texts), len(engine.requests), engine.cancelled) == (16, 16, [])
    for message, reply_id in shown:
        reply = await parts.store.reply(reply_id)
        arm = "challenger" if reply.chat in arms["challenger"] else "champion"
        assert (made_by(reply), reply.arm) == (getattr(voices, arm).digest, arm)
        assert (reply.state, port.messages[message]) == ("complete", reply.text)
    found = (await parts.store.ledger.arms(RUN))["challenger"]
    assert (found.replies, found.flags.get("error")) == (8, None)


@pytest.mark.parametrize(
    ("arm", "move", "after"),
    [("challenger", "roll_back", "champion"), ("champion", "promote_run", "challenger")],
)
async def test_an_adapter_that_went_before_it_was_asked_is_nobodys_failure(
    parts, port, engine, voices, arm, move, after
):
    """The engine let go of it, and this bot's next look at the aliases is still to come."""
    await begin(parts, 50)
    (chat,) = await chats(parts, arm, share=50, many=1)
    steps = {"roll_back": ("test", "No."), "promote_run": ("test",)}
    assert await getattr(parts.store.ledger, move)(RUN, *steps[move])
    gone = getattr(voices, arm)
    del engine.adapters[name(gone)]
    reply = await answered(parts, port, chat)
    assert (made_by(reply), reply.arm) == (getattr(voices, after).digest, None)
    assert port.texts == [reply.text]
    assert [request["model"] for request in engine.requests] == [name(gone), reply.adapter]
    assert all("error" not in one.flags for one in (await parts.store.ledger.arms(RUN)).values())


async def test_a_rollback_just_after_the_engine_came_back_is_not_its_second_death(
    parts, port, engine, voices, monkeypatch
):
    await begin(parts, 100)
    look = parts.reconciler.once
    looks = []

    async def once():
        await look()
        looks.append(1)
        if len(looks) == 1:
            await parts.store.ledger.roll_back(RUN, "test", "No.")
            del engine.adapters[name(voices.challenger)]

    monkeypatch.setattr(parts.reconciler, "once", once)
    engine.die_after = 1
    reply = await answered(parts, port, "1")
    assert (made_by(reply), len(looks)) == (voices.champion.digest, 2)
    assert sum("resting" in text for text in port.texts) == 1, "when it died, and not again"
    assert not any("could not answer" in text for text in port.texts)


async def test_an_adapter_that_is_gone_again_and_again_is_given_up_with_a_sentence(
    parts, port, engine, voices, monkeypatch
):
    look = parts.reconciler.once

    async def once():
        await look()
        engine.adapters.clear()

    monkeypatch.setattr(parts.reconciler, "once", once)
    engine.adapters.clear()
    await parts.core.receive([say("1")])
    (text,) = await until(lambda: port.texts)
    assert "could not answer" in text
    assert len(engine.requests) == 3


async def test_a_challenger_that_the_engine_refuses_is_as_good_as_no_canary(parts, port, voices, tmp_path):
    (tmp_path / "adapters/harry_potter/v1").rename(tmp_path / "elsewhere")
    await begin(parts, 100)
    reply = await answered(parts, port, "1")
    assert (made_by(reply), reply.arm) == (voices.champion.digest, None)
    assert list(parts.reconciler.refused) == [name(voices.challenger)]
    (tmp_path / "elsewhere").rename(tmp_path / "adapters/harry_potter/v1")
    await parts.reconciler.once()
    reply = await answered(parts, port, "1")
    assert (made_by(reply), reply.arm) == (voices.challenger.digest, "challenger")


async def test_a_second_answer_is_the_challengers_too_and_in_no_arm(parts, port, engine, voices):
    await begin(parts, 100)
    reply = await answered(parts, port, "1")
    http = HttpEngine(engine.url)
    engine.reply = "As an AI language model, I was never at Hogwarts."
    try:
        another = Another(parts.store, http, parts.reconciler, SystemClock())
        other = await another.write(reply, InboxItem("telegram", "8", "", "x", "mo", "press", "{}"))
    finally:
        await http.close()
    assert (other.adapter_digest, other.arm) == (voices.challenger.digest, None)
    assert json.loads(other.guard) == ["character"]
    assert (await parts.store.ledger.arms(RUN))["challenger"].replies == 1


async def test_a_nudge_is_noticed_at_once(parts, voices, monkeypatch):
    monkeypatch.setattr("bot.reconcile.EVERY_S", 3600.0)
    running = asyncio.ensure_future(parts.reconciler.run())
    try:
        await parts.store.ledger.start_canary(RUN, 100)
        parts.reconciler.nudge()
        await until(lambda: parts.reconciler.speaker(HARRY, "c").arm == "challenger")
        assert parts.reconciler.speaker(HARRY, "c").adapter.name == name(voices.challenger)
    finally:
        running.cancel()
        await asyncio.wait({running})


async def test_a_nudge_in_the_middle_of_a_look_asks_for_another(parts, monkeypatch):
    monkeypatch.setattr("bot.reconcile.EVERY_S", 3600.0)
    looks = []

    async def once():
        looks.append(1)
        if len(looks) == 1:
            parts.reconciler.nudge()

    monkeypatch.setattr(parts.reconciler, "once", once)
    running = asyncio.ensure_future(parts.reconciler.run())
    try:
        await until(lambda: len(looks) == 2)
    finally:
        running.cancel()
        await asyncio.wait({running})
