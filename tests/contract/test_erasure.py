"""What is left of a person who asked to be forgotten: in rows, in the store's files, in snapshots, runs."""

from __future__ import annotations

import itertools
import json
import random
import sqlite3
from contextlib import closing

import pytest

from bot.erase import finish, forget
from bot.next_run import votes_so_far
from data.errors import Forgotten, StoreUnavailable, VotesGone
from data.home import Home
from data.records import Adapter, Ballot, InboxItem, NewReply, Result, Said
from data.run_records import NewRun
from data.sqlite import open_store
from tests.fakes.clock import FakeClock

BASE = "f" * 64
PRIVATE = "chat-90210777123"
GROUP = "group-5"
# Marks every word of Ann's, and every word that was said to her.
SECRET = "sesame"
NUMBERS = itertools.count(1)


@pytest.fixture(name="clock")
def _clock():
    return FakeClock()


@pytest.fixture(name="home")
def _home(tmp_path):
    home = Home(tmp_path / "home")
    home.prepare()
    return home


@pytest.fixture(name="store")
async def _store(home, clock):
    async with open_store(home.store, clock=clock) as store:
        yield store


async def asked(store, user, text, *, chat=GROUP, is_direct=False):
    """One message in the inbox, begun."""
    payload = json.dumps({"user": user, "text": text, "is_direct": is_direct})
    item = InboxItem("telegram", chat, "", str(next(NUMBERS)), user, "message", payload)
    (inbox_id,) = await store.receive([item])
    await store.begin(inbox_id)
    return inbox_id


async def opened(store, inbox_id, text, *, chat=GROUP, live=None, **more):
    """The reply to a message, with everything said so far in its prompt."""
    live = live or await store.conversation("telegram", chat, "", "li_bai")
    history = [{"role": one.role, "content": one.text} for one in await store.history(live.id, most=99)]
    messages = json.dumps([*history, {"role": "user", "content": text}])
    new = NewReply(
        inbox_id, live.id, "li_bai", "telegram", chat, "en", messages, '["wine"]', "{}", seed=1,
        last_erasure=live.last_erasure, **more,
    )  # fmt: skip
    return await store.open_reply(new)


async def exchange(store, user, text, answer, *, chat=GROUP):
    """One message, its answer as it was sent, and the answer's row."""
    inbox_id = await asked(store, user, text, chat=chat)
    reply = await opened(store, inbox_id, text, chat=chat)
    await store.complete_reply(reply.id, Result(answer, "stop"), [Said(text, user, f"Miss {user}")])
    where = {"platform": "telegram", "chat": chat, "thread": "", "reply_id": reply.id}
    part = await store.sending(inbox_id, "reply", 0, **where, text=answer)
    await store.mark_outbox(part.id, "sent", text=answer, platform_message_id=f"shown {reply.id}")
    await store.settle(inbox_id, "done")
    return await store.reply(reply.id)


def files(home):
    return {path.name: path.read_bytes() for path in home.root.glob("store.db*")}


async def rows(home, sql):
    with closing(sqlite3.connect(f"{home.store.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        return connection.execute(sql).fetchall()


async def test_not_a_byte_of_a_forgotten_person_is_left_in_the_stores_files(store, home):
    for number in range(100):
        words = "x" * (7**number % 5 * 700)
        if number % 3:
            await exchange(store, "bob-hash", f"open {words}", f"open {words}")
            continue
        text, answer = f"{SECRET} asked {words}", f"{SECRET} told {words}"
        reply = await exchange(store, "ann-hash", text, answer, chat=(PRIVATE, GROUP)[number % 2])
        await store.cast(Ballot(reply.id, "ann-hash", "thumb", -1, reason="other", text=f"{SECRET} {words}"))
    await store.answer_consent("ann-hash", "yes")
    await store.set_setting("user", "ann-hash", "persona", "li_bai")
    before = b"".join(files(home).values())
    assert all(before.count(word) > 30 for word in (b"sesame asked", b"sesame told", PRIVATE.encode()))

    erased, _ = await forget(store, home, "ann-hash")
    assert min(erased.counts.values()) > 0
    after = files(home)
    assert after["store.db-wal"].count(b"sesame") == after["store.db"].count(b"sesame") == 0
    assert PRIVATE.encode() not in after["store.db"]
    assert b"Miss ann-hash" not in after["store.db"]
    assert after["store.db"].count(b"ann-hash") == 1, "in the row that says who was forgotten"
    assert after["store.db"].count(b"open ") > 100
    assert await rows(home, "PRAGMA foreign_key_check") == []
    assert await rows(home, "PRAGMA integrity_check") == [("ok",)]


async def test_copies_that_sqlite_left_behind_are_gone_too(store, home):
    """It overwrites what it deletes, but not where a cell lay before its page was split."""
    draw = random.Random(5)
    items = [
        InboxItem("telegram", f"{SECRET}{draw.random()}", "", str(draw.random()), "ann", "message", "{}")
        for _ in range(1500)
    ]
    await store.receive(items)
    await store.erasures.erase("ann")
    await store.erasures.purge()
    assert not any(b"sesame" in content for content in files(home).values())


async def test_in_a_shared_chat_others_keep_their_words_but_later_prompts_are_gone(store):
    early = await exchange(store, "bob", "hello", "welcome")
    await exchange(store, "ann", f"I live in {SECRET}", f"{SECRET} is far")
    late = await exchange(store, "bob", "and I?", "you too")
    aside = await exchange(store, "bob", "elsewhere", "fine", chat="group-6")
    erased = await store.erasures.erase("ann")
    history = await store.history(early.conversation_id, most=99)
    assert [one.text for one in history] == ["hello", "welcome", "and I?", "you too"]
    assert [await store.reply(one.id) for one in (early, aside)] == [early, aside]
    kept = await store.reply(late.id)
    assert (kept.text, kept.messages, kept.error) == ("you too", "[]", "forgotten")
    assert erased.counts == {
        "messages": 1, "replies": 1, "prompts": 1, "votes": 0, "consents": 0, "settings": 0, "events": 1,
    }  # fmt: skip
    assert (await store.conversation("telegram", GROUP, "", "li_bai")).id == early.conversation_id


async def test_a_reply_without_its_prompt_never_becomes_a_row_again(store):
    await exchange(store, "ann", SECRET, SECRET)
    late = await exchange(store, "bob", "and I?", "you too")
    for rater, role in (("bob", "user"), ("moderator", "moderator")):
        await store.answer_consent(rater, "yes")
        await store.cast(Ballot(late.id, rater, "thumb", 1, role))
    await store.cast(Ballot(late.id, "moderator", "rewrite", 1, "moderator", text="you as well"))
    await store.answer_consent("ann", "yes")
    votes = [one.id for one in await store.thumbs()]
    assert len(votes) == 2
    assert len((await votes_so_far(store, "li_bai")).thumbs) == 1
    await store.erasures.erase("ann")
    assert (await store.thumbs(), await store.rewrites()) == ((), ())
    assert not (await votes_so_far(store, "li_bai")).thumbs
    with pytest.raises(VotesGone):
        await store.ledger.open_run(NewRun("li_bai", BASE, "incremental", 1), [(votes[0], 1.0)])
    assert (await store.cast(Ballot(late.id, "bob", "thumb", -1))).change == "changed", "it is Bob's to rate"


async def test_votes_stay_as_closed_rows_of_nobody_and_the_next_vote_asks_again(store):
    to_bob = await exchange(store, "bob", "hello", "welcome")
    to_ann = await exchange(store, "ann", SECRET, SECRET)
    assert (await store.cast(Ballot(to_bob.id, "ann", "thumb", 1))).ask_consent
    await store.give_reason(to_bob.id, "ann", "wrong_fact", SECRET)
    await store.answer_consent("ann", "yes")
    await store.cast(Ballot(to_ann.id, "bob", "thumb", -1))
    await store.cast(Ballot(to_ann.id, "moderator", "rewrite", 1, "moderator", text=f"better {SECRET}"))
    mine = [one.id for one in await store.votes(to_bob.id)]
    erased = await store.erasures.erase("ann")
    left = await store.votes(to_bob.id)
    assert [one.id for one in left] == mine
    assert {(one.rater_hash, one.value, one.reason, one.text, one.consent) for one in left} == {
        ("forgotten", 0, None, None, "no")
    }
    assert all(one.closed_at for one in left)
    bobs, rewrite = await store.votes(to_ann.id)
    assert (bobs.rater_hash, bobs.value, bobs.closed_at) == ("bob", -1, None)
    assert (rewrite.text, rewrite.closed_at is None) == (None, False)
    assert set(erased.vote_ids) == {*mine, rewrite.id}
    assert await store.ledger.open_tickets("li_bai") == ()
    assert await store.consent("ann") is None
    assert (await store.cast(Ballot(to_ann.id, "bob", "thumb", 1))).change == "no_reply", (
        "nothing is left to rate"
    )
    again = await store.cast(Ballot(to_bob.id, "ann", "thumb", 1))
    assert (again.change, again.ask_consent) == ("new", True)


async def test_another_answer_to_the_same_words_goes_with_the_first(store):
    first = await exchange(store, "ann", SECRET, SECRET)
    inbox_id = await asked(store, "moderator", "another", chat="review")
    other = await opened(store, inbox_id, SECRET, parent_reply_id=first.id)
    await store.complete_reply(other.id, Result(f"another {SECRET}", "stop"), [])
    erased = await store.erasures.erase("ann")
    assert set(erased.reply_ids) == {first.id, other.id}
    assert {(await store.reply(reply_id)).text for reply_id in erased.reply_ids} == {None}


async def test_an_answer_that_is_being_written_leaves_nothing(store, home):
    inbox_id = await asked(store, "ann", f"{SECRET} one")
    reply = await opened(store, inbox_id, f"{SECRET} one")
    where = {"platform": "telegram", "chat": GROUP, "thread": "", "reply_id": reply.id}
    part = await store.sending(inbox_id, "reply", 0, **where, text=f"{SECRET} begins")
    waiting = await asked(store, "ann", f"{SECRET} two")
    await forget(store, home, "ann")
    await store.mark_outbox(part.id, "sent", text=f"{SECRET} begins and ends", platform_message_id="9")
    await store.sending(inbox_id, "reply", 1, **where, text=f"{SECRET} goes on")
    await store.complete_reply(reply.id, Result(f"{SECRET} all", "stop"), [Said(SECRET, "ann", "Ann")])
    with pytest.raises(Forgotten):
        await opened(store, inbox_id, f"{SECRET} one")
    assert [await store.begin(one) for one in (inbox_id, waiting)] == [0, 0]
    assert await store.open_items("telegram", after=0, most=9) == ()
    assert not any(b"sesame" in content for content in files(home).values())


async def test_a_prompt_composed_before_and_stored_after_is_stored_without_its_words(store, home):
    await exchange(store, "ann", SECRET, SECRET)
    live = await store.conversation("telegram", GROUP, "", "li_bai")
    history = await store.history(live.id, most=9)
    inbox_id = await asked(store, "bob", "and I?")
    await forget(store, home, "ann")
    messages = json.dumps([one.text for one in history])
    new = NewReply(
        inbox_id,
        live.id,
        "li_bai",
        "telegram",
        GROUP,
        "en",
        messages,
        "[]",
        "{}",
        1,
        last_erasure=live.last_erasure,
    )
    reply = await store.open_reply(new)
    await store.complete_reply(reply.id, Result("you too", "stop"), [Said("and I?", "bob", "Bob")])
    kept = await store.reply(reply.id)
    assert (kept.state, kept.text, kept.messages, kept.error) == ("complete", "you too", "[]", "forgotten")
    assert not any(b"sesame" in content for content in files(home).values())
    after = await exchange(store, "bob", "and now?", "as ever")
    assert (after.error, json.loads(after.messages)[-1]["content"]) == (None, "and now?")


async def test_a_private_chat_is_left_without_its_number_and_a_group_keeps_its_own(store, home):
    await exchange(store, "ann", SECRET, SECRET, chat=PRIVATE)
    await exchange(store, "ann", SECRET, SECRET)
    await exchange(store, "bob", "hello", "welcome")
    await store.set_setting("user", "ann", "persona", "li_bai")
    await store.set_setting("thread", f"telegram:{PRIVATE}:3", "persona", "li_bai")
    await store.set_setting("channel", f"telegram:{GROUP}", "persona", "li_bai")
    erased = await store.erasures.erase("ann")
    assert erased.counts["settings"] == 2
    assert await store.setting("channel", f"telegram:{GROUP}", "persona") == "li_bai"
    for table in ("inbox", "conversation", "reply", "outbox"):
        assert await rows(home, f"SELECT DISTINCT chat FROM {table} ORDER BY chat") == [
            ("forgotten",),
            (GROUP,),
        ]
    (number,) = await rows(home, f"SELECT message_id FROM inbox WHERE chat = '{GROUP}' ORDER BY id LIMIT 1")
    item = InboxItem("telegram", GROUP, "", *number, "ann", "message", "{}")
    assert await store.receive([item]) == (), "what is delivered again is known still"
    assert await store.conversation("telegram", PRIVATE, "", "li_bai")


async def test_where_nothing_is_kept_nothing_is_done(store, home):
    await exchange(store, "bob", "hello", "welcome")
    (inbox_id,) = await store.receive(
        [InboxItem("telegram", "7", "", "p", "ann", "press", '{"user": "ann"}')]
    )
    erased, swept = await forget(store, home, "ann")
    assert (erased.id, dict(erased.counts), swept.snapshots) == (0, {}, ())
    assert await store.erasures.latest() == 0
    assert await store.begin(inbox_id) == 0
    assert await rows(home, "SELECT payload FROM inbox WHERE kind = 'press'") == [("{}",)]


# --- snapshots and runs


def snapshot(home, name, **lines):
    folder = home.snapshots / name
    folder.mkdir()
    for file in ("thumbs", "pairs", "rewrites", "held_out"):
        text = "".join(json.dumps(line) + "\n" for line in lines.get(file, ()))
        (folder / f"{file}.jsonl").write_text(text, encoding="utf-8")
    return folder


async def trained(store, home, vote_ids, *, version, persona="li_bai", **lines):
    """A run over votes whose adapter went live."""
    run_id = await store.ledger.open_run(
        NewRun(persona, BASE, "rebuild", 1, state="snapshotted"), [(vote, 1.0) for vote in vote_ids]
    )
    snapshot(home, run_id, **lines)
    claimed = await store.ledger.claim("me", lease_s=60)
    adapter = Adapter(version * 64, persona, version, BASE, f"/{version}", run_id=run_id)
    await store.ledger.trained(run_id, "me", claimed.attempt, adapter, None)
    await store.ledger.judged(run_id, passed=True, decision="{}", reason="fine", needs_approval=False)
    await store.promote(persona, BASE, adapter.digest, actor="operator")
    assert (await store.ledger.run(run_id)).state == "promoted"
    return run_id


async def test_snapshots_with_the_persons_rows_go_and_their_personas_are_due_for_a_rebuild(store, home):
    to_ann, to_bob = (
        await exchange(store, "ann", "a", "b"),
        await exchange(store, "bob", "c", "d", chat="group-6"),
    )
    await store.cast(Ballot(to_bob.id, "ann", "thumb", 1))
    (vote,) = await store.votes(to_bob.id)
    live = await trained(
        store, home, [vote.id], version="1", thumbs=[{"reply_id": to_bob.id, "text": SECRET}]
    )
    other = await trained(
        store, home, [], version="2", persona="harry_potter", thumbs=[{"reply_id": "nobody's"}]
    )
    waiting = await store.ledger.open_run(NewRun("li_bai", BASE, "rebuild", 1, state="snapshotted"))
    snapshot(home, waiting, held_out=[{"reply_id": "x"}, {"reply_id": to_ann.id, "text": SECRET}])
    snapshot(home, ".part-begun", pairs=[{"reply_id": "x", "other_reply_id": to_ann.id, "text": SECRET}])
    snapshot(home, "by-vote", thumbs=[{"reply_id": "x", "vote_ids": [vote.id], "text": SECRET}])
    (home.runs / live).mkdir()
    (home.adapters / "li_bai" / f".work-{waiting}" / "deep").mkdir(parents=True)
    (home.adapters / "li_bai" / f".work-{other}").mkdir()

    _, swept = await forget(store, home, "ann")
    assert {path.name for path in home.snapshots.iterdir()} == {other}
    assert set(swept.snapshots) == {f"snapshots/{name}" for name in (live, waiting, ".part-begun", "by-vote")}
    assert set(swept.work) == {f"runs/{live}", f"adapters/li_bai/.work-{waiting}"}
    assert (home.adapters / "li_bai" / f".work-{other}").is_dir()
    states = {run.id: run.state for run in await store.ledger.runs()}
    assert states == {live: "promoted", other: "promoted", waiting: "failed"}
    assert [(due.persona, due.base_fingerprint) for due in await store.erasures.rebuilds_due()] == [
        ("li_bai", BASE)
    ]
    (champion,) = [
        one for one in await store.aliases(BASE) if one.persona == "li_bai" and one.alias == "champion"
    ]
    assert champion.version == "1", "it speaks until the rebuild"


async def test_a_snapshot_with_a_torn_line_cannot_be_shown_to_be_clean_and_goes(store, home):
    await exchange(store, "ann", "a", "b")
    folder = snapshot(home, "torn", thumbs=[{"reply_id": "nobody's"}])
    (folder / "pairs.jsonl").write_text('{"reply_id": "no', encoding="utf-8")
    await forget(store, home, "ann")
    assert not folder.exists()


async def test_an_erasure_that_was_cut_short_is_ended_at_the_next_start(home, monkeypatch):
    async with open_store(home.store) as store:
        reply = await exchange(store, "ann", f"{SECRET} one", f"{SECRET} two")
        folder = snapshot(home, "old", thumbs=[{"reply_id": reply.id}])

        async def full(_):
            raise StoreUnavailable

        with monkeypatch.context() as patched:
            patched.setattr("data.writer.Writer.purge", full)
            await forget(store, home, "ann")
        assert not folder.exists()
        (left,) = await store.erasures.unswept()
        assert left.reply_ids == (reply.id,)
        folder.mkdir()
        (folder / "thumbs.jsonl").write_text(json.dumps({"reply_id": reply.id}), encoding="utf-8")
    async with open_store(home.store) as store:
        await finish(store, home)
        assert not folder.exists()
        assert await store.erasures.unswept() == ()
        assert not any(b"sesame" in content for content in files(home).values())


async def test_a_rebuild_clears_only_what_was_due_when_its_rows_were_read(store, clock):
    erasures = store.erasures
    await erasures.mark_rebuild_due("li_bai", BASE)
    read_at = clock.now()
    clock.advance(10)
    await erasures.mark_rebuild_due("li_bai", BASE)
    await erasures.clear_rebuild_due("li_bai", BASE, until=read_at)
    (due,) = await erasures.rebuilds_due()
    assert (due.persona, due.since) == ("li_bai", read_at + 10)
    await erasures.clear_rebuild_due("harry_potter", BASE)
    await erasures.clear_rebuild_due("li_bai", BASE, until=clock.now())
    assert await erasures.rebuilds_due() == ()


async def test_what_is_kept_of_a_person_is_told_without_others_words(store):
    await exchange(store, "bob", "bobs words", "welcome")
    to_ann = await exchange(store, "ann", f"{SECRET} one", f"{SECRET} two")
    await store.cast(Ballot(to_ann.id, "ann", "thumb", 1, reason="other", text="good"))
    await store.answer_consent("ann", "vote")
    await store.set_setting("user", "ann", "persona", "li_bai")
    kept = await store.erasures.kept("ann")
    assert {sort: len(found) for sort, found in kept.items()} == {
        "messages": 1, "replies": 1, "votes": 2, "consents": 2, "settings": 1, "events": 1,
    }  # fmt: skip
    assert (kept["messages"][0]["text"], kept["replies"][0]["text"]) == (f"{SECRET} one", f"{SECRET} two")
    assert [one["answer"] for one in kept["consents"]] == ["asked", "vote"]
    assert "bobs words" not in json.dumps(kept)
    await store.erasures.erase("ann")
    assert set(map(len, (await store.erasures.kept("ann")).values())) == {0}
