"""`/review` and the presses on its cards: real store and core, a stand-in engine, a port in memory."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest

from bot.platform import Command, Incoming, Place, Press
from data.home import rater_hash
from data.records import Adapter
from tests.fakes.adapter import adapter
from tests.fakes.engine import FINGERPRINT, FakeEngine
from tests.fakes.port import CAPABILITIES, FakePort
from tests.fakes.troupe import troupe
from tests.waiting import until

GROUP = Place("telegram", "-5", guild="-5")
ANN = Place("telegram", "7")
# Where the moderators sit.
DESK = Place("telegram", "8")
NUMBERS = iter(range(1, 10**9))


@pytest.fixture(name="engine")
async def _engine():
    async with FakeEngine() as engine:
        yield engine


@pytest.fixture(name="port")
def _port():
    return FakePort(caps=replace(CAPABILITIES, max_units=2000))


@pytest.fixture(name="parts")
async def _parts(tmp_path, engine, port):
    async with troupe(tmp_path, engine.url, moderators=("telegram:mo", "telegram:mia")) as parts:
        parts.core.attach(port)
        yield parts


async def answered(parts, port, text="who are you", *, place=GROUP, user="ann", name=None):
    """The stored reply to a message."""
    before = {reply for _, reply in port.with_votes()}
    said = Incoming(place, str(next(NUMBERS)), user, name or user.title(), text, is_direct=place is ANN)
    await parts.core.receive([replace(said, mentions_bot=True)])
    found = await until(lambda: next((one for _, one in port.with_votes() if one not in before), None))
    return await parts.store.reply(found)


async def review(parts, argument="", *, user="mo", place=DESK, **more):
    more = {"is_direct": place is not GROUP, "lang_hint": "en", **more}
    return await parts.core.command(Command(place, str(next(NUMBERS)), user, "review", argument, **more))


async def press(parts, data, *, user="mo", text="", **more):
    more = {"is_direct": True, "lang_hint": "en", **more}
    return await parts.core.press(Press(DESK, str(next(NUMBERS)), user, data, text, **more))


async def live(parts, reply_id):
    return [vote for vote in await parts.store.votes(reply_id) if vote.closed_at is None]


def data_of(outcome):
    return [button.data for button in outcome.buttons]


async def test_only_moderators_review(parts, port):
    reply = await answered(parts, port)
    outcome = await review(parts, user="ann", place=ANN)
    assert "Only moderators" in outcome.text
    for verdict in ("good", "rewrite", "again", "skip", f"own:{reply.id}"):
        outcome = await press(parts, f"review:{reply.id}:{verdict}", user="ann", text="mine")
        assert (outcome.text, outcome.buttons) == ("Only moderators can review answers.", ())
    assert await parts.store.votes(reply.id) == ()


async def test_a_card_shows_what_was_said_and_the_next_comes_at_once(parts, port, engine):
    engine.reply = "So I say."
    first = await answered(parts, port, "who are you")
    second = await answered(parts, port, "and then", user="bob")
    outcome = await review(parts)
    assert outcome.text.splitlines() == [
        "Harry Potter – waiting: 2, judged by you: 0",
        "",
        "Ann: who are you",
        "Harry Potter: So I say.",
        "Bob: and then",
        "",
        "▶ Harry Potter: So I say.",
    ]
    verdicts = ("good", "bad", "rewrite", "again", "skip")
    assert data_of(outcome) == [f"review:{second.id}:{verdict}" for verdict in verdicts]
    outcome = await press(parts, f"review:{second.id}:bad")
    assert outcome.text.startswith("Stored, thank you.")
    assert outcome.card.reply_id == first.id
    outcome = await press(parts, f"review:{first.id}:good")
    assert "Nothing is waiting to be reviewed. Judged by you so far: 2." in outcome.text
    for reply, value in ((first, 1), (second, -1)):
        (vote,) = await live(parts, reply.id)
        assert (vote.kind, vote.value, vote.role, vote.source) == ("thumb", value, "moderator", "review")


async def test_private_chats_are_shown_to_nobody_whatever_is_pressed(parts, port, engine):
    secret = await answered(parts, port, "a secret of mine", place=ANN)
    shown = await answered(parts, port, "something for all")
    outcome = await review(parts)
    assert outcome.card.reply_id == shown.id
    for verdict in ("good", "bad", "rewrite", "again", f"own:{shown.id}", f"other:{shown.id}", "skip"):
        outcome = await press(parts, f"review:{secret.id}:{verdict}", text="what I think of it")
        assert "secret" not in outcome.text
        assert outcome.ask is None
    assert await parts.store.votes(secret.id) == ()
    assert len(engine.requests) == 2, "and nothing is written to it"


async def test_the_group_sees_no_card(parts, port):
    await answered(parts, port)
    await parts.core.receive([Command(GROUP, "c", "mo", "review", lang_hint="en")])
    await until(lambda: any("in a private chat" in text for text in port.texts))
    assert not any(row and row[0].data.startswith("review:") for row in port.buttons.values())


async def test_two_moderators_never_have_the_same(parts, port):
    for text in ("one", "two"):
        await answered(parts, port, text)
    cards = await asyncio.gather(*(review(parts, user=user) for user in ("mo", "mia")))
    mine, theirs = [outcome.card.reply_id for outcome in cards]
    assert mine != theirs
    outcome = await press(parts, f"review:{theirs}:good")
    assert outcome.text.startswith("That answer is no longer yours")
    assert outcome.card.reply_id == mine
    assert await parts.store.votes(theirs) == ()


async def test_a_skipped_reply_is_another_moderators(parts, port):
    reply = await answered(parts, port)
    await review(parts)
    assert "Nothing is waiting" in (await press(parts, f"review:{reply.id}:skip")).text
    assert (await review(parts, user="mia")).card.reply_id == reply.id
    assert "Given back" in (await press(parts, f"review:{reply.id}:release", user="mia")).text
    assert (await review(parts, user="mia")).card.reply_id == reply.id
    assert await parts.store.votes(reply.id) == ()


async def test_a_rewrite_is_asked_for_with_the_reply_in_the_field_and_stored_clean(parts, port):
    reply = await answered(parts, port)
    await review(parts)
    data = f"review:{reply.id}:rewrite"
    for text in ("", "  ", reply.text):
        outcome = await press(parts, data, text=text)
        assert (outcome.ask.data, outcome.ask.text) == (data, reply.text)
        assert "Harry Potter" in outcome.text
    assert await parts.store.votes(reply.id) == ()
    await press(parts, data, text=" I am\u202e Harry. " + "x" * 9000)
    (vote,) = await live(parts, reply.id)
    assert (vote.kind, vote.value, vote.role) == ("rewrite", 1, "moderator")
    assert vote.text.startswith("I am Harry. xxx")
    assert len(vote.text) == 4000


@pytest.mark.parametrize("verdict", ["own", "other", "neither"])
async def test_a_second_answer_is_compared_with_the_first_and_said_to_nobody(parts, port, engine, verdict):
    reply = await answered(parts, port)
    await review(parts)
    engine.reply = "Quite another."
    outcome = await press(parts, f"review:{reply.id}:again")
    shown, asked = engine.requests
    assert asked["messages"] == shown["messages"]
    assert asked["seed"] != shown["seed"]
    assert {name: asked[name] for name in ("model", "temperature", "top_p", "max_tokens")} == {
        name: shown[name] for name in ("model", "temperature", "top_p", "max_tokens")
    }
    other = await parts.store.reviews.alternative(reply.id)
    assert sorted(outcome.card.replies) == sorted([reply.text, "Quite another."])
    assert data_of(outcome)[2] == f"review:{reply.id}:neither:{other.id}"
    assert outcome.text.endswith("Which answer is better?")
    again = await press(parts, f"review:{reply.id}:again")
    assert len(engine.requests) == 2, "the same press again writes no third"
    for one in (outcome, again):
        sides = [data.split(":")[2] for data in data_of(one)[:2]]
        assert one.card.replies[sides.index("own")] == reply.text
    chosen = next(data for data in data_of(outcome) if f":{verdict}:" in data)
    assert "Nothing is waiting" in (await press(parts, chosen)).text
    better, worse = (other, reply) if verdict == "other" else (reply, other)
    (vote,) = await live(parts, better.id)
    assert (vote.kind, vote.value, vote.other_reply_id) == ("pair", int(verdict != "neither"), worse.id)
    assert (vote.role, await live(parts, worse.id)) == ("moderator", [])
    assert "Quite another." not in "".join(port.texts)
    await answered(parts, port, "go on")
    assert "Quite another." not in json.dumps(engine.requests[2]["messages"])


async def test_the_two_answers_come_in_either_order(parts, port, engine):
    reply = await answered(parts, port)
    engine.reply = "Quite another."
    firsts = set()
    async with asyncio.timeout(60):
        while len(firsts) < 2:
            firsts.add((await press(parts, f"review:{reply.id}:again")).card.replies[0])
    assert firsts == {reply.text, "Quite another."}


async def test_without_another_answer_the_card_stays(parts, port, engine):
    reply = await answered(parts, port)
    engine.busy = True
    outcome = await press(parts, f"review:{reply.id}:again")
    assert outcome.text.startswith("No other answer can be written just now")
    assert outcome.card.replies == (reply.text,)
    engine.busy = False
    outcome = await press(parts, f"review:{reply.id}:again")
    assert outcome.text.startswith("There is no other answer: the same words came again")
    assert await parts.store.reviews.alternative(reply.id) is None
    assert outcome.card.reply_id == reply.id
    engine.reply = "Quite another."
    assert len((await press(parts, f"review:{reply.id}:again")).card.replies) == 2


async def test_the_adapter_that_spoke_speaks_again_and_todays_where_it_is_gone(parts, port, engine, tmp_path):
    old = await speaking(parts, tmp_path / "harry_potter" / "v1", seed=1)
    reply = await answered(parts, port)
    assert reply.adapter == old
    engine.reply = "Quite another."
    new = await speaking(parts, tmp_path / "harry_potter" / "v2", seed=2)
    assert old not in engine.adapters or engine.adapters.pop(old)
    await press(parts, f"review:{reply.id}:again")
    assert [request["model"] for request in engine.requests] == [old, old, new]
    other = await parts.store.reviews.alternative(reply.id)
    assert (other.adapter, other.base_fingerprint, other.arm) == (new, FINGERPRINT, None)


async def speaking(parts, folder, *, seed):
    """The name of a new champion of Harry Potter."""
    digest = adapter(folder, seed=seed)
    row = Adapter(digest, "harry_potter", folder.name, FINGERPRINT, str(folder))
    await parts.store.add_adapter(row)
    await parts.store.promote("harry_potter", FINGERPRINT, digest, actor="test")
    await parts.reconciler.once()
    return parts.reconciler.champion("harry_potter").name


async def test_the_consent_question_comes_once_beside_the_next_card(parts, port):
    replies = [await answered(parts, port, text) for text in ("one", "two", "three")]
    await review(parts)
    outcome = await press(parts, f"review:{replies[2].id}:good")
    assert outcome.card.reply_id == replies[1].id
    assert data_of(outcome)[5:] == ["consent:yes", "consent:no", "consent:vote"]
    assert "One question, asked once" in outcome.text
    await press(parts, "consent:yes")
    outcome = await press(parts, f"review:{replies[1].id}:good")
    assert len(outcome.buttons) == 5
    (vote,) = await live(parts, replies[1].id)
    assert vote.consent == "yes"


async def test_a_press_that_is_done_again_after_a_crash_asks_for_consent_again(parts, port):
    reply = await answered(parts, port)
    again = Press(DESK, "p", "mo", f"review:{reply.id}:good", is_direct=True)
    await parts.core.press(again)
    assert "consent:yes" in data_of(await parts.core.press(again, again=True))
    assert data_of(await parts.core.press(again)) == []
    assert len(await parts.store.votes(reply.id)) == 1


async def test_presses_of_a_polling_platform_are_acknowledged_with_the_next_card(parts, port):
    first = await answered(parts, port, "one")
    second = await answered(parts, port, "two")
    await parts.core.receive([Command(DESK, "c", "mo", "review", is_direct=True)])
    await until(lambda: any(row and row[0].data.startswith("review:") for row in port.buttons.values()))
    (kept,) = await sent(parts.store, 3)
    assert (kept.state, kept.text) == ("sent", ""), "a copy would outlive the person's wish to be forgotten"
    await parts.core.receive([Press(DESK, "x", "mo", f"review:{second.id}:good", is_direct=True)])
    ((_, outcome),) = await until(lambda: port.acknowledged)
    assert outcome.card.reply_id == first.id


async def sent(store, inbox_id):
    async with asyncio.timeout(30):
        while "pending" in (await store.states())["inbox"] or "sending" in (await store.states())["outbox"]:
            await asyncio.sleep(0.01)
    return await store.outbox(inbox_id, "command")


async def test_a_persona_can_be_asked_for_and_stays_asked_for(parts, port):
    replies = [await answered(parts, port, text) for text in ("one", "two")]
    await parts.core.command(Command(GROUP, "p", "ann", "persona", "li_bai"))
    await answered(parts, port, "three")
    assert "Voldemort" in (await review(parts, "Voldemort")).text
    outcome = await review(parts, "哈利·波特")
    assert outcome.card.reply_id == replies[1].id
    outcome = await press(parts, f"review:{replies[1].id}:good")
    assert outcome.card.reply_id == replies[0].id
    assert "Nothing is waiting" in (await press(parts, f"review:{replies[0].id}:good")).text
    assert (await review(parts)).card.speaker == "Li Bai"


@pytest.mark.parametrize(
    "data", ["review:", "review", "review:x", "review:nothing:good", "review:nothing:own:"]
)
async def test_a_press_on_what_is_not_there_leads_to_the_next_card(parts, port, data):
    reply = await answered(parts, port)
    outcome = await press(parts, data)
    if data.startswith("review:"):
        assert outcome.card.reply_id == reply.id
    assert await parts.store.votes(reply.id) == ()
    assert await parts.store.consent(rater_hash(b"", "telegram", "mo")) is None
