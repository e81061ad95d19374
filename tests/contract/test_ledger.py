"""Training runs: every step and refusal, one transaction each, and every vote learnt once."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from dataclasses import replace
from typing import get_args

import pytest

from data.errors import VotesGone
from data.records import Adapter, Ballot, InboxItem, NewReply, Result, Said
from data.run_records import Arm, NewRun, WayBack
from data.run_states import LEGAL, LIVE, RunState
from data.sqlite import open_store
from tests.fakes.clock import FakeClock

BASE, OTHER_BASE = "f" * 64, "0" * 64
LEASE_S = 60.0
NEW = NewRun("li_bai", BASE, "incremental", seed=7)


@pytest.fixture(name="clock")
def _clock():
    return FakeClock()


@pytest.fixture(name="store")
async def _store(tmp_path, clock):
    async with open_store(tmp_path / "store.db", clock=clock) as store:
        await store.add_adapter(version("v0"), champion_if_none=True)
        yield store


@pytest.fixture(name="ledger")
def _ledger(store):
    return store.ledger


def version(name, *, persona="li_bai", base=BASE, run_id=None):
    return Adapter(f"digest of {name}", persona, name, base, f"/{name}", run_id=run_id)


async def a_reply(store, name, *, persona="li_bai", guard=None, **more):
    (inbox_id,) = await store.receive([InboxItem("web", "1", "", name, "ann", "message", "{}")])
    live = await store.conversation("web", "1", "", persona)
    new = NewReply(inbox_id, live.id, persona, "web", "1", "en", "[]", "[]", "{}", seed=1, **more)
    reply = await store.open_reply(new)
    await store.complete_reply(reply.id, Result("text", "stop", guard=guard), [Said("hi", "ann", "Ann")])
    return reply.id


async def a_vote(store, name, *, rater="ann", value=1, persona="li_bai"):
    """A new reply with one live thumb; the vote's id."""
    reply_id = await a_reply(store, name, persona=persona)
    await store.cast(Ballot(reply_id, rater, "thumb", value))
    return (await store.live_vote(reply_id, rater, "thumb")).id


async def thumb(store, vote_id):
    return next(one for one in await store.thumbs() if one.id == vote_id)


async def named(store, base=BASE):
    return {one.alias: one.version for one in await store.aliases(base) if one.persona == "li_bai"}


# How a run gets into a state, and what may be done to it there.
async def to_claimed(ledger, new=NEW, votes=()):
    return await ledger.open_run(new, votes)


async def to_snapshotted(ledger, *given):
    run_id = await to_claimed(ledger, *given)
    assert await ledger.snapshotted(run_id, "snapshot")
    return run_id


async def to_training(ledger, *given):
    run_id = await to_snapshotted(ledger, *given)
    assert (await ledger.claim("worker", lease_s=LEASE_S)).id == run_id
    return run_id


async def to_evaluating(ledger, *given):
    run_id = await to_training(ledger, *given)
    run = await ledger.run(run_id)
    made = version(run_id, base=run.base_fingerprint, run_id=run_id)
    assert await ledger.trained(run_id, "worker", run.attempt, made, "{}") == "evaluating"
    return run_id


async def to_ready(ledger, *given):
    run_id = await to_evaluating(ledger, *given)
    assert await step(ledger, "passed", run_id)
    return run_id


async def to_awaiting(ledger, *given):
    run_id = await to_evaluating(ledger, *given)
    assert await step(ledger, "to_be_approved", run_id)
    return run_id


async def to_canary(ledger, *given):
    run_id = await to_ready(ledger, *given)
    assert await ledger.start_canary(run_id, 10)
    return run_id


async def to_promoted(ledger, *given):
    run_id = await to_canary(ledger, *given)
    assert await ledger.promote_run(run_id, "loop")
    return run_id


def then(begin, *names):
    async def reach(ledger, *given):
        run_id = await begin(ledger, *given)
        for name in names:
            assert await step(ledger, name, run_id)
        return run_id

    return reach


REACH = {
    "claimed": to_claimed,
    "snapshotted": to_snapshotted,
    "training": to_training,
    "evaluating": to_evaluating,
    "evaluating, ready": to_ready,
    "awaiting_approval": to_awaiting,
    "awaiting_approval, ready": then(to_awaiting, "approve"),
    "canary": to_canary,
    "promoted": to_promoted,
    "rejected": then(to_evaluating, "rejected"),
    "rolled_back": then(to_promoted, "roll_back"),
    "failed": then(to_training, "fail"),
    "superseded": then(to_canary, "supersede"),
}


async def step(ledger, name, run_id):
    verdict = {"decision": f'{{"verdict": "{name}"}}', "reason": "Because.", "needs_approval": False}
    steps = {
        "snapshotted": lambda: ledger.snapshotted(run_id, "another snapshot"),
        "trained": lambda: ledger.trained(run_id, "worker", 1, version("other", run_id=run_id), None),
        "fail": lambda: ledger.fail(run_id, "worker", 1, "It ended."),
        "give_up": lambda: ledger.give_up(run_id, "It cannot go on."),
        "passed": lambda: ledger.judged(run_id, passed=True, **verdict),
        "to_be_approved": lambda: ledger.judged(run_id, passed=True, **verdict | {"needs_approval": True}),
        "rejected": lambda: ledger.judged(run_id, passed=False, **verdict),
        "approve": lambda: ledger.approve(run_id, "mod"),
        "veto": lambda: ledger.veto(run_id, "mod", "Too flowery."),
        "start_canary": lambda: ledger.start_canary(run_id, 20),
        "widen": lambda: ledger.widen(run_id, 50),
        "promote_run": lambda: ledger.promote_run(run_id, "loop"),
        "roll_back": lambda: ledger.roll_back(run_id, "loop", "A guard fell."),
        "supersede": lambda: ledger.supersede(run_id, "Another one came."),
    }
    return await (steps[name]() if name in steps else ledger.claim("worker", lease_s=LEASE_S))


ALIVE = {"give_up": "failed", "supersede": "superseded"}
JUDGED = {"passed": "evaluating", "to_be_approved": "awaiting_approval", "rejected": "rejected"}
MOVES = {
    "claimed": {"snapshotted": "snapshotted", **ALIVE},
    "snapshotted": {"claim": "training", **ALIVE},
    "training": {"trained": "evaluating", "fail": "failed", **ALIVE},
    "evaluating": {"veto": "rejected", **JUDGED, **ALIVE},
    "evaluating, ready": {
        "veto": "rejected", "start_canary": "canary", "to_be_approved": "awaiting_approval",
        "rejected": "rejected", "passed": "evaluating", **ALIVE,
    },
    "awaiting_approval": {"approve": "awaiting_approval", "veto": "rejected", **ALIVE},
    "awaiting_approval, ready": {"start_canary": "canary", "veto": "rejected", **ALIVE},
    "canary": {
        "widen": "canary", "promote_run": "promoted", "roll_back": "rolled_back", "veto": "rolled_back",
        **ALIVE,
    },
    "promoted": {"roll_back": "rolled_back", "veto": "rolled_back"},
    "rejected": {}, "rolled_back": {}, "failed": {}, "superseded": {},
}  # fmt: skip
STEPS = (
    "snapshotted", "claim", "trained", "fail", "give_up", *JUDGED, "approve", "veto", "start_canary", "widen",
    "promote_run", "roll_back", "supersede",
)  # fmt: skip


@pytest.mark.parametrize("state", REACH)
async def test_a_step_is_taken_where_it_is_legal_and_changes_nothing_where_it_is_not(tmp_path, clock, state):
    for name in STEPS:
        async with open_store(tmp_path / f"{name}.db", clock=clock) as store:
            await store.add_adapter(version("v0"), champion_if_none=True)
            ledger = store.ledger
            run_id = await REACH[state](ledger)
            assert (await ledger.run(run_id)).state == state.split(",")[0]
            before = await everything(store)
            clock.advance(1)
            answer = await step(ledger, name, run_id)
            run = await ledger.run(run_id)
            if name in MOVES[state]:
                assert answer, (state, name)
                assert run.state == MOVES[state][name], (state, name)
                assert run.state in LEGAL[state.split(",")[0]]
                assert (await named(store)).get("challenger") == (run_id if run.state == "canary" else None)
                assert len(await ledger.live_runs()) == (run.state in LIVE)
            else:
                assert await everything(store) == before, (state, name)


async def everything(store):
    return await store.ledger.runs(), await named(store), await store.audits(), await store.adapters(BASE)


@pytest.mark.parametrize("state", REACH)
async def test_a_step_done_twice_is_done_once(store, ledger, clock, state):
    for name in MOVES[state]:
        if name == "claim":
            continue
        run_id = await REACH[state](ledger)
        assert await step(ledger, name, run_id)
        before = await everything(store)
        clock.advance(1)
        again = await step(ledger, name, run_id)
        # Being judged is no end: while it may be judged anew, the later verdict is kept.
        if name != "passed":
            assert again, (state, name)
            assert await everything(store) == before, (state, name)
        await ledger.give_up(run_id, "The test is over.")
        await ledger.roll_back(run_id, "test", "The test is over.")


async def test_of_a_run_that_is_not_there_nothing_can_be_done(store, ledger):
    before = await everything(store)
    assert [bool(await step(ledger, name, "nobody")) for name in STEPS] == [False] * len(STEPS)
    assert await everything(store) == before
    assert await ledger.run("nobody") is None


async def test_the_states_are_those_of_the_table_its_index_and_its_view(store):
    rows = await store._read._connection.execute_fetchall("SELECT name, sql FROM sqlite_master")
    written = {name: set(re.findall(r"'(\w+)'", sql or "")) for name, sql in rows}
    assert set(LEGAL) == set(get_args(RunState)) <= written["run"]
    assert written["run_live"] == set(LIVE)
    assert set(LIVE) < written["vote_use"]
    for name in ("add_run", "live_runs"):
        listed = re.search(r"state IN \(([^)]*)\)", store._read._statements[name]).group(1)
        assert set(re.findall(r"'(\w+)'", listed)) == set(LIVE)
    assert set().union(*LEGAL.values()) == set(LEGAL) - {"claimed"}


# Who has a run.


async def test_one_run_of_a_persona_and_base_at_a_time(ledger):
    run_id = await ledger.open_run(NEW)
    assert await ledger.open_run(NEW) is None
    assert await ledger.open_run(replace(NEW, persona="harry_potter")) is not None
    assert await ledger.open_run(replace(NEW, base_fingerprint=OTHER_BASE)) is not None
    assert len(await ledger.live_runs()) == 3
    await ledger.give_up(run_id, "No disk.")
    assert await ledger.open_run(NEW) is not None
    assert len(await ledger.runs()) == 4


async def test_a_run_with_an_id_of_its_own_is_opened_once(ledger):
    new = replace(NEW, id="mine", state="snapshotted", snapshot_digest="s")
    assert [await ledger.open_run(new) for _ in range(2)] == ["mine", "mine"]
    (run,) = await ledger.runs()
    assert (run.id, run.state, run.snapshot_digest, run.attempt) == ("mine", "snapshotted", "s", 0)


async def test_of_many_workers_one_gets_the_run(ledger):
    await to_snapshotted(ledger)
    claims = await asyncio.gather(*(ledger.claim(f"w{number}", lease_s=LEASE_S) for number in range(12)))
    (won,) = [run for run in claims if run is not None]
    assert (won.state, won.attempt, won.owner) == ("training", 1, "w0")


async def test_the_oldest_run_is_claimed_first(ledger, clock):
    first = await to_snapshotted(ledger)
    clock.advance(1)
    second = await to_snapshotted(ledger, replace(NEW, persona="harry_potter"))
    assert [(await ledger.claim("w", lease_s=LEASE_S)).id for _ in range(2)] == [first, second]
    assert await ledger.claim("w", lease_s=LEASE_S) is None


async def test_a_renewed_lease_holds_and_one_that_ran_out_is_the_next_workers(ledger, clock):
    run_id = await to_training(ledger)
    for _ in range(5):
        clock.advance(LEASE_S - 1)
        assert await ledger.renew(run_id, "worker", 1, lease_s=LEASE_S)
        assert await ledger.claim("thief", lease_s=LEASE_S) is None
    clock.advance(LEASE_S)
    second = await ledger.claim("second", lease_s=LEASE_S)
    assert (second.id, second.attempt, second.snapshot_digest) == (run_id, 2, "snapshot")
    assert not await ledger.renew(run_id, "worker", 1, lease_s=LEASE_S)
    assert not await ledger.fail(run_id, "worker", 1, "late")
    assert await ledger.trained(run_id, "worker", 1, version("late"), None) is None
    assert not await ledger.renew(run_id, "second", 1, lease_s=LEASE_S)
    assert not await ledger.renew(run_id, "worker", 2, lease_s=LEASE_S)
    assert await ledger.trained(run_id, "second", 2, version("good", run_id=run_id), None) == "evaluating"


async def test_a_machine_that_slept_keeps_the_run_that_nobody_took(ledger, clock):
    run_id = await to_training(ledger)
    clock.advance(10 * LEASE_S)
    assert await ledger.renew(run_id, "worker", 1, lease_s=LEASE_S)
    assert await ledger.claim("thief", lease_s=LEASE_S) is None
    clock.advance(10 * LEASE_S)
    assert await ledger.trained(run_id, "worker", 1, version("slow"), None) == "evaluating"


async def test_a_run_whose_third_attempt_is_lost_fails_and_the_next_is_claimed(ledger, clock):
    run_id = await to_training(ledger)
    clock.advance(1)
    other = await to_snapshotted(ledger, replace(NEW, persona="harry_potter"))
    for attempt in (2, 3):
        clock.advance(LEASE_S)
        assert (await ledger.claim(f"w{attempt}", lease_s=LEASE_S)).attempt == attempt
    clock.advance(LEASE_S)
    assert (await ledger.claim("w4", lease_s=LEASE_S)).id == other
    run = await ledger.run(run_id)
    assert run.state == "failed"
    assert "3 attempts" in run.error
    assert await ledger.trained(run_id, "w3", 3, version("late"), None) is None


async def test_what_a_worker_finished_is_accepted_again_and_only_that(store, ledger):
    run_id = await to_training(ledger)
    made = version("made", run_id=run_id)
    for _ in range(2):
        assert await ledger.trained(run_id, "worker", 1, made, '{"loss": 1}') == "evaluating"
    run = await ledger.run(run_id)
    assert (run.challenger, run.report, run.lease_until) == (made.digest, '{"loss": 1}', None)
    assert await ledger.trained(run_id, "worker", 1, version("other"), None) is None
    assert not await ledger.fail(run_id, "worker", 1, "after all")
    assert {one.version for one in await store.adapters(BASE)} == {"v0", "made"}
    await step(ledger, "rejected", run_id)
    assert await ledger.trained(run_id, "worker", 1, made, None) == "rejected"


async def test_a_version_found_in_its_folder_first_belongs_to_its_run_then(store, ledger):
    run_id = await to_training(ledger)
    await store.add_adapter(version(run_id))
    made = replace(version(run_id, run_id=run_id), report="{}", snapshot_digest="snapshot")
    await ledger.trained(run_id, "worker", 1, made, "{}")
    (row,) = [one for one in await store.adapters(BASE) if one.version == run_id]
    assert (row.run_id, row.report, row.snapshot_digest) == (run_id, "{}", "snapshot")


async def test_a_corpus_run_is_done_when_it_is_trained(store, ledger):
    for base, expected in ((BASE, {"champion": "v0"}), (OTHER_BASE, {"champion": "corpus"})):
        run_id = await to_training(ledger, replace(NEW, kind="corpus", base_fingerprint=base))
        made = replace(version("corpus", base=base, run_id=run_id), digest=f"corpus {base}")
        assert await ledger.trained(run_id, "worker", 1, made, None) == "promoted"
        assert await named(store, base) == expected


# Which votes it learns from.


async def test_a_vote_is_learnt_once_and_free_again_when_the_run_is_taken_back(store, ledger):
    votes = [(await a_vote(store, f"m{number}"), 0.9) for number in range(3)]
    run_id = await to_canary(ledger, NEW, votes)
    assert await ledger.votes_of_run(run_id) == tuple(votes)
    assert await ledger.consumed() == {}
    assert not (await thumb(store, votes[0][0])).consumed
    await ledger.promote_run(run_id, "loop")
    assert await ledger.consumed() == {vote_id: run_id for vote_id, _ in votes}
    assert {one.consumed for one in await store.thumbs()} == {True}
    with pytest.raises(VotesGone):
        await ledger.open_run(NEW, votes[:1])
    new = await a_vote(store, "m9")
    assert not (await thumb(store, new)).consumed
    await ledger.roll_back(run_id, "loop", "Down-votes rose.")
    assert await ledger.consumed() == {}
    assert [(one.consumed, one.tries) for one in await store.thumbs()] == [(False, 1)] * 3 + [(False, 0)]
    assert await ledger.open_run(NEW, [*votes, (new, 1.0)]) is not None


async def test_tries_are_runs_that_were_rejected_or_rolled_back_and_no_others(store, ledger):
    vote_id = await a_vote(store, "m1")
    counted = []
    for state in ("rejected", "failed", "superseded", "rolled_back"):
        await REACH[state](ledger, NEW, [(vote_id, 1.0)])
        counted.append((await thumb(store, vote_id)).tries)
    assert counted == [1, 1, 1, 2]


async def test_the_same_judgement_in_a_later_row_is_learnt_already_and_another_one_is_not(store, ledger):
    reply_id = await a_reply(store, "m1")
    ballot = Ballot(reply_id, "ann", "thumb", -1)
    await store.cast(ballot)
    first = await store.live_vote(reply_id, "ann", "thumb")
    await to_promoted(ledger, NEW, [(first.id, 1.0)])
    await store.give_reason(reply_id, "ann", "boring", "So dull.")
    await store.answer_consent("ann", "yes")
    later = await store.live_vote(reply_id, "ann", "thumb")
    assert later.id != first.id
    assert (await thumb(store, later.id)).consumed
    with pytest.raises(VotesGone):
        await ledger.open_run(NEW, [(later.id, 1.0)])
    await store.cast(replace(ballot, value=1))
    turned = (await store.live_vote(reply_id, "ann", "thumb")).id
    assert not (await thumb(store, turned)).consumed
    await store.cast(ballot)
    assert (await thumb(store, (await store.live_vote(reply_id, "ann", "thumb")).id)).consumed
    await store.cast(replace(ballot, rater_hash="bob"))
    assert [one.consumed for one in await store.thumbs() if one.rater_hash == "bob"] == [False]


async def test_a_pair_is_learnt_by_what_it_compares_and_a_rewrite_by_its_text(store, ledger):
    one, two, three = [await a_reply(store, name) for name in ("m1", "m2", "m3")]
    pair = Ballot(one, "ann", "pair", 1, other_reply_id=two)
    better = Ballot(one, "mod", "rewrite", 1, role="moderator", text="better")
    for ballot in (pair, better):
        await store.cast(ballot)
    votes = [((await store.pairs())[0].id, 1.0), ((await store.rewrites())[0].id, 1.0)]
    await to_promoted(ledger, NEW, votes)
    assert [one.consumed for one in (*await store.pairs(), *await store.rewrites())] == [True, True]
    await store.cast(replace(pair, other_reply_id=three))
    await store.cast(replace(better, text="better still"))
    assert [one.consumed for one in (*await store.pairs(), *await store.rewrites())] == [False, False]


async def withdraw(store, vote):
    await store.cast(Ballot(vote.reply_id, "ann", "thumb", 0))


async def turn(store, vote):
    await store.cast(Ballot(vote.reply_id, "ann", "thumb", -1))


async def refuse(store, vote):
    await store.answer_consent("ann", "no")


@pytest.mark.parametrize("change", [withdraw, turn, refuse])
async def test_votes_that_changed_since_they_were_read_open_no_run(store, ledger, change):
    kept, lost = await a_vote(store, "m1", rater="bob"), await a_vote(store, "m2")
    await change(store, await thumb(store, lost))
    with pytest.raises(VotesGone):
        await ledger.open_run(NEW, [(kept, 1.0), (lost, 1.0)])
    assert await ledger.runs() == ()
    assert await ledger.open_run(NEW, [(kept, 1.0)]) is not None


async def test_votes_of_others_and_of_nobody_open_no_run(store, ledger):
    strange = await a_vote(store, "m1", persona="harry_potter")
    for vote_id in (strange, 999):
        with pytest.raises(VotesGone):
            await ledger.open_run(NEW, [(vote_id, 1.0)])


async def test_two_bases_do_not_learn_from_one_vote_at_a_time(store, ledger):
    votes = [(await a_vote(store, "m1"), 1.0)]
    run_id = await ledger.open_run(NEW, votes)
    with pytest.raises(VotesGone):
        await ledger.open_run(replace(NEW, base_fingerprint=OTHER_BASE), votes)
    await ledger.give_up(run_id, "No disk.")
    assert await ledger.open_run(replace(NEW, base_fingerprint=OTHER_BASE), votes) is not None


async def test_a_rebuild_reads_every_vote_and_consumes_none(store, ledger):
    votes = [(await a_vote(store, "m1"), 1.0)]
    await to_promoted(ledger, NEW, votes)
    fresh = (await a_vote(store, "m2"), 1.0)
    await to_promoted(ledger, replace(NEW, kind="rebuild"), [*votes, fresh])
    assert not (await thumb(store, fresh[0])).consumed
    assert list(await ledger.consumed()) == [votes[0][0]]
    assert await ledger.open_run(NEW, [fresh]) is not None


async def test_a_promotion_of_what_another_run_has_learnt_is_refused_whole(store, ledger):
    """Nothing opens two such runs; were there ever some, the vote would still be learnt once."""
    vote_id = await a_vote(store, "m1")
    await to_promoted(ledger, NEW, [(vote_id, 1.0)])
    second = await to_canary(ledger)
    row = {"run_id": second, "vote_id": vote_id, "weight": 1.0}
    await store._writer.submit(lambda session: session.run("add_run_vote", **row))
    before = await everything(store)
    with pytest.raises(VotesGone):
        await ledger.promote_run(second, "loop")
    assert await everything(store) == before


# What people hear.


async def test_a_canary_names_a_challenger_and_widens_but_never_narrows(store, ledger, clock):
    run_id = await to_canary(ledger)
    began = clock.now()
    assert await named(store) == {"champion": "v0", "challenger": run_id}
    clock.advance(100)
    assert not await ledger.widen(run_id, 5)
    assert await ledger.widen(run_id, 50)
    run = await ledger.run(run_id)
    assert (run.share, run.share_since, run.canary_since) == (50, began + 100, began)
    with pytest.raises(sqlite3.IntegrityError):
        await ledger.widen(run_id, 101)


async def test_a_promotion_and_its_way_back_are_each_one_move_of_all_aliases(store, ledger, clock):
    first = await to_promoted(ledger)
    assert await named(store) == {"champion": first, "previous": "v0"}
    assert (await ledger.run(first)).promoted_at == clock.now()
    second = await to_promoted(ledger)
    assert await named(store) == {"champion": second, "previous": first}
    assert not await ledger.roll_back(first, "loop", "too late")
    assert (await ledger.run(first)).state == "promoted"
    assert await ledger.roll_back(second, "loop", "Worse.")
    assert await named(store) == {"champion": first, "previous": "v0"}
    assert await ledger.roll_back(first, "loop", "Worse too.")
    assert await named(store) == {"champion": "v0"}
    acts = [(one.act, one.subject) for one in await store.audits()]
    assert acts == [("roll_back", "li_bai")] * 2 + [("promote", "li_bai")] * 2
    assert [first in (await store.audits())[at].detail for at in (0, 1, 3)] == [True, False, True]


async def test_a_persona_without_an_earlier_adapter_speaks_by_its_card_again(store, ledger):
    new = replace(NEW, base_fingerprint=OTHER_BASE)
    run_id = await to_promoted(ledger, new)
    assert await named(store, OTHER_BASE) == {"champion": run_id}
    assert await ledger.way_back("li_bai", OTHER_BASE) == WayBack(run_id, None, is_canary=False)
    assert await ledger.roll_back(run_id, "loop", "Worse.")
    assert await named(store, OTHER_BASE) == {}


async def test_going_back_supersedes_who_learns_from_what_is_gone_and_leaves_others_alone(store, ledger):
    votes = [(await a_vote(store, "m1"), 1.0)]
    bad = await to_promoted(ledger, NEW, votes)
    learner = await to_canary(ledger)
    stranger = await to_training(ledger, replace(NEW, persona="harry_potter"))
    await ledger.roll_back(bad, "loop", "Worse.")
    assert (await ledger.run(learner)).state == "superseded"
    assert (await ledger.run(stranger)).state == "training"
    assert await named(store) == {"champion": "v0"}
    rebuild = await to_training(ledger, replace(NEW, kind="rebuild"))
    assert (await ledger.run(rebuild)).state == "training"


async def test_a_persona_is_rolled_back_step_by_step_until_nothing_is_left_to_undo(store, ledger):
    first = await to_promoted(ledger)
    canary = await to_canary(ledger)
    back = ("li_bai", BASE, "operator", "As asked.")
    assert await ledger.roll_back_persona(*back) == WayBack(canary, version(first).digest, is_canary=True)
    assert await named(store) == {"champion": first, "previous": "v0"}
    assert await ledger.roll_back_persona(*back) == WayBack(first, version("v0").digest, is_canary=False)
    assert await named(store) == {"champion": "v0"}
    assert await ledger.roll_back_persona(*back) is None
    assert [run.state for run in await ledger.runs()] == ["rolled_back", "rolled_back"]
    assert await ledger.roll_back_persona("nobody", BASE, "operator", "As asked.") is None


async def test_a_champion_made_by_hand_gives_way_to_the_previous_one(store, ledger):
    await store.add_adapter(version("v1"))
    await store.promote("li_bai", BASE, version("v1").digest, actor="operator")
    expected = WayBack(None, version("v0").digest, is_canary=False)
    assert await ledger.way_back("li_bai", BASE) == expected
    assert await ledger.roll_back_persona("li_bai", BASE, "operator", "As asked.") == expected
    assert await named(store) == {"champion": "v0"}
    assert [one.act for one in await store.audits()] == ["roll_back", "promote"]


async def test_another_version_made_champion_by_hand_ends_a_canary(store, ledger):
    await store.add_adapter(version("v1"))
    run_id = await to_canary(ledger)
    await store.promote("li_bai", BASE, version("v1").digest, actor="operator")
    assert (await ledger.run(run_id)).state == "superseded"
    assert await named(store) == {"champion": "v1", "previous": "v0"}


@pytest.mark.parametrize("state", ["evaluating", "awaiting_approval", "canary", "rejected", "rolled_back"])
async def test_a_runs_version_made_champion_by_hand_consumes_its_votes(store, ledger, state):
    vote_id = await a_vote(store, "m1")
    run_id = await REACH[state](ledger, NEW, [(vote_id, 1.0)])
    await store.promote("li_bai", BASE, version(run_id).digest, actor="operator")
    assert (await ledger.run(run_id)).state == "promoted"
    assert await ledger.consumed() == {vote_id: run_id}
    assert await named(store) == {"champion": run_id, "previous": "v0"}
    assert await ledger.roll_back(run_id, "operator", "No.")
    assert await named(store) == {"champion": "v0"}


async def test_a_version_made_champion_by_hand_whose_votes_another_run_has_leaves_them_there(store, ledger):
    votes = [(await a_vote(store, "m1"), 1.0)]
    old = await REACH["rolled_back"](ledger, NEW, votes)
    new = await to_promoted(ledger, NEW, votes)
    await store.promote("li_bai", BASE, version(old).digest, actor="operator")
    assert await named(store) == {"champion": old, "previous": new}
    assert await ledger.consumed() == {votes[0][0]: new}
    assert (await ledger.run(old)).state == "rolled_back"


async def test_a_version_that_came_and_went_by_hand_never_stays_behind_as_previous(store, ledger):
    run_id = await to_promoted(ledger)
    for name in ("v0", run_id):
        await store.promote("li_bai", BASE, version(name).digest, actor="operator")
    assert await named(store) == {"champion": run_id, "previous": "v0"}
    await ledger.roll_back(run_id, "operator", "No.")
    assert await named(store) == {"champion": "v0"}


async def test_a_veto_wins_over_an_approval_a_canary_and_a_promotion(store, ledger):
    for reach in (REACH["awaiting_approval, ready"], to_canary, to_promoted):
        run_id = await reach(ledger)
        assert await ledger.veto(run_id, "mod", "It lectures.")
        run = await ledger.run(run_id)
        assert (run.state in {"rejected", "rolled_back"}, run.reason) == (True, "It lectures.")
        assert not await ledger.start_canary(run_id, 10)
        assert not await ledger.promote_run(run_id, "loop")
        assert await named(store) == {"champion": "v0"}
        latest, *_ = await store.audits()
        assert (latest.actor, latest.act, latest.detail) == ("mod", "veto", f"run {run_id}: It lectures.")


# What it looks like from outside.


async def test_both_arms_are_counted_from_the_canarys_beginning(store, ledger, clock):
    champion, challenger = {"arm": "champion", "adapter_digest": version("v0").digest}, {"arm": "challenger"}
    await a_reply(store, "before", **champion)
    clock.advance(1)
    run_id = await to_canary(ledger)
    challenger["adapter_digest"] = version(run_id).digest
    clock.advance(1)
    for number in range(3):
        await a_reply(store, f"a{number}", **champion)
    flagged = await a_reply(store, "b", **champion, guard='["language", "repetition"]')
    liked = await a_reply(store, "c", **challenger, guard='["language"]')
    fine = await a_reply(store, "d", **challenger, guard="[]")
    await a_reply(store, "other", persona="harry_potter", **champion)
    await a_reply(store, "fallen back", arm="champion", adapter_digest="digest of another")
    await a_reply(store, "no arm")
    (inbox_id,) = await store.receive([InboxItem("web", "1", "", "e", "ann", "message", "{}")])
    live = await store.conversation("web", "1", "", "li_bai")
    new = NewReply(inbox_id, live.id, "li_bai", "web", "1", "en", "[]", "[]", "{}", seed=1, **challenger)
    await store.fail_reply((await store.open_reply(new)).id, "engine away")
    await store.cast(Ballot(flagged, "mod", "thumb", -1, role="moderator"))
    for rater, value, answer in (("ann", 1, "yes"), ("bob", 1, "vote"), ("cat", -1, "no"), ("dan", -1, None)):
        await store.cast(Ballot(liked, rater, "thumb", value))
        if answer is not None:
            await store.answer_consent(rater, answer)
    await store.cast(Ballot(fine, "ann", "thumb", 1))
    await store.cast(Ballot(fine, "ann", "thumb", 0))
    await store.cast(Ballot(fine, "ann", "pair", -1, other_reply_id=liked))
    expected = {
        "champion": Arm(replies=4, flags={"language": 1, "repetition": 1}, downs=1),
        "challenger": Arm(replies=3, flags={"language": 1, "error": 1}, ups=2),
    }
    assert await ledger.arms(run_id) == expected
    await ledger.promote_run(run_id, "loop")
    assert await ledger.arms(run_id) == expected, "and what was counted stays when it is over"


async def test_replies_whose_first_words_came_late_are_slow(store, ledger):
    run_id = await to_canary(ledger)
    for number, first_text_s in enumerate((10.1, 0.2, None)):
        (inbox_id,) = await store.receive([InboxItem("web", "1", "", f"m{number}", "ann", "message", "{}")])
        live = await store.conversation("web", "1", "", "li_bai")
        arm = {"arm": "challenger", "adapter_digest": version(run_id).digest}
        new = NewReply(inbox_id, live.id, "li_bai", "web", "1", "en", "[]", "[]", "{}", seed=1, **arm)
        reply = await store.open_reply(new)
        await store.complete_reply(reply.id, Result("text", "stop", first_text_s=first_text_s), [])
    assert (await ledger.arms(run_id))["challenger"] == Arm(3, flags={"slow": 1})


async def test_one_conversation_and_one_person_in_it_do_not_fill_an_arm(store, ledger, clock):
    run_id = await to_canary(ledger)
    arm = {"arm": "challenger", "adapter_digest": version(run_id).digest}
    replies = [await a_reply(store, f"m{number}", **arm, guard='["language"]') for number in range(5)]
    for reply_id, value in zip(replies, (1, 1, 1, -1), strict=False):
        await store.cast(Ballot(reply_id, "mod", "thumb", value, role="moderator"))
    await a_reply(store, "again", **arm, parent_reply_id=replies[0])
    await store.close_conversation("web", "1", "", "li_bai")
    clock.advance(1)
    last = await a_reply(store, "elsewhere", **arm, guard='["language"]')
    await store.cast(Ballot(last, "mod", "thumb", 1, role="moderator"))
    arms = await ledger.arms(run_id, most_flags=2)
    assert arms["challenger"] == Arm(7, ups=1, downs=1, flags={"language": 3, "regenerated": 1})
    assert (await ledger.arms(run_id))["challenger"].flags["language"] == 6
    since = await ledger.arms(run_id, since=clock.now())
    assert since["challenger"] == Arm(1, ups=1, flags={"language": 1})


async def test_a_run_without_a_canary_has_empty_arms(ledger):
    run_id = await to_evaluating(ledger)
    assert (
        await ledger.arms(run_id) == await ledger.arms("nobody") == {"champion": Arm(), "challenger": Arm()}
    )


async def test_a_job_remembers_when_it_was_done(ledger):
    assert await ledger.job("train") is None
    for at in (5.0, 7.5):
        await ledger.mark_job("train", at)
        assert await ledger.job("train") == at
    assert await ledger.job("housekeeping") is None


async def test_a_wrong_fact_opens_a_ticket_with_the_vote_once_until_it_is_closed(store, ledger):
    reply_id = await a_reply(store, "m1")
    down = Ballot(reply_id, "ann", "thumb", -1)
    await store.cast(down)
    assert await ledger.open_tickets("li_bai") == ()
    for reason, words in (("wrong_fact", "He died in 762."), ("wrong_fact", "In 762!"), ("boring", None)):
        await store.give_reason(reply_id, "ann", reason, words)
    await store.give_reason(reply_id, "ann", "wrong_fact", None)
    (ticket,) = await ledger.open_tickets("li_bai")
    assert (ticket.reply_id, ticket.persona, ticket.text) == (reply_id, "li_bai", "He died in 762.")
    await store.cast(replace(down, rater_hash="bob", reason="wrong_fact"))
    assert [one.text for one in await ledger.open_tickets("li_bai")] == ["He died in 762.", None]
    assert await ledger.open_tickets("harry_potter") == ()
    assert await ledger.close_ticket(ticket.id)
    assert not await ledger.close_ticket(ticket.id)
    await store.answer_consent("ann", "yes")
    assert [one.text for one in await ledger.open_tickets("li_bai")] == [None]
    await store.give_reason(reply_id, "ann", "boring", None)
    await store.give_reason(reply_id, "ann", "wrong_fact", None)
    assert len(await ledger.open_tickets("li_bai")) == 2, "said anew after it was closed"


async def test_a_rewrite_with_the_same_word_for_a_reason_opens_no_ticket(store, ledger):
    reply_id = await a_reply(store, "m1")
    ballot = Ballot(reply_id, "mod", "rewrite", 1, role="moderator", reason="wrong_fact", text="762")
    await store.cast(ballot)
    assert await ledger.open_tickets("li_bai") == ()
