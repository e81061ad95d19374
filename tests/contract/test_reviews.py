"""The moderators' queue: what is shown to whom, in which order; nobody judges what another judges."""

from __future__ import annotations

import asyncio
import sqlite3
from dataclasses import replace

import pytest

from data.records import Ballot, InboxItem, NewReply, Result, Said
from data.sqlite import open_store
from data.statements import migrations
from tests.fakes.clock import FakeClock

LEASE_S = 600.0


@pytest.fixture(name="clock")
def _clock():
    return FakeClock()


@pytest.fixture(name="store")
async def _store(tmp_path, clock):
    async with open_store(tmp_path / "store.db", clock=clock) as store:
        yield store


class Chat:
    """A group in which people talk with a persona; every reply is a second younger than the one before."""

    def __init__(self, store, clock, chat="-5", *, persona="li_bai", is_direct=False):
        self.store, self.clock, self.chat = store, clock, chat
        self.persona, self.is_direct = persona, is_direct

    async def ask(self, user="ann", *, guard=None):
        self.clock.advance(1)
        number = str(self.clock.now())
        (inbox_id,) = await self.store.receive(
            [InboxItem("telegram", self.chat, "", number, user, "message", "{}")]
        )
        live = await self.store.conversation(
            "telegram", self.chat, "", self.persona, is_direct=self.is_direct
        )
        new = NewReply(inbox_id, live.id, self.persona, "telegram", self.chat, "en", "[]", "[]", "{}", 3)
        reply = await self.store.open_reply(new)
        said = Said(f"{user} asks", user, user.title())
        await self.store.complete_reply(reply.id, Result(f"answer to {user}", "stop", guard=guard), [said])
        return reply.id


@pytest.fixture(name="chat")
def _chat(store, clock):
    return Chat(store, clock)


async def taken(store, moderator="mo", persona=None):
    item = await store.reviews.next(moderator, persona, lease_s=LEASE_S)
    return None if item is None else item.reply.id


def thumb(reply_id, rater="mo", value=1, *, role="moderator", **more):
    return Ballot(reply_id, rater, "thumb", value, role, **more)


async def test_urgent_replies_come_first_and_then_the_newest(store, chat):
    flagged, unsafe, disliked, liked, disputed, settled, newest = [await chat.ask() for _ in range(7)]
    await store.cast(Ballot(flagged, "bob", "flag", 1))
    await store.cast(thumb(unsafe, "bob", -1, role="user", reason="unsafe"))
    await store.cast(thumb(disliked, "bob", -1, role="user"))
    await store.cast(thumb(liked, "bob", role="user"))
    for reply, values in ((disputed, (1, -1)), (settled, (1, 1))):
        for rater, value in zip(("m1", "m2"), values, strict=True):
            await store.cast(thumb(reply, rater, value))
    guarded = await chat.ask(guard='["repetition"]')
    order = []
    while (reply := await taken(store)) is not None:
        order.append(reply)
        await store.reviews.judge(reply, thumb(reply))
    assert order == [disputed, guarded, unsafe, flagged, disliked, newest, liked]


async def test_a_moderator_sees_what_was_said_before_and_not_the_reply_itself(store, chat):
    for user in ("ann", "bob", "cat"):
        await chat.ask(user)
    item = await store.reviews.next("mo", None, lease_s=LEASE_S)
    assert item.reply.text == "answer to cat"
    assert [(one.role, one.author_name, one.text) for one in item.said] == [
        ("user", "Ann", "ann asks"), ("assistant", None, "answer to ann"),
        ("user", "Bob", "bob asks"), ("assistant", None, "answer to bob"),
        ("user", "Cat", "cat asks"),
    ]  # fmt: skip


async def test_private_replies_are_never_shown_and_never_judged(store, clock):
    private = [
        await Chat(store, clock, "7", is_direct=True).ask(),
        # Nobody said what this one is.
        await ask_somewhere(store),
    ]
    assert await taken(store) is None
    for reply in private:
        assert (await store.reviews.judge(reply, thumb(reply))).change == "no_reply"
        assert await store.reviews.hold(reply, "mo", lease_s=LEASE_S) is None
        assert await store.votes(reply) == ()
    assert (await store.reviews.counts("mo")).waiting == 0


async def ask_somewhere(store):
    (inbox_id,) = await store.receive([InboxItem("web", "w", "", "1", "ann", "message", "{}")])
    live = await store.conversation("web", "w", "", "li_bai")
    new = NewReply(inbox_id, live.id, "li_bai", "web", "w", "en", "[]", "[]", "{}", 3)
    reply = await store.open_reply(new)
    await store.complete_reply(reply.id, Result("secret", "stop"), [Said("psst", "ann", "")])
    return reply.id


async def test_who_said_no_is_shown_to_nobody_and_neither_is_what_follows_in_that_chat(store, clock, chat):
    before = await chat.ask("bob")
    await chat.ask("ann")
    await chat.ask("bob")
    elsewhere = await Chat(store, clock, "-6").ask("bob")
    await store.answer_consent("ann", "no")
    assert await taken(store, "m1") == elsewhere
    assert await taken(store, "m2") == before
    assert await taken(store, "m3") is None
    await store.answer_consent("ann", "vote")
    assert await taken(store, "m3") is not None


async def test_a_claim_ends_when_the_person_says_no_meanwhile(store, chat):
    reply = await chat.ask("ann")
    assert await taken(store) == reply
    await store.answer_consent("ann", "no")
    assert (await store.reviews.judge(reply, thumb(reply))).change == "no_reply"
    assert await taken(store) is None


async def test_nobody_judges_an_answer_to_their_own_words(store, chat):
    reply = await chat.ask("mo")
    assert await taken(store) is None
    assert (await store.reviews.judge(reply, thumb(reply))).change == "no_reply"
    assert await taken(store, "other") == reply


async def test_unfinished_replies_are_not_shown(store, clock):
    (inbox_id,) = await store.receive([InboxItem("telegram", "-5", "", "1", "ann", "message", "{}")])
    live = await store.conversation("telegram", "-5", "", "li_bai", is_direct=False)
    new = NewReply(inbox_id, live.id, "li_bai", "telegram", "-5", "en", "[]", "[]", "{}", 3)
    await store.open_reply(new)
    assert await taken(store) is None


async def test_many_moderators_at_once_never_get_the_same(store, chat):
    replies = {await chat.ask() for _ in range(40)}
    moderators = [f"m{number}" for number in range(60)]
    claimed = await asyncio.gather(*(taken(store, moderator) for moderator in moderators))
    assert sorted(filter(None, claimed)) == sorted(replies)
    assert claimed.count(None) == 20


async def test_many_sittings_at_once_judge_each_reply_once(store, chat):
    replies = {await chat.ask() for _ in range(30)}
    judged = []

    async def sit(moderator):
        while (reply := await taken(store, moderator)) is not None:
            await asyncio.sleep(0)
            if (await store.reviews.judge(reply, thumb(reply, moderator))).change == "new":
                judged.append(reply)

    await asyncio.gather(*(sit(f"m{number}") for number in range(8)))
    assert sorted(judged) == sorted(replies)


async def test_the_database_itself_refuses_a_second_claim(tmp_path, store, chat):
    reply = await chat.ask()
    assert await taken(store, "m1") == reply
    with sqlite3.connect(tmp_path / "store.db") as other, pytest.raises(sqlite3.IntegrityError):
        other.execute("INSERT INTO review_claim VALUES (?, 'm2', 'claimed', NULL, 9e9, 0)", (reply,))


async def test_a_moderator_who_asks_again_gets_the_same_and_a_claim_that_ran_out_is_free(store, chat, clock):
    older, newer = await chat.ask(), await chat.ask()
    assert [await taken(store), await taken(store)] == [newer, newer]
    clock.advance(LEASE_S - 1)
    assert await taken(store) == newer, "asking again makes it last"
    clock.advance(LEASE_S - 1)
    assert await taken(store, "other") == older
    clock.advance(2)
    assert await taken(store, "third") == newer


async def test_who_comes_late_is_heard_unless_somebody_else_has_it_by_then(store, chat, clock):
    first, second = await chat.ask(), await chat.ask()
    assert await taken(store, "m1") == second
    clock.advance(LEASE_S + 1)
    assert (await store.reviews.judge(second, thumb(second, "m1"))).change == "new"
    assert await taken(store, "m1") == first
    clock.advance(LEASE_S + 1)
    assert await taken(store, "m2") == first
    assert (await store.reviews.judge(first, thumb(first, "m1"))).change == "taken"
    await store.reviews.judge(first, thumb(first, "m2"))
    assert (await store.reviews.judge(first, thumb(first, "m1"))).change == "taken"
    assert [vote.rater_hash for vote in await store.votes(first)] == ["m2"]


async def test_a_moderator_may_change_their_mind(store, chat):
    reply = await chat.ask()
    await taken(store)
    await store.reviews.judge(reply, thumb(reply))
    assert (await store.reviews.judge(reply, thumb(reply, value=-1))).change == "changed"
    assert [(vote.value, vote.role) for vote in await store.votes(reply) if vote.closed_at is None] == [
        (-1, "moderator")
    ]
    assert await taken(store) is None


async def test_a_skipped_reply_goes_to_others_and_a_released_one_comes_back(store, chat):
    reply = await chat.ask()
    await taken(store)
    await store.reviews.skip(reply, "other")
    assert await taken(store, "other") is None, "nobody skips what another has"
    await store.reviews.skip(reply, "mo")
    assert await taken(store) is None
    assert await taken(store, "other") == reply
    await store.reviews.release(reply, "mo")
    assert await taken(store, "third") is None, "nor gives it back"
    await store.reviews.release(reply, "other")
    assert await taken(store, "other") == reply


async def test_one_may_ask_for_a_personas_replies_alone(store, chat, clock):
    reply = await chat.ask()
    newer = await Chat(store, clock, "-6", persona="harry_potter").ask()
    assert await taken(store) == newer
    assert await store.reviews.wanted("mo") is None
    assert await taken(store, persona="li_bai") == reply
    assert await store.reviews.wanted("mo") == "li_bai"
    assert await taken(store, "other") == newer, "what was held before is free again"
    await store.reviews.judge(reply, thumb(reply))
    assert await store.reviews.wanted("mo") == "li_bai"
    assert await taken(store, persona="li_bai") is None


async def test_a_certain_reply_can_be_held_unless_it_is_anothers(store, chat):
    older, newer = await chat.ask(), await chat.ask()
    assert await taken(store) == newer
    assert (await store.reviews.hold(newer, "mo", lease_s=LEASE_S)).reply.id == newer
    assert await store.reviews.hold(newer, "other", lease_s=LEASE_S) is None
    assert (await store.reviews.hold(older, "mo", lease_s=LEASE_S)).reply.id == older
    assert await taken(store, "other") == newer, "one at a time"
    assert await store.reviews.hold("nothing", "mo", lease_s=LEASE_S) is None


async def test_another_answer_stays_out_of_the_chat_its_history_and_the_queue(store, chat):
    reply_id = await chat.ask()
    reply = await store.reply(reply_id)
    assert await store.reviews.alternative(reply_id) is None
    other = await alternative(store, reply)
    assert (other.state, other.text, other.parent_reply_id, other.seed) == ("complete", "other", reply_id, 4)
    assert await store.reviews.alternative(reply_id) == other
    history = await store.history(reply.conversation_id, most=9)
    assert {one.reply_id for one in history} == {reply_id}
    assert (await store.states())["inbox"] == {"pending": 1, "done": 1}, "it is nothing to be answered"
    assert [await taken(store, "m1"), await taken(store, "m2")] == [reply_id, None]
    assert (await store.reviews.judge(other.id, thumb(other.id))).change == "no_reply"


async def test_another_answer_to_what_was_forgotten_meanwhile_is_not_kept(store, chat):
    reply = await store.reply(await chat.ask())
    assert await alternative(store, replace(reply, messages='["what was erased"]')) is None
    assert (await store.states())["inbox"] == {"pending": 1}


async def alternative(store, reply):
    where = {name: getattr(reply, name) for name in ("conversation_id", "persona", "platform", "chat")}
    drawn = {"lang": "en", "messages": reply.messages, "lore": "[]", "sampling": "{}", "seed": 4}
    new = NewReply(0, **where, **drawn, parent_reply_id=reply.id)
    asked = InboxItem("telegram", "7", "", f"review:{reply.id}", "mo", "press", "{}")
    return await store.reviews.add_alternative(asked, new, Result("other", "stop"))


async def test_a_pair_settles_the_reply_whichever_was_better_and_is_one_opinion(store, chat):
    reply = await store.reply(await chat.ask())
    other = await alternative(store, reply)
    pair = Ballot(other.id, "mo", "pair", 1, "moderator", other_reply_id=reply.id)
    stranger = await chat.ask("bob")
    for wrong in (replace(pair, reply_id=stranger), replace(pair, other_reply_id=None)):
        assert (await store.reviews.judge(reply.id, wrong)).change == "no_reply"
    assert (await store.reviews.judge(reply.id, pair)).change == "new"
    assert (await store.reviews.judge(reply.id, thumb(reply.id, "m2"))).change == "taken"
    turned = replace(pair, reply_id=reply.id, other_reply_id=other.id)
    await store.reviews.judge(reply.id, turned)
    live = [v for one in (reply, other) for v in await store.votes(one.id) if v.closed_at is None]
    assert [(vote.reply_id, vote.other_reply_id) for vote in live] == [(reply.id, other.id)]
    await store.reviews.judge(stranger, thumb(stranger))
    assert await taken(store, "m3") is None


async def test_counts_are_what_waits_for_all_and_what_one_has_judged(store, chat):
    replies = [await chat.ask() for _ in range(4)]
    await taken(store)
    await store.reviews.skip(replies[3], "mo")
    await store.reviews.judge(replies[0], thumb(replies[0]))
    counts = await store.reviews.counts("mo")
    assert (counts.waiting, counts.judged) == (2, 1)
    counts = await store.reviews.counts("other")
    assert (counts.waiting, counts.judged) == (3, 0)


async def test_chats_of_several_people_are_known_after_the_migration(tmp_path):
    """A store from before: what each conversation is, is read from the events that were answered."""
    path = tmp_path / "store.db"
    scripts = dict(migrations())
    with sqlite3.connect(path) as old:
        old.executescript(scripts[1])
        talks = {"g": '{"text": "x", "is_direct": false}', "d": '{"text": "x", "is_direct": true}'}
        talks["quoted"] = '{"text": "\\"is_direct\\": false", "is_direct": true}'
        for number, (chat, payload) in enumerate(talks.items(), 1):
            old.execute(
                "INSERT INTO inbox VALUES (?, 't', ?, '', '1', 'u', 'message', 'done', 1, ?, NULL, 0, 0)",
                (number, chat, payload),
            )
            old.execute("INSERT INTO conversation VALUES (?, 't', ?, '', 'p', 0, NULL)", (chat, chat))
            old.execute(
                "INSERT INTO reply (id, inbox_id, conversation_id, persona, platform, chat, state, lang,"
                " messages, lore, sampling, seed, created_at)"
                " VALUES (?, ?, ?, 'p', 't', ?, 'complete', 'en', '[]', '[]', '{}', 0, 0)",
                (chat, number, chat, chat),
            )
        old.execute("PRAGMA user_version = 1")
    async with open_store(path):
        pass
    with sqlite3.connect(path) as new:
        assert dict(new.execute("SELECT id, is_direct FROM conversation")) == {"g": 0, "d": 1, "quoted": 1}
