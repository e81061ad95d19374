"""The week after a promotion, on a real store: what people get from then on against what they got before."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest

from bot.loop import Loop, Terms
from data.records import Adapter, Ballot
from data.run_records import Arm, NewRun
from data.sqlite import open_store
from tests.fakes.clock import FakeClock
from tests.fakes.learning import BASE, RATERS, exchange
from training.canary import GUARDS
from training.schedule import Cron, Plan

DAY = 86_400.0
SLUG = "li_bai"
NOBODY = SimpleNamespace(personas={})


@dataclass
class World:
    store: object
    clock: FakeClock
    run_id: str = ""
    votes: tuple = ()
    changes: list = field(default_factory=list)
    sentences: list = field(default_factory=list)

    @property
    def ledger(self):
        return self.store.ledger

    def loop(self, *, fingerprint=BASE):
        terms = Terms(Plan(Cron("0 4 * * mon")))
        return Loop(
            self.store, NOBODY, None, None, terms, fingerprint=fingerprint, clock=self.clock, news=self,
            changed=lambda: self.changes.append(True),
        )  # fmt: skip

    async def told(self, run, sentence):
        self.sentences.append((run.id, sentence))

    async def run(self):
        return await self.ledger.run(self.run_id)

    async def named(self):
        return {one.alias: one.version for one in await self.store.aliases(BASE) if one.persona == SLUG}

    async def chats(self, digest, many, *, arm=None, bad=0, flag="language", name="chat", **more):
        """So many replies, each in a chat of its own, the first of them flagged; their ids."""
        found = []
        for number in range(many):
            live = await self.store.conversation("web", f"{name} {number}", "", SLUG)
            guard = f'["{flag}"]' if number < bad else "[]"
            rater = RATERS[number % len(RATERS)]
            found.append(
                await exchange(
                    self.store, live, rater, name, adapter_digest=digest, arm=arm, guard=guard, **more
                )
            )
        return found

    async def thumbs(self, replies, *, downs, **more):
        for number, reply_id in enumerate(replies):
            value = -1 if number < downs else 1
            await self.store.cast(Ballot(reply_id, "mod", "thumb", value, role="moderator", **more))


async def opened(world, *, kind="incremental", name="v1", votes=()):
    new = NewRun(SLUG, BASE, kind, 7, state="snapshotted")
    run_id = await world.ledger.open_run(new, votes)
    run = await world.ledger.claim("worker", lease_s=60.0, run_id=run_id)
    made = Adapter(f"digest of {name}", SLUG, name, BASE, f"/{name}", run_id=run_id)
    assert await world.ledger.trained(run_id, "worker", run.attempt, made, "{}") == "evaluating"
    await world.ledger.judged(run_id, passed=True, decision="{}", reason="Fine.", needs_approval=False)
    return run_id


async def promoted(world, *, kind="incremental", heard=60, bad=1, votes=()):
    """A canary of two days in which the champion was as good as ever, then the promotion."""
    world.run_id = await opened(world, kind=kind, votes=votes)
    await world.ledger.start_canary(world.run_id, 10)
    world.clock.advance(DAY)
    replies = await world.chats("digest of v0", heard, arm="champion", bad=bad, name=f"before {kind}")
    world.clock.advance(DAY)
    assert await world.ledger.promote_run(world.run_id, "the gate")
    world.clock.advance(1)
    return replies


@pytest.fixture(name="world")
async def _world(tmp_path):
    clock = FakeClock()
    async with open_store(tmp_path / "store.db", clock=clock) as store:
        world = World(store, clock)
        await store.add_adapter(Adapter("digest of v0", SLUG, "v0", BASE, "/v0"), champion_if_none=True)
        await store.add_adapter(Adapter("digest of v-1", SLUG, "v-1", BASE, "/v-1"))
        await store.set_alias(SLUG, BASE, "previous", "digest of v-1")
        yield world


@pytest.mark.parametrize("flag", [limit.guard for limit in GUARDS[:5]])
async def test_a_champion_that_guards_flag_more_than_the_one_before_goes_back(world, flag):
    (learnt,) = await world.chats("digest of v0", 1, name="rated")
    await world.thumbs([learnt], downs=0)
    vote_id = (await world.store.live_vote(learnt, "mod", "thumb")).id
    await promoted(world, votes=[(vote_id, 1.0)])
    assert await world.named() == {"champion": "v1", "previous": "v0"}
    assert list(await world.ledger.consumed()) == [vote_id]
    await world.chats("digest of v1", 40, bad=20, flag=flag)
    world.clock.advance(6 * DAY)
    loop = world.loop()
    await loop.watch()
    run = await world.run()
    assert run.state == "rolled_back"
    assert run.reason.startswith("After the promotion 20 of the challenger's 40 replies (50.0%) were ")
    assert await world.named() == {"champion": "v0", "previous": "v-1"}
    assert await world.ledger.consumed() == {}
    assert world.sentences == [(run.id, run.reason)]
    assert len(world.changes) == 1
    (audit, *_) = await world.store.audits()
    assert (audit.actor, audit.act) == ("the gate", "roll_back")
    await loop.watch()
    assert len(world.sentences) == 1


async def test_a_champion_that_people_dislike_goes_back(world):
    before = await promoted(world, heard=80)
    await world.thumbs(before, downs=10)
    await world.thumbs(await world.chats("digest of v1", 80), downs=70)
    await world.loop().watch()
    run = await world.run()
    assert run.state == "rolled_back"
    assert "70 of the challenger's 80 votes (87.5%) were down, and 10 of the champion's 80" in run.reason


async def test_an_equal_champion_stays_however_often_one_looks(world):
    before = await promoted(world, heard=80, bad=2)
    await world.thumbs(before, downs=20)
    loop = world.loop()
    for day in range(6):
        replies = await world.chats("digest of v1", 40, bad=1, name=f"day {day}")
        await world.thumbs(replies, downs=10)
        await loop.watch()
        world.clock.advance(DAY)
    assert (await world.run()).state == "promoted"
    assert (world.sentences, world.changes) == ([], [])


@pytest.mark.parametrize(("seconds", "state"), [(7 * DAY - 2, "rolled_back"), (7 * DAY, "promoted")])
async def test_after_seven_days_nobody_looks_any_more(world, seconds, state):
    await promoted(world)
    await world.chats("digest of v1", 40, bad=20)
    world.clock.advance(seconds)
    await world.loop().watch()
    assert (await world.run()).state == state


async def test_a_version_that_is_champion_no_more_is_left_alone(world):
    await promoted(world)
    await world.chats("digest of v1", 40, bad=20)
    await world.store.promote(SLUG, BASE, "digest of v-1", actor="operator")
    await world.loop().watch()
    assert (await world.run()).state == "promoted"
    assert (await world.named())["champion"] == "v-1"


async def test_what_was_promoted_by_hand_without_a_canary_is_the_hands_affair(world):
    world.run_id = await opened(world)
    await world.store.promote(SLUG, BASE, "digest of v1", actor="operator")
    await world.chats("digest of v1", 60, bad=60)
    assert await world.ledger.after_promotion(world.run_id) == (Arm(), Arm())
    await world.loop().watch()
    assert (await world.run()).state == "promoted"


async def test_a_rebuild_is_not_taken_back_for_what_it_replaced_holds_forgotten_words(world):
    await promoted(world, kind="rebuild")
    await world.chats("digest of v1", 40, bad=20)
    await world.loop().watch()
    assert (await world.run()).state == "promoted"


async def test_another_base_watches_nobody_elses_champion(world):
    await promoted(world)
    await world.chats("digest of v1", 40, bad=20)
    await world.loop(fingerprint="0" * 64).watch()
    assert (await world.run()).state == "promoted"


async def test_a_rollback_ends_the_next_versions_canary_too(world):
    await promoted(world)
    learner = await opened(world, name="v2")
    await world.ledger.start_canary(learner, 10)
    await world.chats("digest of v1", 40, arm="champion", bad=20)
    await world.loop().watch()
    assert (await world.run()).state == "rolled_back"
    assert (await world.ledger.run(learner)).state == "superseded"
    assert (await world.named())["champion"] == "v0"


async def test_each_side_is_counted_in_its_own_time_and_voice(world):
    await world.chats("digest of v0", 2, name="before the canary")
    world.run_id = await opened(world)
    assert await world.ledger.after_promotion(world.run_id) == (Arm(), Arm())
    assert await world.ledger.after_promotion("nobody") == (Arm(), Arm())
    await world.ledger.start_canary(world.run_id, 10)
    world.clock.advance(1)
    first = await world.chats("digest of v0", 3, arm="champion", bad=1, name="a")
    await world.chats("digest of v1", 5, arm="challenger", bad=5, name="b")
    await world.chats("digest of v0", 7, name="in no arm")
    world.clock.advance(1)
    await world.ledger.promote_run(world.run_id, "the gate")
    # One that the old champion had begun, and what the new one says.
    await world.chats("digest of v0", 1, arm="champion", name="late")
    second = await world.chats("digest of v1", 4, bad=2, name="c")
    await world.thumbs(first, downs=1)
    await world.thumbs(second, downs=3)
    before, after = await world.ledger.after_promotion(world.run_id)
    assert before == Arm(3, ups=2, downs=1, flags={"language": 1})
    assert after == Arm(4, ups=1, downs=3, flags={"language": 2})


async def test_one_chat_and_one_person_in_it_do_not_take_a_champion_back(world):
    await promoted(world)
    live = await world.store.conversation("web", "one", "", SLUG)
    replies = [
        await exchange(world.store, live, "ann", f"m{n}", adapter_digest="digest of v1", guard='["language"]')
        for n in range(30)
    ]
    await world.thumbs(replies, downs=30)
    _, after = await world.ledger.after_promotion(world.run_id, most_flags=2)
    assert after == Arm(30, downs=1, flags={"language": 2})


async def test_what_moderators_do_at_the_review_desk_counts_on_neither_side(world):
    """Guards: another answer, which nobody heard, was a reply, and made the first one "asked for again"."""
    await promoted(world)
    replies = await world.chats("digest of v1", 2)
    await world.thumbs(replies, downs=2, source="review")
    live = await world.store.conversation("web", "chat 0", "", SLUG)
    voice = {"adapter_digest": "digest of v1", "parent_reply_id": replies[0]}
    await exchange(world.store, live, "mod", "review:x", **voice)
    assert (await world.ledger.after_promotion(world.run_id))[1] == Arm(2)
    await exchange(world.store, live, "ann", "again", **voice)
    assert (await world.ledger.after_promotion(world.run_id))[1] == Arm(3, flags={"regenerated": 1})


async def test_news_that_cannot_be_told_do_not_hold_a_rollback_up(world):
    await promoted(world)
    await world.chats("digest of v1", 40, bad=20)

    async def told(*_):
        raise OSError("no channel")

    world.told = told
    with contextlib.suppress(OSError):
        await world.loop().watch()
    assert (await world.named())["champion"] == "v0"
