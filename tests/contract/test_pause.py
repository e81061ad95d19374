"""While a run trains alone on the machine: what people hear, and what becomes of the engine."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from dataclasses import dataclass, field, replace
from types import SimpleNamespace

import httpx
import pytest
from structlog.testing import capture_logs

from bot.conversation import WORKERS
from bot.loop import Loop, Terms
from bot.platform import Incoming, Place
from bot.rest import Rest
from bot.supervise import Child
from data.clock import SystemClock
from data.home import Home
from data.run_records import NewRun
from data.sqlite import open_store
from engine.errors import EngineUnavailable
from tests.fakes.engine import FINGERPRINT
from tests.fakes.port import CAPABILITIES, FakePort
from tests.fakes.troupe import ROOT, Troupe, troupe
from tests.waiting import until
from training.schedule import Cron, Plan

ENGINE = str(ROOT / "tests/fakes/engine.py")
NUMBERS = iter(range(1, 10**9))


@dataclass(frozen=True)
class World:
    """A bot, the engine process beside it, and what a trainer would hold while it trains."""

    parts: Troupe
    child: Child
    port: FakePort
    url: str

    @property
    def rest(self):
        return self.parts.reconciler.rest

    async def ask(self, *texts, chat=None):
        """Each in a chat of its own, or all in the one."""
        for text in texts:
            number = str(next(NUMBERS))
            place = Place("telegram", chat or number)
            await self.parts.core.receive([Incoming(place, number, place.chat, "Ann", text, is_direct=True)])

    async def hook(self, **values):
        async with httpx.AsyncClient() as client:
            await client.post(f"{self.url}/fake", json=values)

    def said(self, words):
        return sum(words in text for text in self.port.texts)

    @contextlib.asynccontextmanager
    async def training(self):
        async with self.rest.of(self.child):
            assert self.child.pid is None
            yield


@contextlib.asynccontextmanager
async def running(*tasks):
    going = [asyncio.ensure_future(task) for task in tasks]
    try:
        yield
    finally:
        for task in going:
            task.cancel()
        await asyncio.wait(going)


@contextlib.asynccontextmanager
async def world_in(home, *, patience_s=0.0):
    """Whoever's patience ran out here would be given up at once: it never runs in a rest."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number = probe.getsockname()[1]
    url = f"http://127.0.0.1:{number}"
    child = Child("engine", [sys.executable, ENGINE, "--port", str(number)], environment=dict(os.environ))
    async with running(child.run()), troupe(home, url, patience_s=patience_s) as parts:
        port = FakePort(caps=replace(CAPABILITIES, max_units=2000))
        async with running(parts.reconciler.run()):
            await until(parts.reconciler.is_up.is_set)
            parts.core.attach(port)
            yield World(parts, child, port, url)


@pytest.fixture(name="world")
async def _world(tmp_path):
    async with world_in(tmp_path) as world:
        yield world


async def test_who_writes_while_the_engine_rests_hears_so_once_and_is_answered_afterwards(world):
    async with world.training():
        await world.ask("one", "two", "three")
        await until(lambda: world.said("resting") == 3)
        assert (await world.parts.store.states())["inbox"] == {"pending": 3}, "nothing was begun"
    await until(lambda: len(world.port.with_votes()) == 3)
    assert sorted(text.split()[1] for text in world.port.texts[3:]) == ["eerht", "eno", "owt"]
    assert (len(world.port.texts), world.child.starts, world.child.failures) == (6, 2, 0)


async def test_the_questions_of_a_chat_are_answered_in_order_after_a_rest(world):
    async with world.training():
        await world.ask("one", "two", "three", chat="7")
        await until(lambda: world.said("resting") == 1)
    await until(lambda: len(world.port.with_votes()) == 3)
    assert [text.split()[1] for text in world.port.texts[1:]] == ["eno", "owt", "eerht"]


async def test_more_people_than_there_are_workers_all_hear_that_the_persona_rests(world):
    """Guards: as many as are answered at once held all workers, and who wrote next heard nothing."""
    many = WORKERS + 4
    async with world.training():
        await world.ask(*["hello"] * many)
        await until(lambda: world.said("resting") == many)
    await until(lambda: len(world.port.with_votes()) == many)
    assert world.said("could not answer") == 0


async def test_a_reply_under_way_is_finished_before_the_engine_is_ended(world):
    await world.hook(delay_s=0.05, reply="one two three four five six")
    await world.ask("hello")
    await until(lambda: world.port.texts)
    async with world.training():
        assert world.port.texts == ["one two three four five six"]
    assert world.child.failures == 0


async def test_a_reply_that_takes_too_long_is_broken_off_and_made_anew_after_the_rest(world):
    world.parts.reconciler.rest = Rest(drain_s=0.05)
    await world.hook(silent=True)
    await world.ask("hello")
    await until(lambda: world.rest._under_way)
    async with world.training():
        await until(lambda: world.said("resting") == 1)
    await until(world.port.with_votes)
    assert len(world.port.texts) == 2


async def test_patience_that_began_before_a_rest_does_not_run_in_it(tmp_path):
    """The engine had died by itself, and somebody waited for it already."""
    async with world_in(tmp_path, patience_s=0.05) as world:
        async with world.training():
            waiting = asyncio.ensure_future(world.parts.core._turns._is_back())
            # Several times the patience.
            await asyncio.sleep(0.3)
            assert not waiting.done()
        assert await waiting


async def test_a_message_outlives_a_bot_that_is_killed_while_the_engine_rests(tmp_path):
    async with world_in(tmp_path) as world:
        resting = world.training()
        await resting.__aenter__()
        await world.ask("kept")
        await until(lambda: world.said("resting"))
    async with world_in(tmp_path) as world:
        await until(world.port.with_votes)
        assert len(world.port.texts) == 1, "that it rests was said before"
        assert world.port.texts[0].split()[1] == "tpek"
    with contextlib.suppress(RuntimeError):
        await resting.__aexit__(None, None, None)


async def test_a_rest_is_no_failure_of_the_engine_and_what_is_known_of_it_stays_known(world):
    info = world.parts.reconciler.info
    with capture_logs() as logs:
        async with world.training():
            world.parts.reconciler.nudge()
            with pytest.raises(EngineUnavailable):
                await world.parts.reconciler.once()
            assert world.parts.reconciler.info == info
        await until(lambda: not world.rest.is_on)
    assert {line["log_level"] for line in logs} == {"info"}
    assert [line["event"] for line in logs if line["event"] != "http"] == [
        "engine.rests", "engine.wakes", "child.started",
    ]  # fmt: skip


async def test_an_engine_that_does_not_wake_in_time_is_like_any_that_is_away(world):
    world.parts.reconciler.rest = Rest(waking_s=0.05)
    world.child._arguments[:] = [sys.executable, "-c", "raise SystemExit(1)"]
    async with world.training():
        await world.ask("hello")
        await until(lambda: world.said("resting"))
    await until(lambda: world.said("could not answer"))


# --- the loop


@dataclass
class Trainer:
    """In the place of `bot.runs.Runs`: claims what waits, and says what the engine did meanwhile."""

    store: object
    state: list
    fails: Exception | None = None
    seen: list = field(default_factory=list)

    async def train_here(self, owner, **_):
        run = await self.store.ledger.claim(owner, lease_s=60.0)
        if run is None:
            return None
        self.seen.append((run.persona, list(self.state)))
        if self.fails is not None:
            raise self.fails
        await self.store.ledger.fail(run.id, owner, run.attempt, "No luck.")
        return "failed"


@dataclass
class Training:
    store: object
    trainer: Trainer
    state: list

    def loop(self, policy="pause", **more):
        @contextlib.asynccontextmanager
        async def resting():
            self.state.append("rests")
            try:
                yield
            finally:
                self.state.append("wakes")

        nobody = SimpleNamespace(personas={})
        terms = Terms(Plan(Cron("0 4 * * mon")), policy=policy)
        return Loop(
            self.store, nobody, self.trainer, None, terms,
            fingerprint=FINGERPRINT, clock=SystemClock(), resting=resting, **more,
        )  # fmt: skip

    async def open(self, *personas):
        for persona in personas:
            await self.store.ledger.open_run(
                NewRun(persona, FINGERPRINT, "incremental", 7, state="snapshotted")
            )


@pytest.fixture(name="training")
async def _training(tmp_path):
    async with open_store(Home(tmp_path).store) as store:
        state = []
        yield Training(store, Trainer(store, state), state)


async def test_the_engine_rests_once_for_all_runs_that_wait_and_not_when_none_does(training):
    loop = training.loop()
    await loop.train()
    assert training.state == []
    await training.open("li_bai", "harry_potter")
    await loop.train()
    assert training.trainer.seen == [("li_bai", ["rests"]), ("harry_potter", ["rests"])]
    assert training.state == ["rests", "wakes"]
    await loop.train()
    assert training.state == ["rests", "wakes"]


async def test_a_run_that_somebody_else_trains_lets_the_engine_be_until_the_lease_runs_out(training):
    await training.open("li_bai")
    run = await training.store.ledger.claim("another", lease_s=0.2)
    await training.loop().train()
    assert training.state == []
    async with asyncio.timeout(10):
        while not await training.store.ledger.is_waiting():
            await asyncio.sleep(0.01)
    await training.loop().train()
    assert (training.state, run.attempt) == (["rests", "wakes"], 1)


@pytest.mark.parametrize("error", [OSError("no process"), asyncio.CancelledError()])
async def test_the_engine_is_started_again_whatever_happened_to_the_trainer(training, error):
    training.trainer.fails = error
    await training.open("li_bai")
    with pytest.raises(type(error)):
        await training.loop().train()
    assert training.state == ["rests", "wakes"]


async def test_what_the_engine_holds_counts_as_free_where_it_rests_for_a_run(training, monkeypatch):
    monkeypatch.setattr("bot.loop.free_bytes", lambda: 2**30)
    conditions = await training.loop(freed_bytes=lambda: 2**31)._conditions("li_bai", 0.0, 0.0)
    assert conditions.free_bytes == 3 * 2**30


async def test_where_others_train_the_engine_never_rests(training):
    await training.open("li_bai")
    await training.loop("external").train()
    assert training.state == []
