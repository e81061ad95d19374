"""`troupe train`: one run now, through the running bot or alone with the store's lock."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import sys

import pytest

import bot.runs
import bot.train
from bot import cli
from bot.control import ask, serve
from bot.errors import BotError
from bot.settings import Settings
from bot.train import train_now, training_handlers
from bot.wiring import Ground, make_loop
from data.clock import SystemClock
from data.home import Home
from data.manifest import base_fingerprint
from data.records import Adapter
from data.run_records import NewRun
from data.sqlite import open_store
from personas.loader import load_cast
from tests.fakes.adapter import adapter
from tests.fakes.clock import FakeClock
from tests.fakes.learning import StandIn, a_cast, better, publish, settled, worse
from tests.waiting import until

pytestmark = pytest.mark.usefixtures("logs_as_before")


def a_base(folder):
    folder.mkdir()
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        (folder / name).write_text("{}")
    return folder


@pytest.fixture(name="voted", scope="module")
def _voted(tmp_path_factory):
    home = Home(tmp_path_factory.mktemp("voted"))
    home.prepare()

    async def fill():
        async with open_store(home.store, clock=FakeClock()) as store:
            await settled(store, home)

    asyncio.run(fill())
    return home


class Place:
    """A home with votes, a base, and the shipped folders in small."""

    def __init__(self, voted, root):
        self.home = Home(root / "home")
        shutil.copytree(voted.root, self.home.root)
        self.base = a_base(root / "base")
        self.fingerprint = base_fingerprint(self.base)
        self.shipped = a_cast(root / "personas")
        self.sets = root / "sets"
        self.sets.mkdir()
        self.settings = Settings(home=self.home.root, base=str(self.base))
        self.where = {"shipped": self.shipped, "sets": self.sets, "base_folder": self.base}

    async def with_first(self, store):
        """Li Bai has a first version for this base too."""
        folder = self.home.adapters / "li_bai" / "v0 here"
        digest = adapter(folder, fingerprint=self.fingerprint, seed=50)
        row = Adapter(digest, "li_bai", "v0", self.fingerprint, str(folder))
        await store.add_adapter(row, champion_if_none=True)

    def stand_in(self, **made):
        return ForBase(self.fingerprint, **made)

    async def runs(self):
        async with open_store(self.home.store) as store:
            return [run for run in await store.ledger.runs() if run.base_fingerprint == self.fingerprint]

    def ground(self, store):
        clock = SystemClock()
        return Ground(store, self.home, self.settings, self.sets, self.base, self.fingerprint, clock)


class ForBase(StandIn):
    """A stand-in whose adapters are for another base than the usual one."""

    def __init__(self, fingerprint, **made):
        super().__init__(**made)
        self.fingerprint = fingerprint

    async def __call__(self, job, keep):
        error = await super().__call__(job, keep)
        if error is None:
            publish(job.out, seed=70 + len(self.jobs), measures=self.made, fingerprint=self.fingerprint)
        return error


@pytest.fixture(name="place")
def _place(voted, tmp_path):
    return Place(voted, tmp_path)


async def first_version(place):
    async with open_store(place.home.store) as store:
        await place.with_first(store)


async def test_alone_it_refuses_in_one_sentence_where_there_is_nothing_to_improve_or_to_learn(
    place, monkeypatch
):
    stand_in = place.stand_in()
    monkeypatch.setattr(bot.runs, "train", stand_in)
    with pytest.raises(BotError, match=r"^li_bai has no adapter .* troupe train li_bai\.$"):
        await train_now(place.settings, "li_bai", source="votes", **place.where)
    await first_version(place)
    async with open_store(place.home.store) as store:
        folder = place.home.adapters / "harry_potter" / "v0 here"
        digest = adapter(folder, fingerprint=place.fingerprint, seed=51)
        row = Adapter(digest, "harry_potter", "v0", place.fingerprint, str(folder))
        await store.add_adapter(row, champion_if_none=True)
    with pytest.raises(BotError, match=r"^Nothing that people said of harry_potter can be trained on yet\.$"):
        await train_now(place.settings, "harry_potter", source="votes", **place.where)
    (place.base / "tokenizer.json").unlink()
    with pytest.raises(BotError, match=r"holds no tokenizer\.json"):
        await train_now(place.settings, "li_bai", source="votes", **place.where)
    assert stand_in.jobs == []
    assert await place.runs() == []


@pytest.mark.parametrize("made", [better, worse])
async def test_alone_it_trains_and_judges_and_its_run_waits_for_people(place, monkeypatch, made):
    await first_version(place)
    stand_in = place.stand_in(made=made())
    monkeypatch.setattr(bot.runs, "train", stand_in)
    found = await train_now(place.settings, "li_bai", source="votes", **place.where)
    (run,) = await place.runs()
    assert (found.run_id, found.state, found.reason) == (run.id, run.state, run.reason)
    if made is better:
        assert (run.state, run.is_ready) == ("evaluating", True)
    else:
        assert run.state == "rejected"
        assert run.reason.startswith("lore went from")
    champions = json.loads(place.home.champions.read_text(encoding="utf-8"))["champions"]
    assert champions["li_bai"]["path"].endswith("v0 here")
    (job,) = stand_in.jobs
    assert job.log is None, "whoever asked for it sees its bar"


async def test_alone_it_trains_its_own_run_and_not_an_older_one_that_waits(place, monkeypatch):
    """Guards: the oldest waiting run of anybody was trained, and its end told as this one's."""
    await first_version(place)
    async with open_store(place.home.store) as store:
        older = NewRun("harry_potter", place.fingerprint, "corpus", 1, state="snapshotted")
        older_id = await store.ledger.open_run(older)
    stand_in = place.stand_in()
    monkeypatch.setattr(bot.runs, "train", stand_in)
    found = await train_now(place.settings, "li_bai", source="votes", **place.where)
    assert [job.out.name for job in stand_in.jobs] == [found.run_id]
    assert {run.id: run.state for run in await place.runs()} == {
        older_id: "snapshotted", found.run_id: "evaluating",
    }  # fmt: skip


async def test_a_run_that_made_nothing_is_a_sentence_and_its_votes_are_free(place, monkeypatch):
    await first_version(place)
    monkeypatch.setattr(bot.runs, "train", place.stand_in(fails="no memory"))
    with pytest.raises(BotError, match=r"made no valid adapter; its messages above say why\.$"):
        await train_now(place.settings, "li_bai", source="votes", **place.where)
    (run,) = await place.runs()
    assert (run.state, run.error) == ("failed", "no memory")
    monkeypatch.setattr(bot.runs, "train", place.stand_in())
    found = await train_now(place.settings, "li_bai", source="votes", **place.where)
    assert found.state == "evaluating"


async def test_alone_it_puts_away_what_a_killed_bot_left(place, monkeypatch):
    await first_version(place)
    async with open_store(place.home.store) as store:
        dead = await store.ledger.open_run(NewRun("li_bai", place.fingerprint, "incremental", 1))
    monkeypatch.setattr(bot.runs, "train", place.stand_in())
    found = await train_now(place.settings, "li_bai", source="votes", **place.where)
    assert {run.id: run.state for run in await place.runs()} == {dead: "failed", found.run_id: "evaluating"}


@contextlib.asynccontextmanager
async def running(place, store, *, ground=None):
    """A bot's control socket."""
    here = place.ground(store)
    handlers = training_handlers(ground or (lambda: here), load_cast([place.shipped]))
    serving = asyncio.create_task(serve(place.home.control_socket, handlers))
    try:
        await until(place.home.control_socket.exists)
        yield here
    finally:
        serving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await serving


async def test_through_a_running_bot_the_command_trains_and_the_bot_judges(place, monkeypatch):
    stand_in = place.stand_in()
    monkeypatch.setattr(bot.train, "train_in_process", stand_in)
    async with open_store(place.home.store) as store:
        await place.with_first(store)
        older = NewRun("harry_potter", place.fingerprint, "corpus", 1, state="snapshotted")
        older_id = await store.ledger.open_run(older)
        async with running(place, store) as ground:
            found = await train_now(place.settings, "li_bai", source="votes", **place.where)
            assert (found.state, found.reason) == ("evaluating", None)
            assert [job.out.name for job in stand_in.jobs] == [found.run_id]
            assert (await store.ledger.run(older_id)).state == "snapshotted"
            loop = make_loop(ground, load_cast([place.shipped]))
            await loop.judge()
            await loop.canaries()
            assert (await store.ledger.run(found.run_id)).state == "canary"
            with pytest.raises(BotError, match="A run of li_bai is going on already; wait for it to end"):
                await train_now(place.settings, "li_bai", source="votes", **place.where)
            with pytest.raises(BotError, match="Nobody here is called merlin"):
                await ask(place.home.control_socket, "train", persona="merlin", source="votes", owner="me")


async def test_a_command_whose_run_the_bot_gave_up_ends_its_trainer(place, monkeypatch):
    monkeypatch.setattr(bot.train, "LEASE_S", 0.03)
    kept = []

    async def patient(job, keep):
        run_id = job.out.name
        async with asyncio.timeout(10):
            keeping = asyncio.create_task(keep())
            await asyncio.sleep(0.1)
            assert not keeping.done(), "the lease is kept"
            await store.ledger.give_up(run_id, "forgotten")
            await keeping
        kept.append(run_id)
        return "The trainer was ended by SIGTERM."

    monkeypatch.setattr(bot.train, "train_in_process", patient)
    async with open_store(place.home.store) as store:
        await place.with_first(store)
        async with running(place, store):
            with pytest.raises(BotError, match="made no valid adapter"):
                await train_now(place.settings, "li_bai", source="votes", **place.where)
    (run,) = await place.runs()
    assert (kept, run.state, run.error) == ([run.id], "failed", "forgotten")


async def test_an_engine_that_goes_away_beside_a_trainer_does_not_cost_what_it_made(place, monkeypatch):
    stand_in = place.stand_in()
    monkeypatch.setattr(bot.train, "train_in_process", stand_in)
    async with open_store(place.home.store) as store:
        await place.with_first(store)
        # Away from the moment that the run is handed out.
        here = place.ground(store)
        grounds = lambda: None if stand_in.jobs else here  # noqa: E731 - one fact
        async with running(place, store, ground=grounds):
            found = await train_now(place.settings, "li_bai", source="votes", **place.where)
    assert len(stand_in.jobs) == 1
    assert found.state == "evaluating"


async def test_without_an_engine_the_bot_has_nothing_to_train_for(place):
    async with open_store(place.home.store) as store, running(place, store, ground=lambda: None):
        with pytest.raises(BotError, match="The engine is away or cannot load our adapters"):
            await train_now(place.settings, "li_bai", source="votes", **place.where)


@pytest.mark.parametrize("made", [better, worse])
def test_the_command_line_says_how_it_stands(place, monkeypatch, capsys, made, tmp_path):
    asyncio.run(first_version(place))
    monkeypatch.setattr(bot.runs, "train", place.stand_in(made=made()))
    monkeypatch.setenv("TROUPE_HOME", str(place.home.root))
    monkeypatch.setenv("TROUPE_BASE", str(place.base))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["troupe", "train", "li_bai", "--from", "votes"])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code in {0, None}
    said = capsys.readouterr().out
    (run,) = asyncio.run(place.runs())
    state = "evaluating" if made is better else "rejected"
    assert said == f"Run {run.id} of li_bai is {state}. {run.reason}\n"


def test_the_command_line_refuses_in_one_sentence(place, monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("TROUPE_HOME", str(place.home.root))
    monkeypatch.setenv("TROUPE_BASE", str(place.base))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["troupe", "train", "li_bai", "--from", "votes"])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == (
        "li_bai has no adapter that votes could improve; train one with troupe train li_bai.\n"
    )
