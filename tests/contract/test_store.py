"""What every store promises, whatever it is made of."""

from __future__ import annotations

import asyncio
import sqlite3
from dataclasses import replace

import aiosqlite
import pytest

from data.errors import StoreNewer, StoreUnavailable
from data.records import Adapter, Ballot, InboxItem, NewReply, Result, Said
from data.sqlite import open_store
from data.statements import load_statements, migrations
from tests.fakes.clock import FakeClock

FINGERPRINT = "f" * 64


@pytest.fixture(name="clock")
def _clock():
    return FakeClock()


@pytest.fixture(name="store")
async def _store(tmp_path, clock):
    async with open_store(tmp_path / "store.db", clock=clock) as store:
        yield store


def item(message_id="m1", *, platform="telegram", chat="7", user="ann"):
    return InboxItem(platform, chat, "", message_id, user, "message", '{"text": "hi"}')


async def a_reply(store, message_id="m1", *, persona="li_bai", text="hello"):
    (inbox_id,) = await store.receive([item(message_id)])
    live = await store.conversation("telegram", "7", "", persona)
    reply = await store.open_reply(
        NewReply(inbox_id, live.id, persona, "telegram", "7", "en", "[]", "[]", "{}", seed=3)
    )
    await store.complete_reply(reply.id, Result(text, "stop"), [Said(f"asked {message_id}", "ann", "Ann")])
    return reply


async def test_a_message_delivered_five_times_is_stored_once_and_the_cursor_moves_with_it(store):
    new = await store.receive([item(), item(), item("m2")], cursor=("telegram", "bot", "8"))
    assert len(new) == 2
    assert await store.receive([item(), item("m2")], cursor=("telegram", "bot", "9")) == ()
    assert await store.cursor("telegram", "bot") == "9"
    assert await store.cursor("telegram", "other") is None
    assert len(await store.receive([item(chat="8"), item(platform="discord")])) == 2


async def test_open_items_come_back_in_order_until_they_are_settled(store):
    first, second = await store.receive([item("a"), item("b")])
    assert await store.begin(first) == 1
    assert await store.begin(first) == 2, "a half handled item is taken up again"
    assert [one.id for one in await store.open_items("telegram", after=0, most=9)] == [first, second]
    await store.settle(first, "done")
    assert await store.begin(first) == 0
    assert [one.id for one in await store.open_items("telegram", after=0, most=9)] == [second]
    assert await store.open_items("telegram", after=second, most=9) == ()
    assert await store.expire("telegram") == 1
    assert (await store.states())["inbox"] == {"done": 1, "expired": 1}


async def test_a_conversation_is_one_live_row_until_it_is_closed(store):
    several = await asyncio.gather(*(store.conversation("web", "1", "", "li_bai") for _ in range(8)))
    assert len({one.id for one in several}) == 1
    assert (await store.conversation("web", "1", "t", "li_bai")).id != several[0].id
    assert (await store.conversation("web", "1", "", "harry_potter")).id != several[0].id
    assert await store.close_conversation("web", "1", "", "li_bai")
    assert not await store.close_conversation("web", "1", "", "li_bai")
    assert (await store.conversation("web", "1", "", "li_bai")).id != several[0].id


async def test_a_completed_reply_is_in_the_history_once(store):
    reply = await a_reply(store)
    await store.complete_reply(reply.id, Result("again", "stop"), [Said("again", "ann", "Ann")])
    later = await a_reply(store, "m2", text="second")
    history = await store.history(reply.conversation_id, most=10)
    assert [(one.role, one.text) for one in history] == [
        ("user", "asked m1"), ("assistant", "hello"), ("user", "asked m2"), ("assistant", "second"),
    ]  # fmt: skip
    assert {one.reply_id for one in history} == {reply.id, later.id}
    assert [one.text for one in await store.history(reply.conversation_id, most=1)] == ["second"]


async def test_a_reply_is_one_row_per_message_and_a_complete_one_stays_as_it_is(store):
    (inbox_id,) = await store.receive([item()])
    live = await store.conversation("telegram", "7", "", "li_bai")
    new = NewReply(inbox_id, live.id, "li_bai", "telegram", "7", "en", '["first"]', "[]", "{}", seed=1)
    first = await store.open_reply(new)
    await store.fail_reply(first.id, "engine away")
    again = await store.open_reply(replace(new, messages='["second"]', adapter="li_bai@12345678"))
    assert (again.id, again.state, again.messages, again.error) == (
        first.id,
        "generating",
        '["second"]',
        None,
    )
    await store.complete_reply(first.id, Result("text", "stop", 5, 6, 0.5, 1.5), [])
    kept = await store.open_reply(replace(new, messages='["third"]'))
    assert (kept.state, kept.messages, kept.text) == ("complete", '["second"]', "text")
    assert (kept.prompt_tokens, kept.completion_tokens, kept.adapter) == (5, 6, "li_bai@12345678")
    assert await store.reply_of(inbox_id) == kept == await store.reply(first.id)


async def test_a_part_is_announced_before_it_is_sent_and_found_by_its_message(store):
    reply = await a_reply(store)
    where = {"platform": "telegram", "chat": "7", "thread": ""}
    part = await store.sending(reply.inbox_id, "reply", 0, **where, text="he", reply_id=reply.id)
    assert part.state == "sending"
    assert len(part.nonce) <= 25, "Discord takes no longer nonce"
    await store.mark_outbox(part.id, "sent", text="hello", platform_message_id="99")
    (kept,) = await store.outbox(reply.inbox_id, "reply")
    assert (kept.state, kept.text, kept.platform_message_id, kept.nonce) == (
        "sent",
        "hello",
        "99",
        part.nonce,
    )
    assert await store.reply_of_message("telegram", "7", "99") == reply.id
    assert await store.reply_of_message("telegram", "8", "99") is None
    with pytest.raises(sqlite3.IntegrityError):
        await store.sending(reply.inbox_id, "reply", 0, **where, text="twice", reply_id=reply.id)


async def test_a_changed_vote_is_a_new_row_and_the_same_vote_is_none(store):
    reply = await a_reply(store)
    up, down = (Ballot(reply.id, "ann", "thumb", value) for value in (1, -1))
    assert await store.cast(up) == await store.cast(replace(up, rater_hash="bob"))
    assert (await store.cast(up)).change == "same"
    assert (await store.cast(down)).change == "changed"
    assert (await store.give_reason(reply.id, "ann", "boring", None)).change == "changed"
    assert (await store.give_reason(reply.id, "ann", "boring", None)).change == "same"
    assert (await store.cast(down)).change == "same", "a bare thumb does not wipe the reason"
    assert (await store.give_reason(reply.id, "cat", "boring", None)).change == "no_vote"
    assert (await store.cast(replace(up, reply_id="nothing"))).change == "no_reply"
    rows = [vote for vote in await store.votes(reply.id) if vote.rater_hash == "ann"]
    assert [(vote.value, vote.reason, vote.closed_at is None) for vote in rows] == [
        (1, None, False), (-1, None, False), (-1, "boring", True),
    ]  # fmt: skip


async def test_consent_is_asked_at_the_first_vote_only_and_its_answer_is_copied_to_the_live_votes(store):
    first, second = await a_reply(store, "m1"), await a_reply(store, "m2")
    assert (await store.cast(Ballot(first.id, "ann", "thumb", 1))).ask_consent
    assert not (await store.cast(Ballot(second.id, "ann", "thumb", -1))).ask_consent
    assert await store.consent("ann") == "asked"
    assert await store.consent("bob") is None
    for answer in ("yes", "yes", "vote"):
        await store.answer_consent("ann", answer)
    assert await store.consent("ann") == "vote"
    for reply, value in ((first, 1), (second, -1)):
        rows = await store.votes(reply.id)
        assert [vote.consent for vote in rows] == ["unasked", "yes", "vote"]
        assert [vote.closed_at is None for vote in rows] == [False, False, True]
        assert {vote.value for vote in rows} == {value}
    third = await a_reply(store, "m3")
    await store.cast(Ballot(third.id, "ann", "thumb", 1))
    assert (await store.live_vote(third.id, "ann", "thumb")).consent == "vote"


async def test_pairs_and_rewrites_have_their_place(store):
    first, second = await a_reply(store, "m1"), await a_reply(store, "m2")
    await store.cast(Ballot(first.id, "ann", "pair", 1, other_reply_id=second.id))
    await store.cast(Ballot(first.id, "ann", "rewrite", 1, role="moderator", text="better"))
    await store.cast(Ballot(first.id, "ann", "thumb", 1))
    assert {vote.kind for vote in await store.votes(first.id) if vote.closed_at is None} == {
        "pair", "rewrite", "thumb",
    }  # fmt: skip
    with pytest.raises(sqlite3.IntegrityError):
        await store.cast(Ballot(first.id, "ann", "pair", 1, other_reply_id="nobody"))


async def test_settings_are_kept_per_scope(store):
    await store.set_setting("channel", "discord:1", "persona", "li_bai")
    await store.set_setting("channel", "discord:1", "persona", "harry_potter")
    assert await store.setting("channel", "discord:1", "persona") == "harry_potter"
    assert await store.setting("guild", "discord:1", "persona") is None


async def test_promotion_moves_two_pointers_at_once(store):
    one = Adapter("a" * 64, "li_bai", "v0", FINGERPRINT, "/a")
    two = Adapter("b" * 64, "li_bai", "v1", FINGERPRINT, "/b")
    assert await store.add_adapter(one, champion_if_none=True)
    assert not await store.add_adapter(one, champion_if_none=True)
    assert not await store.add_adapter(two, champion_if_none=True)
    await store.promote("li_bai", FINGERPRINT, two.digest, actor="operator")
    named = {alias.alias: alias.version for alias in await store.aliases(FINGERPRINT)}
    assert named == {"champion": "v1", "previous": "v0"}
    await store.promote("li_bai", FINGERPRINT, two.digest, actor="operator")
    assert len(await store.audits()) == 1
    with pytest.raises(sqlite3.IntegrityError):
        await store.promote("li_bai", FINGERPRINT, "c" * 64, actor="operator")
    assert {alias.alias for alias in await store.aliases(FINGERPRINT)} == {"champion", "previous"}
    assert await store.aliases("0" * 64) == ()


async def test_a_folder_built_anew_is_another_version(store):
    one = Adapter("a" * 64, "li_bai", "v0", FINGERPRINT, "/a")
    await store.add_adapter(one)
    await store.add_adapter(replace(one, digest="b" * 64))
    await store.add_adapter(replace(one, digest="b" * 64, path="/moved"))
    known = {(adapter.version, adapter.path) for adapter in await store.adapters(FINGERPRINT)}
    assert known == {("v0", "/a"), ("v0-bbbbbbbb", "/moved")}


async def test_a_failing_unit_fails_alone_and_its_neighbours_are_committed(store, tmp_path):
    reply = await a_reply(store)
    bad = Ballot(reply.id, "bad", "pair", 1, other_reply_id="nobody")
    results = await asyncio.gather(
        *(store.receive([item(f"n{number}")]) for number in range(20)),
        store.cast(bad),
        *(store.receive([item(f"o{number}")]) for number in range(20)),
        return_exceptions=True,
    )
    failed = [result for result in results if isinstance(result, Exception)]
    assert [type(error) for error in failed] == [sqlite3.IntegrityError]
    assert (await store.states())["inbox"]["pending"] == 41
    async with aiosqlite.connect(tmp_path / "store.db") as other:
        assert await other.execute_fetchall("SELECT COUNT(*) FROM inbox") == [(41,)]


async def test_a_cancelled_caller_harms_nobody(store):
    calls = [asyncio.ensure_future(store.receive([item(f"c{number}")])) for number in range(10)]
    await asyncio.sleep(0)
    for call in calls[::2]:
        call.cancel()
    done = await asyncio.gather(*calls, return_exceptions=True)
    assert [isinstance(result, asyncio.CancelledError) for result in done] == [True, False] * 5
    await store.receive([item("after")])
    known = {one.message_id for one in await store.open_items("telegram", after=0, most=99)}
    assert {f"c{number}" for number in range(1, 10, 2)} | {"after"} <= known
    # What was cancelled is unknown to its caller; doing it again settles it.
    for number in range(0, 10, 2):
        await store.receive([item(f"c{number}")])
    assert (await store.states())["inbox"]["pending"] == 11


async def test_a_closed_store_refuses_and_keeps_what_was_written(tmp_path):
    async with open_store(tmp_path / "store.db") as store:
        waiting = [asyncio.ensure_future(store.receive([item(f"w{number}")])) for number in range(5)]
        await asyncio.sleep(0)
    assert [len(new) for new in await asyncio.gather(*waiting)] == [1] * 5, "what waited was still committed"
    with pytest.raises(StoreUnavailable):
        await store.receive([item("late")])
    async with open_store(tmp_path / "store.db") as store:
        assert (await store.states())["inbox"] == {"pending": 5}


async def test_a_full_disk_is_said_and_passes(tmp_path):
    async with open_store(tmp_path / "store.db") as store:
        await store.receive([item("before")])
        connection = store._writer._connection
        (pages,) = next(iter(await connection.execute_fetchall("PRAGMA page_count")))
        await connection.execute_fetchall(f"PRAGMA max_page_count = {pages}")
        big = replace(item("big"), payload="x" * 300_000)
        with pytest.raises(StoreUnavailable):
            await store.receive([big])
        assert len(await store.open_items("telegram", after=0, most=9)) == 1, "reading goes on"
        await connection.execute_fetchall("PRAGMA max_page_count = 1000000")
        assert len(await store.receive([big])) == 1


async def test_a_store_of_a_newer_version_is_refused_untouched(tmp_path):
    path = tmp_path / "store.db"
    async with open_store(path):
        pass
    async with aiosqlite.connect(path) as connection:
        await connection.execute_fetchall("PRAGMA user_version = 999")
    with pytest.raises(StoreNewer):
        async with open_store(path):
            pass


async def test_a_commit_is_durable_and_what_is_deleted_is_overwritten(store):
    connection = store._writer._connection
    found = {}
    for name in ("journal_mode", "synchronous", "secure_delete", "foreign_keys"):
        (found[name],) = next(iter(await connection.execute_fetchall(f"PRAGMA {name}")))
    assert found == {"journal_mode": "wal", "synchronous": 2, "secure_delete": 1, "foreign_keys": 1}


async def test_statements_are_portable():
    for statement in load_statements().values():
        upper = statement.upper()
        assert not any(word in upper for word in ("OR REPLACE", "OR IGNORE", "ROWID", "DATETIME(", "IFNULL("))


async def test_a_thumb_tells_how_many_others_in_its_prompt_have_not_agreed(store):
    first, second = await a_reply(store, "m1"), await a_reply(store, "m2")
    await store.cast(Ballot(first.id, "ann", "thumb", 1))
    await store.cast(Ballot(second.id, "bob", "thumb", -1))
    await store.answer_consent("bob", "yes")
    own, others = await store.thumbs()
    assert (own.reply_id, own.value, own.consent, own.silent_others) == (first.id, 1, "unasked", 0)
    assert (own.messages, others.messages) == (2, 0)
    assert (others.reply_id, others.consent, others.silent_others) == (second.id, "yes", 1)
    await store.answer_consent("ann", "yes")
    assert [one.silent_others for one in await store.thumbs()] == [0, 0]
    await store.cast(Ballot(second.id, "bob", "thumb", 0))
    assert [one.rater_hash for one in await store.thumbs()] == ["ann"]


async def test_a_pair_tells_who_in_either_prompt_has_not_agreed(store):
    first, second = await a_reply(store, "m1"), await a_reply(store, "m2")
    await store.cast(Ballot(first.id, "bob", "pair", -1, other_reply_id=second.id))
    (pair,) = await store.pairs()
    assert (pair.reply_id, pair.other_reply_id, pair.value) == (first.id, second.id, -1)
    assert (pair.persona, pair.conversation_id, pair.consent) == ("li_bai", first.conversation_id, "unasked")
    assert pair.silent_others == 1
    await store.answer_consent("ann", "yes")
    (pair,) = await store.pairs()
    assert pair.silent_others == 0
    await store.cast(Ballot(first.id, "bob", "pair", 0, other_reply_id=second.id))
    assert [one.value for one in await store.pairs()] == [0]
    assert await store.thumbs() == ()


async def test_a_reply_that_is_in_no_history_counts_everybody_of_its_conversation_as_in_its_prompt(store):
    first = await a_reply(store, "m1")
    (inbox_id,) = await store.receive([item("m2")])
    unsaid = await store.open_reply(
        NewReply(inbox_id, first.conversation_id, "li_bai", "telegram", "7", "en", "[]", "[]", "{}", seed=3)
    )
    await store.cast(Ballot(unsaid.id, "bob", "pair", 1, other_reply_id=unsaid.id))
    assert [one.silent_others for one in await store.pairs()] == [1]


async def test_a_rewrite_carries_its_text_until_it_is_withdrawn(store):
    reply = await a_reply(store)
    better = Ballot(reply.id, "mod", "rewrite", 1, role="moderator", text="better")
    await store.cast(better)
    (rewrite,) = await store.rewrites()
    assert (rewrite.reply_id, rewrite.text, rewrite.role) == (reply.id, "better", "moderator")
    assert (rewrite.silent_others, rewrite.consumed, rewrite.tries) == (1, False, 0)
    await store.cast(replace(better, value=0))
    assert await store.rewrites() == ()


async def test_no_guard_that_found_nothing_is_a_guard(store):
    for name, guard in (("m1", "[]"), ("m2", '["language"]'), ("m3", None)):
        (inbox_id,) = await store.receive([item(name)])
        live = await store.conversation("telegram", "7", "", "li_bai")
        reply = await store.open_reply(
            NewReply(inbox_id, live.id, "li_bai", "telegram", "7", "en", "[]", "[]", "{}", seed=3)
        )
        await store.complete_reply(reply.id, Result("hello", "stop", guard=guard), [])
        await store.cast(Ballot(reply.id, "ann", "thumb", 1))
    assert [one.guard for one in await store.thumbs()] == [None, '["language"]', None]


async def test_a_store_of_the_first_version_keeps_its_rows(tmp_path):
    path = tmp_path / "store.db"
    (_, first), *_ = migrations()
    async with aiosqlite.connect(path) as connection:
        await connection.executescript(f"{first}; PRAGMA user_version = 1;")
        await connection.execute_fetchall(
            "INSERT INTO run (id, persona, base_fingerprint, kind, state, attempt, seed, created_at,"
            f" updated_at) VALUES ('r', 'li_bai', '{FINGERPRINT}', 'corpus', 'promoted', 1, 7, 1.0, 2.0)"
        )
        await connection.execute_fetchall(
            "INSERT INTO adapter_version (digest, persona, version, base_fingerprint, path, run_id,"
            f" created_at) VALUES ('d', 'li_bai', 'r', '{FINGERPRINT}', '/r', 'r', 2.0)"
        )
        await connection.commit()
    for _ in range(2):
        async with open_store(path) as store:
            (run,) = await store.ledger.runs()
            assert (run.id, run.state, run.challenger, run.share) == ("r", "promoted", "d", None)
