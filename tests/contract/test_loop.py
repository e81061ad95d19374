"""The loop from votes to what people hear, on a real store: each tick does what a run's state asks."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import shutil
import threading
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import httpx
import pytest
from fastapi import FastAPI
from structlog.testing import capture_logs

import bot.loop
import bot.runs
import bot.vote_runs
from bot.erase import forget
from bot.loop import Loop, Terms
from bot.runs import Runs, worker_routes
from bot.vote_runs import VoteRuns
from data.errors import StoreBusy
from data.home import Home
from data.manifest import read_manifest
from data.records import Adapter, Ballot
from data.snapshot import read_snapshot
from data.sqlite import open_store
from engine.protocol import model_name
from personas.loader import load_cast
from tests.fakes.adapter import adapter
from tests.fakes.clock import FakeClock
from tests.fakes.learning import (
    ADA,
    BASE,
    RATERS,
    StandIn,
    a_cast,
    better,
    equal,
    exchange,
    heard,
    publish,
    settled,
    vote,
    worse,
)
from tests.waiting import until
from training import canary, gate
from training.eligibility import is_held_out
from training.measures import MEASURES
from training.schedule import Cron, Plan, QuietHours

FRIDAY = datetime(2027, 1, 15, 8, tzinfo=UTC).timestamp()
MONDAY = datetime(2027, 1, 18, 4, tzinfo=UTC).timestamp()
HOUR, DAY = 3600.0, 86_400.0
WEEK = 7 * DAY
PLAN = Plan(Cron("0 4 * * mon"))
CANARY = canary.Rules(shares=(10, 50), hours=24.0, replies=20)
TERMS = Terms(PLAN, canary=CANARY)
JUDGED = {}


@pytest.fixture(name="voted", scope="session")
def _voted(tmp_path_factory):
    """A home where people have voted enough on what Li Bai said, and on nothing of Harry Potter's."""
    home = Home(tmp_path_factory.mktemp("voted"))
    home.prepare()

    async def fill():
        async with open_store(home.store, clock=FakeClock(FRIDAY)) as store:
            await settled(store, home)

    asyncio.run(fill())
    return home


@dataclass
class Heard:
    """News as they were told."""

    verdicts: list = field(default_factory=list)
    sentences: list = field(default_factory=list)

    async def judged(self, run, verdict, measures):
        self.verdicts.append((run.id, verdict, measures))

    async def told(self, run, sentence):
        self.sentences.append((run.id, sentence))


@dataclass
class World:
    home: Home
    store: object
    clock: FakeClock
    cast: object
    runs: Runs
    opening: VoteRuns
    news: Heard
    changes: list
    refused: dict

    def loop(self, terms=TERMS):
        return Loop(
            self.store,
            self.cast,
            self.runs,
            self.opening,
            terms,
            fingerprint=BASE,
            clock=self.clock,
            news=self.news,
            changed=lambda: self.changes.append(True),
            refusal=self.refused.get,
        )

    async def run(self, which=-1):
        return (await self.store.ledger.runs())[which]

    async def named(self, persona="li_bai"):
        rows = await self.store.aliases(BASE)
        return {one.alias: one.version for one in rows if one.persona == persona}

    async def snapshot(self, run_id):
        return read_snapshot(self.home.snapshots / run_id)

    async def free(self):
        """Thumbs that no version has learnt."""
        return [one.id for one in await self.store.thumbs() if not one.consumed]


@contextlib.asynccontextmanager
async def world_in(home, root, *, cast=None):
    clock = FakeClock(FRIDAY)
    if cast is None:
        cast = load_cast([a_cast(root / "cast")])
    sets = root / "sets"
    sets.mkdir(exist_ok=True)
    (sets / "general.jsonl").write_text('{"messages": []}\n', encoding="utf-8")
    async with open_store(home.store, clock=clock) as store:
        runs = Runs(store, home, sets=sets, base="starter", base_folder=root / "base", fingerprint=BASE)
        opening = VoteRuns(
            store, home, sets=sets, base="starter", fingerprint=BASE, recipe="starter", clock=clock
        )
        yield World(home, store, clock, cast, runs, opening, Heard(), [], {})


@pytest.fixture(name="world")
async def _world(voted, tmp_path):
    root = tmp_path / "home"
    shutil.copytree(voted.root, root)
    async with world_in(Home(root), tmp_path) as world:
        # Adapters are found where the copy has them.
        for one in await world.store.adapters(BASE):
            folder = world.home.adapters / one.persona / one.version
            await world.store.add_adapter(replace(one, path=str(folder)))
        yield world


@pytest.fixture(autouse=True, name="judge_once")
def _judge_once(monkeypatch):
    """The bootstrap takes a second; the same measures are judged once by the same rules."""

    def weighed(path, rules, plain=bot.loop._weighed):
        key = hashlib.sha256(path.read_bytes() + repr(rules).encode()).digest() if path.is_file() else None
        if key is None or key not in JUDGED:
            found = plain(path, rules)
            JUDGED[key] = found
        return JUDGED[key]

    monkeypatch.setattr(bot.loop, "_weighed", weighed)


@pytest.fixture(name="trainer")
def _trainer(monkeypatch):
    stand_in = StandIn()
    monkeypatch.setattr(bot.runs, "train", stand_in)
    return stand_in


async def tick(loop):
    """One tick of everything, as the timetable would have it in the end."""
    await loop.open_due()
    await loop.train()
    await loop.judge()
    await loop.canaries()


async def to_monday(world, loop):
    """The loop has seen the schedule before; now its time has come."""
    await loop.open_due()
    world.clock.advance(MONDAY - world.clock.now())


async def opened(world, loop):
    await to_monday(world, loop)
    await loop.open_due()
    return await world.run()


async def in_canary(world, loop):
    run = await opened(world, loop)
    await loop.train()
    await loop.judge()
    await loop.canaries()
    run = await world.run()
    assert run.state == "canary", run
    return run


async def promoted(world, loop):
    run = await in_canary(world, loop)
    for name in ("ten", "fifty"):
        world.clock.advance(1)
        await heard(world.store, run.id, champion=30, challenger=25, name=name)
        world.clock.advance(DAY)
        await loop.canaries()
    run = await world.run()
    assert run.state == "promoted", run
    return run


# --- when a run opens


async def test_nothing_opens_before_its_time_and_then_for_whom_there_are_votes(world):
    loop = world.loop()
    for _ in range(2):
        await loop.open_due()
        assert await world.store.ledger.runs() == ()
        assert loop.waits == dict.fromkeys(("li_bai", "harry_potter"), "waits for 2027-01-18 04:00 (UTC)")
    world.clock.advance(MONDAY - FRIDAY - 1)
    await loop.open_due()
    assert await world.store.ledger.runs() == ()
    world.clock.advance(1)
    await loop.open_due()
    (run,) = await world.store.ledger.runs()
    assert (run.persona, run.kind, run.state, run.reference_version) == (
        "li_bai", "incremental", "snapshotted", "v0",
    )  # fmt: skip
    assert loop.waits == {
        "harry_potter": "waits for 50 more usable replies, 15 more good ones among them, 15 more bad ones "
        "among them, 5 more raters, 40 more replies kept for measuring"
    }
    await loop.open_due()
    assert len(await world.store.ledger.runs()) == 1
    assert loop.waits["li_bai"] == "waits for the end of the run before it (snapshotted)"


async def test_a_loop_that_never_saw_its_schedule_waits_for_the_next_time_of_it(world):
    world.clock.advance(MONDAY + HOUR - FRIDAY)
    loop = world.loop()
    await loop.open_due()
    assert await world.store.ledger.runs() == ()
    assert loop.waits["li_bai"] == "waits for 2027-01-25 04:00 (UTC)"


async def test_weeks_that_were_missed_are_caught_up_once(world):
    await world.loop().open_due()
    world.clock.advance(5 * WEEK)
    loop = world.loop()
    await loop.open_due()
    run = await world.run()
    await world.store.ledger.give_up(run.id, "The test goes on.")
    await loop.open_due()
    assert len(await world.store.ledger.runs()) == 1
    assert loop.waits["li_bai"] == "waits for 2027-02-22 04:00 (UTC)"
    world.clock.advance(-3 * WEEK)
    await loop.open_due()
    assert len(await world.store.ledger.runs()) == 1


async def test_quiet_hours_busy_people_and_little_memory_put_a_run_off(world, monkeypatch):
    quiet = replace(TERMS, plan=replace(PLAN, quiet=QuietHours("03:30-05:00")))
    loop = world.loop(quiet)
    assert (await opened_or_none(world, loop)) is None
    assert loop.waits["li_bai"] == "waits for the end of the quiet hours, 03:30-05:00 (UTC)"
    world.clock.advance(HOUR)
    live = await world.store.conversation("web", "busy", "", "harry_potter")
    for number in range(21):
        await exchange(world.store, live, ADA, f"busy {number}")
    await loop.open_due()
    assert loop.waits["li_bai"] == ("waits for a calmer time: 21 replies in ten minutes are more than 20")
    world.clock.advance(0.5 * HOUR)
    monkeypatch.setattr(bot.loop, "free_bytes", lambda: 2**30)
    needy = replace(quiet, needed_bytes=3 * 2**30)
    await (loop := world.loop(needy)).open_due()
    assert loop.waits["li_bai"] == "waits for 3.0 GiB of free memory, of which 1.0 are there"
    assert await world.store.ledger.runs() == ()
    await (loop := world.loop(replace(needy, policy="external"))).open_due()
    assert (await world.run()).state == "snapshotted", "where another machine trains, its memory counts"


async def opened_or_none(world, loop):
    await to_monday(world, loop)
    await loop.open_due()
    runs = await world.store.ledger.runs()
    return runs[-1] if runs else None


async def test_the_free_memory_is_a_size():
    assert 2**20 < bot.loop.free_bytes() < 2**50


async def test_two_rejections_double_the_interval_whatever_failed_between_them(world, trainer):
    loop = world.loop()
    await to_monday(world, loop)
    trainer.made = worse()
    await tick(loop)
    world.clock.advance(WEEK)
    trainer.fails = "no memory"
    await tick(loop)
    world.clock.advance(WEEK)
    trainer.fails = None
    await tick(loop)
    assert [run.state for run in await world.store.ledger.runs()] == ["rejected", "failed", "rejected"]
    await vote(world.store, "li_bai", name="new")
    world.clock.advance(WEEK)
    await tick(loop)
    assert len(await world.store.ledger.runs()) == 3
    assert loop.waits["li_bai"] == "waits for 2027-02-15 04:00 (UTC), twice the interval after two rejections"
    world.clock.advance(WEEK)
    trainer.made = better()
    await tick(loop)
    run = await world.run()
    assert run.state == "canary"
    learnt = {vote_id for vote_id, _ in await world.store.ledger.votes_of_run(run.id)}
    tired = {one.id for one in await world.store.thumbs() if one.tries == 2}
    assert tired
    assert not learnt & tired, "people look at them before they train again"


async def test_a_live_run_of_another_base_stands_in_nobody_s_way(world):
    loop = world.loop()
    await to_monday(world, loop)
    new = bot.vote_runs.NewRun("li_bai", "0" * 64, "incremental", 1)
    await world.store.ledger.open_run(new)
    world.clock.advance(1)
    await loop.open_due()
    assert (await world.run()).base_fingerprint == BASE


async def test_a_persona_without_an_adapter_is_told_how_to_get_one_and_logged_once(world):
    await world.store.set_alias("li_bai", BASE, "champion", None)
    loop = world.loop()
    await to_monday(world, loop)
    with capture_logs() as logs:
        for _ in range(3):
            await loop.open_due()
    assert loop.waits["li_bai"] == (
        "waits: li_bai has no adapter that votes could improve; train one with troupe train li_bai"
    )
    assert [line["event"] for line in logs] == ["run.not_opened"]


async def test_votes_are_weighed_beside_the_event_loop_and_only_when_a_run_is_due(world, monkeypatch):
    """Guards: every 30 seconds all votes were weighed anew, a second for 4,000, and nobody was answered."""
    weighed = []

    async def lacking(_store, slug, *, least_rows):
        weighed.append((slug, least_rows))
        return {"rows": 3}

    monkeypatch.setattr(bot.loop, "lacking_of", lacking)
    loop = world.loop(replace(TERMS, least_rows=20))
    await loop.open_due()
    assert weighed == []
    world.clock.advance(WEEK)
    await loop.open_due()
    assert sorted(weighed) == [("harry_potter", 20), ("li_bai", 20)]
    assert loop.waits["li_bai"] == "waits for 3 more usable replies"


async def test_what_was_compared_with_another_version_than_people_hear_is_not_heard(world, trainer):
    loop = world.loop()
    run = await opened(world, loop)
    await loop.train()
    await loop.judge()
    folder = world.home.adapters / "li_bai" / "v1"
    other = Adapter(adapter(folder, fingerprint=BASE, seed=99), "li_bai", "v1", BASE, str(folder))
    await world.store.add_adapter(other)
    await world.store.promote("li_bai", BASE, other.digest, actor="operator")
    await loop.canaries()
    run = await world.run()
    assert (run.state, run.reason) == ("superseded", bot.loop.OTHER_CHAMPION)
    assert world.news.sentences == [(run.id, run.reason)]
    assert await world.named() == {"champion": "v1", "previous": "v0"}


# --- the whole way


async def test_votes_become_a_snapshot_an_adapter_and_a_verdict(world, trainer):
    loop = world.loop()
    run = await opened(world, loop)
    assert world.changes == []
    snapshot = await world.snapshot(run.id)
    assert (snapshot.persona, snapshot.base_fingerprint, snapshot.recipe) == ("li_bai", BASE, "starter")
    assert run.snapshot_digest == snapshot.digest
    folder = world.home.snapshots / run.id
    lines = {
        name: len((folder / f"{name}.jsonl").read_text(encoding="utf-8").splitlines())
        for name in ("thumbs", "pairs", "rewrites", "held_out")
    }
    assert lines == {"thumbs": 54, "pairs": 0, "rewrites": 0, "held_out": 42}
    for name in ("reference", "first", "champion"):
        assert read_manifest(folder / name).digest == trainer_v0(await world.store.adapters(BASE))
    votes = await world.store.ledger.votes_of_run(run.id)
    assert len(votes) == 3 * 54
    assert all(0.85 < weight <= 1 for _, weight in votes)

    await loop.train()
    assert [job.log.name for job in trainer.jobs] == [f"{run.id}.log"]
    assert (await world.run()).state == "evaluating"
    assert await world.named() == {"champion": "v0"}

    await loop.judge()
    run = await world.run()
    assert (run.state, run.reason) == ("evaluating", "Every check of the gate passed.")
    decision = json.loads(run.decision)
    assert decision["verdict"]["passed"]
    assert set(decision["characteristic"]) == {"equal_passes_guards", "worse_passes", "equal_passes_gate"}
    ((judged, verdict, measures),) = world.news.verdicts
    assert (judged, verdict.passed, measures) == (run.id, True, better())
    await loop.judge()
    assert len(world.news.verdicts) == 1, "judged once"
    assert world.changes == []


async def test_what_passed_is_heard_by_more_and_more_people_until_it_is_what_all_hear(world, trainer):
    loop = world.loop()
    run = await in_canary(world, loop)
    assert run.share == 10
    assert await world.named() == {"champion": "v0", "challenger": run.id}
    assert len(world.changes) == 1
    for share in (10, 50):
        assert (await world.run()).share == share
        await loop.canaries()
        assert (await world.run()).share == share, "nobody was heard yet"
        world.clock.advance(1)
        await heard(world.store, run.id, champion=40, challenger=30, name=f"at {share}")
        await loop.canaries()
        assert (await world.run()).share == share, "not long enough yet"
        world.clock.advance(DAY)
        await loop.canaries()
    run = await world.run()
    assert run.state == "promoted"
    assert await world.named() == {"champion": run.id, "previous": "v0"}
    assert len(world.changes) == 3
    assert [sentence for _, sentence in world.news.sentences] == [
        "The new version is heard in 10 of 100 conversations now.",
        "At 10% nothing spoke against the challenger in 24 hours and 30 replies: it goes on at 50%.",
        "At 50% nothing spoke against the challenger in 24 hours and 30 replies: it takes over.",
    ]


async def test_what_a_version_learnt_no_later_one_learns_again(world, trainer):
    loop = world.loop()
    run = await promoted(world, loop)
    votes = {vote_id for vote_id, _ in await world.store.ledger.votes_of_run(run.id)}
    assert set(await world.store.ledger.consumed()) == votes
    world.clock.advance(WEEK)
    await tick(loop)
    assert len(await world.store.ledger.runs()) == 1, "nothing new was said"
    assert loop.waits["li_bai"].startswith("waits for 50 more usable replies")
    await vote(world.store, "li_bai", name="next")
    world.clock.advance(HOUR)
    await tick(loop)
    second = await world.run()
    assert (second.state, second.reference_version) == ("canary", run.id)
    again = {vote_id for vote_id, _ in await world.store.ledger.votes_of_run(second.id)}
    assert again
    assert not again & votes
    snapshot = world.home.snapshots / second.id
    assert read_manifest(snapshot / "first").digest == trainer_v0(await world.store.adapters(BASE))
    assert read_manifest(snapshot / "reference").digest == run.challenger


def trainer_v0(adapters):
    return next(one.digest for one in adapters if (one.persona, one.version) == ("li_bai", "v0"))


async def test_the_same_votes_make_the_same_snapshot(world):
    loop = world.loop()
    first = await opened(world, loop)
    await world.store.ledger.give_up(first.id, "The test goes on.")
    world.clock.advance(WEEK)
    await loop.open_due()
    second = await world.run()
    assert first.id != second.id
    assert first.snapshot_digest == second.snapshot_digest
    assert await world.store.ledger.votes_of_run(first.id) == await world.store.ledger.votes_of_run(second.id)


async def test_a_worse_version_goes_nowhere_and_its_votes_are_free(world, trainer):
    trainer.made = worse()
    loop = world.loop()
    free = await world.free()
    await to_monday(world, loop)
    await tick(loop)
    run = await world.run()
    assert run.state == "rejected"
    assert run.reason.startswith("lore went from ")
    assert run.reason.endswith("where less than 2.0 points is allowed.")
    ((_, verdict, _),) = world.news.verdicts
    assert [check.name for check in verdict.failed] == ["lore"]
    assert await world.named() == {"champion": "v0"}
    assert await world.free() == free
    assert world.changes == []
    assert json.loads(run.decision)["verdict"]["passed"] is False


async def test_an_equal_version_goes_nowhere_either(world, trainer):
    trainer.made = equal()
    loop = world.loop()
    await to_monday(world, loop)
    await tick(loop)
    assert (await world.run()).state == "rejected"


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (None, "measures.json is not there or cannot be read; evaluate the adapter again."),
        ("{", "measures.json is not a file of measures"),
        ('{"format": 9}', "measures.json has format 9; this version reads 1."),
        ("NaN", "holds a value that is not a number; the adapter is broken."),
    ],
)
async def test_what_was_not_measured_goes_nowhere(world, trainer, broken, says):
    trainer.made = None if broken is None else better()
    loop = world.loop()
    run = await opened(world, loop)
    await loop.train()
    file = world.runs.out(run) / MEASURES
    if broken == "NaN":
        values = json.loads(file.read_text(encoding="utf-8"))
        values["guards"][0]["challenger"][3] = float("nan")
        file.write_text(json.dumps(values), encoding="utf-8")
    elif broken is not None:
        file.write_text(broken, encoding="utf-8")
    await loop.judge()
    run = await world.run()
    assert run.state == "rejected"
    assert says in run.reason
    assert world.news.sentences == [(run.id, run.reason)]
    assert await world.named() == {"champion": "v0"}
    await loop.judge()
    assert len(world.news.sentences) == 1


async def test_what_was_vetoed_while_it_was_judged_is_no_news(world, trainer, monkeypatch):
    loop = world.loop()
    run = await opened(world, loop)
    await loop.train()
    weighed, running = bot.loop._weighed, asyncio.get_running_loop()

    def slowly(*args):
        veto = world.store.ledger.veto(run.id, "moderator", "No.")
        assert asyncio.run_coroutine_threadsafe(veto, running).result()
        return weighed(*args)

    monkeypatch.setattr(bot.loop, "_weighed", slowly)
    await loop.judge()
    run = await world.run()
    assert (run.state, run.reason) == ("rejected", "No.")
    assert world.news.verdicts == []


@pytest.mark.parametrize("says_yes", [True, False])
async def test_where_a_moderator_is_asked_nothing_is_heard_before_the_answer(world, trainer, says_yes):
    loop = world.loop(replace(TERMS, gate=gate.Rules(mode="approve")))
    await to_monday(world, loop)
    await tick(loop)
    await tick(loop)
    run = await world.run()
    assert run.state == "awaiting_approval"
    assert (await world.named()) == {"champion": "v0"}
    if says_yes:
        await world.store.ledger.approve(run.id, "moderator")
        await tick(loop)
        assert (await world.run()).state == "canary"
        assert (await world.named())["challenger"] == run.id
        return
    await world.store.ledger.veto(run.id, "moderator", "Too flowery.")
    await tick(loop)
    run = await world.run()
    assert (run.state, run.reason) == ("rejected", "Too flowery.")
    assert await world.named() == {"champion": "v0"}


async def test_a_challenger_that_guards_flag_goes_back_with_the_reason(world, trainer):
    loop = world.loop()
    free = await world.free()
    run = await in_canary(world, loop)
    before = len(world.changes)
    world.clock.advance(1)
    await heard(world.store, run.id, champion=60, challenger=40, flags=["language"] * 20)
    await loop.canaries()
    run = await world.run()
    assert run.state == "rolled_back"
    assert run.reason.startswith("20 of the challenger's 40 replies (50.0%) were in the wrong language")
    assert await world.named() == {"champion": "v0"}
    assert len(world.changes) == before + 1
    assert world.news.sentences[-1] == (run.id, run.reason)
    assert await world.free() == free


async def test_a_challenger_that_the_engine_does_not_take_goes_back(world, trainer):
    loop = world.loop()
    run = await in_canary(world, loop)
    world.refused[model_name("li_bai", run.challenger)] = "It holds a value that is not a number."
    await loop.canaries()
    run = await world.run()
    assert run.state == "rolled_back"
    assert run.reason == "The engine does not take it: It holds a value that is not a number."
    assert await world.named() == {"champion": "v0"}


async def test_a_challenger_that_people_dislike_goes_back(world, trainer):
    loop = world.loop()
    run = await in_canary(world, loop)
    world.clock.advance(1)
    replies = await heard(world.store, run.id, champion=120, challenger=120)
    for number, (arm, reply_id) in enumerate(replies):
        value = 1 if arm == "champion" and number % 5 else -1
        await world.store.cast(Ballot(reply_id, RATERS[number % len(RATERS)], "thumb", value))
    await loop.canaries()
    run = await world.run()
    assert run.state == "rolled_back"
    assert run.reason.startswith("120 of the challenger's 120 votes (100.0%) were down")


async def test_a_canary_whose_votes_another_run_learnt_meanwhile_goes_back(world, trainer):
    loop = world.loop()
    run = await in_canary(world, loop)
    (first, *_) = await world.store.ledger.votes_of_run(run.id)
    other = bot.vote_runs.NewRun("li_bai", "0" * 64, "incremental", 1)
    other_id = await world.store.ledger.open_run(other)
    row = {"run_id": other_id, "vote_id": first[0], "weight": 1.0}
    await world.store._writer.submit(lambda session: session.run("add_run_vote", **row))
    for name in ("ten", "fifty"):
        world.clock.advance(1)
        await heard(world.store, run.id, champion=30, challenger=25, name=name)
        world.clock.advance(DAY)
        await loop.canaries()
    run = await world.store.ledger.run(run.id)
    assert run.state == "rolled_back"
    assert run.reason.startswith("Votes of this run were withdrawn")
    assert world.news.sentences[-1] == (run.id, run.reason), "and nobody hears that it takes over"


async def test_news_that_cannot_be_told_hold_nothing_up(world, trainer):
    class Broken(Heard):
        async def judged(self, run, verdict, measures):
            raise StoreBusy

        async def told(self, run, sentence):
            raise StoreBusy

    world.news = Broken()
    loop = world.loop()
    await to_monday(world, loop)
    for _ in range(6):
        with contextlib.suppress(StoreBusy):
            await tick(loop)
    assert (await world.run()).state == "canary"


# --- somebody is forgotten


async def a_chat_of_ada(world, *, held_out=False):
    """A conversation in which Ada alone asked; three others like the answer. The reply's id."""
    await world.store.answer_consent(ADA, "yes")
    number = 0
    while True:
        live = await world.store.conversation("web", f"ada {number}", "", "li_bai")
        number += 1
        if is_held_out(live.id) == held_out:
            break
    reply_id = await exchange(world.store, live, ADA, f"ada {number}")
    for rater in RATERS[:3]:
        await world.store.cast(Ballot(reply_id, rater, "thumb", 1))
    return reply_id


@pytest.mark.parametrize("held_out", [False, True])
@pytest.mark.parametrize("moment", ["while it is written", "after it was written"])
async def test_who_is_forgotten_while_a_snapshot_is_written_is_in_none(world, monkeypatch, held_out, moment):
    await a_chat_of_ada(world, held_out=held_out)
    write, running = bot.vote_runs.write_snapshot, asyncio.get_running_loop()

    def meanwhile(*args, **values):
        erasing = asyncio.run_coroutine_threadsafe(forget(world.store, world.home, ADA), running)
        if moment == "while it is written":
            erasing.result()
            return write(*args, **values)
        found = write(*args, **values)
        erasing.result()
        return found

    loop = world.loop()
    await to_monday(world, loop)
    with monkeypatch.context() as patched:
        patched.setattr(bot.vote_runs, "write_snapshot", meanwhile)
        await loop.open_due()
    (run,) = await world.store.ledger.runs()
    assert run.state == "failed"
    assert list(world.home.snapshots.iterdir()) == []
    world.clock.advance(1)
    await loop.open_due()
    run = await world.run()
    assert run.state == "snapshotted"
    files = [path.read_bytes() for path in (world.home.snapshots / run.id).glob("*.jsonl")]
    assert not any(b"ada asks" in content for content in files)


async def test_a_snapshot_that_is_swept_away_under_the_pen_is_no_failure_of_the_loop(world, monkeypatch):
    await a_chat_of_ada(world)

    def swept(folder, **_values):
        shutil.rmtree(folder, ignore_errors=True)
        raise FileNotFoundError(2, "No such file or directory", str(folder))

    loop = world.loop()
    await to_monday(world, loop)
    monkeypatch.setattr(bot.vote_runs, "write_snapshot", swept)
    await loop.open_due()
    (run,) = await world.store.ledger.runs()
    assert run.state == "failed"
    assert "No such file" in run.error
    assert list(world.home.snapshots.iterdir()) == []


async def test_a_snapshot_that_cannot_be_written_is_tried_at_the_next_time_and_not_at_every_tick(
    world, monkeypatch
):
    def full(*_args, **_values):
        raise OSError(28, "No space left on device")

    loop = world.loop()
    await to_monday(world, loop)
    free = await world.free()
    with monkeypatch.context() as patched:
        patched.setattr(bot.vote_runs, "write_snapshot", full)
        for _ in range(3):
            await loop.open_due()
    (run,) = await world.store.ledger.runs()
    assert run.state == "failed"
    assert "No space left on device" in run.error
    assert await world.free() == free
    assert loop.waits["li_bai"] == "waits for 2027-01-25 04:00 (UTC)"
    world.clock.advance(WEEK)
    await loop.open_due()
    assert (await world.run()).state == "snapshotted"


async def test_a_run_that_another_command_is_opening_is_left_alone(world, monkeypatch):
    """Guards: what is not written yet was taken for a dead bot's, and given up."""
    write, go_on, entered = bot.vote_runs.write_snapshot, threading.Event(), threading.Event()

    def slowly(*args, **values):
        entered.set()
        assert go_on.wait(20)
        return write(*args, **values)

    monkeypatch.setattr(bot.vote_runs, "write_snapshot", slowly)
    opening = asyncio.create_task(world.opening.open(world.cast["li_bai"], "incremental"))
    try:
        await until(entered.is_set)
        loop = world.loop()
        for _ in range(2):
            await tick(loop)
        assert loop.waits["li_bai"] == "waits for the end of the run before it (claimed)"
    finally:
        go_on.set()
    run_id = await opening
    assert (await world.store.ledger.run(run_id)).state == "snapshotted"


async def rebuild_is_due(world, loop):
    """A version that learnt from Ada is live, and Ada is forgotten; the version's run."""
    await a_chat_of_ada(world)
    run = await promoted(world, loop)
    world.clock.advance(HOUR)
    await forget(world.store, world.home, ADA)
    (due,) = await world.store.erasures.rebuilds_due()
    assert (due.persona, due.since) == ("li_bai", world.clock.now())
    world.clock.advance(HOUR)
    return run


async def test_after_a_person_was_forgotten_the_persona_is_built_anew_without_them(world, trainer):
    loop = world.loop()
    old = await rebuild_is_due(world, loop)
    assert not (world.home.snapshots / old.id).exists()
    learnt = set(await world.store.ledger.consumed())
    trainer.made = equal()
    await tick(loop)
    run = await world.run()
    assert (run.kind, run.reference_version, run.state) == ("rebuild", "v0", "canary")
    votes = {vote_id for vote_id, _ in await world.store.ledger.votes_of_run(run.id)}
    assert votes == {one for one in learnt if one in {thumb.id for thumb in await world.store.thumbs()}}
    assert len(votes) == 3 * 54, "what was learnt before is learnt again, but nothing of Ada's"
    snapshot = world.home.snapshots / run.id
    assert read_manifest(snapshot / "reference").digest == trainer_v0(await world.store.adapters(BASE))
    assert read_manifest(snapshot / "champion").digest == old.challenger
    assert b"ada asks" not in (snapshot / "thumbs.jsonl").read_bytes()
    (_, verdict, _) = world.news.verdicts[-1]
    (sentence,) = [check.sentence for check in verdict.checks if check.name == "votes"]
    assert sentence.endswith("leans to the liked reply, not surely less than the 50.0 % of chance.")
    for name in ("ten again", "fifty again"):
        world.clock.advance(1)
        await heard(world.store, run.id, champion=30, challenger=25, name=name)
        world.clock.advance(DAY)
        await loop.canaries()
    assert (await world.run()).state == "promoted"
    assert (await world.named())["champion"] == run.id
    assert await world.store.erasures.rebuilds_due() == ()
    assert set(await world.store.ledger.consumed()) == learnt, "a rebuild consumes nothing"
    await tick(loop)
    assert len(await world.store.ledger.runs()) == 2


async def test_who_is_forgotten_after_a_rebuild_began_is_still_due(world, trainer):
    loop = world.loop()
    trainer.made = better()
    await rebuild_is_due(world, loop)
    await tick(loop)
    run = await world.run()
    assert (run.kind, run.state) == ("rebuild", "canary")
    world.clock.advance(1)
    # Of the old version alone: its rows are in no snapshot of the rebuild.
    await world.store.erasures.mark_rebuild_due("li_bai", BASE)
    for name in ("ten again", "fifty again"):
        await heard(world.store, run.id, champion=30, challenger=25, name=name)
        world.clock.advance(DAY)
        await loop.canaries()
        world.clock.advance(1)
    assert (await world.store.ledger.run(run.id)).state == "promoted"
    (due,) = await world.store.erasures.rebuilds_due()
    assert due.since > run.created_at
    await loop.open_due()
    another = await world.run()
    assert (another.id != run.id, another.kind) == (True, "rebuild")


async def test_who_is_forgotten_during_a_rebuild_ends_it_and_it_is_begun_again(world, trainer):
    loop = world.loop()
    await rebuild_is_due(world, loop)
    await tick(loop)
    run = await world.run()
    await forget(world.store, world.home, RATERS[0])
    assert (await world.store.ledger.run(run.id)).state == "failed"
    assert "challenger" not in await world.named()
    world.clock.advance(1)
    await tick(loop)
    again = await world.run()
    assert (again.id != run.id, again.kind, again.state) == (True, "rebuild", "canary")


@pytest.mark.parametrize("outcome", ["rejected", "failed"])
async def test_a_rebuild_that_did_not_last_is_tried_again_at_the_schedule_s_next_time(
    world, trainer, outcome
):
    """Guards: it was opened again at once, and trained round the clock."""
    loop = world.loop()
    await rebuild_is_due(world, loop)
    trainer.made = worse()
    trainer.fails = "no memory" if outcome == "failed" else None
    for _ in range(3):
        await tick(loop)
        world.clock.advance(HOUR)
    runs = [run for run in await world.store.ledger.runs() if run.kind == "rebuild"]
    assert [run.state for run in runs] == [outcome]
    trainer.made, trainer.fails = better(), None
    world.clock.advance(WEEK)
    await tick(loop)
    assert ((await world.run()).kind, (await world.run()).state) == ("rebuild", "canary")


async def test_a_rebuild_waits_for_quiet_hours_to_end(world, trainer):
    plan = replace(PLAN, quiet=QuietHours("06:00-23:00"))
    await rebuild_is_due(world, world.loop())
    assert 6 <= datetime.fromtimestamp(world.clock.now(), UTC).hour < 23
    loop = world.loop(replace(TERMS, plan=plan))
    await loop.open_due()
    assert {run.kind for run in await world.store.ledger.runs()} == {"incremental"}
    world.clock.advance(DAY - world.clock.now() % DAY)
    await loop.open_due()
    assert (await world.run()).kind == "rebuild"


async def test_where_nobody_s_votes_are_left_the_first_version_speaks_again(world, trainer):
    """Guards: with nothing to train on no rebuild ever opened, and the old version spoke for ever."""
    loop = world.loop()
    run = await promoted(world, loop)
    world.clock.advance(HOUR)
    for rater in RATERS:
        await forget(world.store, world.home, rater)
    changes = len(world.changes)
    await tick(loop)
    assert await world.named() == {"champion": "v0"}
    assert await world.store.erasures.rebuilds_due() == ()
    assert len(world.changes) == changes + 1
    assert len(await world.store.ledger.runs()) == 1, run
    assert (await world.store.audits())[0].act == "promote"


async def test_a_rebuild_without_enough_votes_to_judge_by_is_held_to_the_guards_alone(world, trainer):
    """Guards: where the forgotten left too few held-out votes, their words stayed in the adapter."""
    loop = world.loop()
    await rebuild_is_due(world, loop)
    trainer.made = replace(better(), held_out=better().held_out[:10])
    await tick(loop)
    run = await world.run()
    assert (run.kind, run.state) == ("rebuild", "canary")


async def test_a_rebuild_that_was_promoted_as_the_bot_was_killed_is_not_made_again(world, trainer):
    loop = world.loop()
    await rebuild_is_due(world, loop)
    await tick(loop)
    run = await world.run()
    await world.store.ledger.promote_run(run.id, "the gate")
    (_due,) = await world.store.erasures.rebuilds_due()
    await tick(loop)
    assert await world.store.erasures.rebuilds_due() == ()
    assert len(await world.store.ledger.runs()) == 2


async def test_a_trainer_whose_run_was_given_up_is_ended_and_leaves_nothing(world, monkeypatch):
    """Guards: it went on with a forgotten person's words, and its adapter lay there for ever."""
    monkeypatch.setattr(bot.runs, "LEASE_S", 0.06)
    ended = []

    async def slow(job, keep):
        work = job.out.with_name(f".work-{job.out.name}")
        work.mkdir(parents=True)
        await keep()
        ended.append(job)
        publish(job.out, seed=9, measures=better())
        work.mkdir(exist_ok=True)

    await a_chat_of_ada(world)
    monkeypatch.setattr(bot.runs, "train", slow)
    loop = world.loop()
    run = await opened(world, loop)
    training = asyncio.create_task(loop.train())
    async with asyncio.timeout(10):
        while (await world.run()).state != "training":
            await asyncio.sleep(0.01)
        await forget(world.store, world.home, ADA)
        await training
    assert len(ended) == 1
    run = await world.store.ledger.run(run.id)
    assert (run.state, run.error) == ("failed", "forgotten")
    assert [path.name for path in (world.home.adapters / "li_bai").iterdir()] == ["v0"]


# --- whoever trains


async def test_a_trainer_that_fails_leaves_the_reason_and_the_votes(world, trainer):
    trainer.fails = "The run was unlucky; nothing was published."
    loop = world.loop()
    free = await world.free()
    await to_monday(world, loop)
    await tick(loop)
    run = await world.run()
    assert (run.state, run.error) == ("failed", trainer.fails)
    assert await world.free() == free
    await tick(loop)
    assert len(await world.store.ledger.runs()) == 1


async def test_a_run_whose_bot_died_in_training_is_trained_again_on_the_same_snapshot(world, trainer):
    loop = world.loop()
    run = await opened(world, loop)
    assert (await world.store.ledger.claim("bot", lease_s=60)).id == run.id
    await loop.train()
    assert trainer.jobs == [], "the lease may be somebody's"
    world.clock.advance(61)
    await tick(loop)
    again = await world.run()
    assert (again.id, again.attempt, again.state) == (run.id, 2, "canary")
    assert trainer.snapshots[0].digest == run.snapshot_digest


async def test_a_store_that_is_busy_for_a_moment_does_not_end_a_training(world, monkeypatch):
    monkeypatch.setattr(bot.runs, "LEASE_S", 0.03)
    renewals = []

    class Busy:
        def __getattr__(self, name):
            return getattr(world.store.ledger, name)

        async def renew(self, *_args, **_values):
            renewals.append(True)
            if len(renewals) == 1:
                raise StoreBusy
            return True

    class Store:
        ledger = Busy()

        def __getattr__(self, name):
            return getattr(world.store, name)

    async def patient(job, keep):
        keeping = asyncio.create_task(keep())
        async with asyncio.timeout(10):
            while len(renewals) < 3:
                await asyncio.sleep(0.01)
        assert not keeping.done()
        keeping.cancel()
        publish(job.out, seed=9, measures=better())

    monkeypatch.setattr(bot.runs, "train", patient)
    loop = world.loop()
    await opened(world, loop)
    world.runs._store = Store()
    await loop.train()
    assert (await world.run()).state == "evaluating"


async def test_where_others_train_the_loop_only_judges(world, trainer):
    loop = world.loop(replace(TERMS, policy="external"))
    run = await opened(world, loop)
    await tick(loop)
    assert trainer.jobs == []
    app = FastAPI()
    app.include_router(worker_routes(world.runs, "secret"))
    transport = httpx.ASGITransport(app=app)
    headers = {"Authorization": "Bearer secret"}
    async with httpx.AsyncClient(transport=transport, base_url="http://bot", headers=headers) as client:
        claim = (await client.post("/worker/claim", json={"owner": "one"})).json()
        assert (claim["id"], claim["attempt"]) == (run.id, 1)
        publish(world.home.root / claim["out"], seed=9, measures=better())
        done = {"id": run.id, "owner": "one", "attempt": 1, "ok": True}
        assert (await client.post("/worker/finish", json=done)).status_code == 200
    await tick(loop)
    assert (await world.run()).state == "canary"
