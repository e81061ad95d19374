"""The trainer process beside the bot: its words, its end, and whoever it must not outlive."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import sys
from pathlib import Path

import pytest

import bot.trainer
from bot.control import ask
from bot.errors import BotError
from bot.runs import Runs
from bot.trainer import Job, train
from data.home import Home
from data.run_records import NewRun
from data.sqlite import open_store
from tests.fakes.engine import FakeEngine
from tests.fakes.learning import BASE, a_cast, better, publish, settled
from tests.fakes.process import is_alive, troupe_process
from tests.waiting import until

ROOT = Path(__file__).resolve().parents[2]
# Stands in for `python -m training`: everything but its command line is the real package.
PACKAGE = f"__path__.append({str(ROOT / 'training')!r})\n"
MAIN = """
import json, os, shutil, signal, sys, time
from pathlib import Path

from training.app import _end_with

plan = json.loads(Path(os.environ["STAND_IN"]).read_text())
if "hears_nothing" in plan:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
_end_with(int(sys.argv[sys.argv.index("--parent") + 1]))
note = Path(plan["note"])
note.with_suffix(".new").write_text(json.dumps([os.getpid(), sys.argv[1:]]))
note.with_suffix(".new").replace(note)
print(plan.get("prints", "on standard output"), flush=True)
print(plan.get("says", "on standard error"), file=sys.stderr, flush=True)
if "copies" in plan:
    out = Path(sys.argv[sys.argv.index("--out") + 1])
    shutil.copytree(plan["copies"], out)
if "signal" in plan:
    os.kill(os.getpid(), plan["signal"])
time.sleep(plan.get("sleeps", 0))
sys.exit(plan.get("code", 0))
"""


class Stub:
    """What the stand-in does next, and what it told of itself."""

    def __init__(self, root):
        self.path = root / "stub"
        (self.path / "training").mkdir(parents=True)
        (self.path / "training" / "__init__.py").write_text(PACKAGE)
        (self.path / "training" / "__main__.py").write_text(MAIN)
        self.plan = root / "plan.json"
        self.note = root / "note.json"
        self.does()

    def does(self, **what):
        self.note.unlink(missing_ok=True)
        self.plan.write_text(json.dumps({"note": str(self.note), **what}))

    @property
    def environment(self):
        return {"PYTHONPATH": f"{self.path}{os.pathsep}{ROOT}", "STAND_IN": str(self.plan)}

    async def started(self):
        await until(self.note.exists)
        return json.loads(self.note.read_text())


@pytest.fixture(name="stub")
def _stub(tmp_path, monkeypatch):
    stub = Stub(tmp_path)
    for name, value in stub.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    return stub


@pytest.fixture(name="job")
def _job(tmp_path):
    return Job(tmp_path / "snapshot", tmp_path / "out", tmp_path / "base", log=tmp_path / "run.log")


async def forever():
    await asyncio.Event().wait()


async def test_a_trainer_is_told_everything_and_its_words_are_kept(stub, job):
    assert await train(job, forever) is None
    pid, arguments = await stub.started()
    assert not is_alive(pid)
    assert arguments == [
        "--nice", "10", "--parent", str(os.getpid()), "run", "--snapshot", str(job.snapshot),
        "--out", str(job.out), "--base", str(job.base),
    ]  # fmt: skip
    assert job.log.read_text().splitlines() == ["on standard output", "on standard error"]
    threaded = Job(job.snapshot, job.out, job.base, threads=3, log=job.log)
    assert await train(threaded, forever) is None
    _, arguments = await stub.started()
    assert arguments[4:6] == ["--threads", "3"]
    assert len(job.log.read_text().splitlines()) == 4, "another attempt's words come after the first's"


@pytest.mark.parametrize(
    ("does", "told"),
    [
        ({"code": 1, "says": "bla\nThe run was diverging.\n\n"}, "The run was diverging."),
        ({"code": 3, "says": "", "prints": ""}, "The trainer ended with 3."),
        (
            {"signal": signal.SIGKILL, "says": "UserWarning: bla"},
            "The trainer was ended by SIGKILL; SIGKILL may mean too little memory.",
        ),
    ],
)
async def test_what_went_wrong_is_told_in_one_line(stub, job, does, told):
    stub.does(**does)
    assert await train(job, forever) == told


async def test_without_a_log_the_trainer_speaks_for_itself(stub, job, capfd):
    stub.does(code=1, says="Not enough memory.")
    plain = Job(job.snapshot, job.out, job.base)
    assert await train(plain, forever) == "The trainer ended with 1."
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("on standard output\n", "Not enough memory.\n")


@pytest.mark.parametrize("hears_nothing", [False, True])
async def test_a_trainer_ends_with_whoever_waits_for_it(stub, job, monkeypatch, hears_nothing):
    monkeypatch.setattr(bot.trainer, "STOP_S", 0.3)
    stub.does(sleeps=60, **({"hears_nothing": True} if hears_nothing else {}))
    waiting = asyncio.create_task(train(job, forever))
    pid, _ = await stub.started()
    assert is_alive(pid)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert not is_alive(pid)


async def test_a_trainer_ends_when_its_run_is_lost(stub, job):
    stub.does(sleeps=60)

    async def lost():
        await stub.started()

    assert (await train(job, lost)).startswith("The trainer was ended by SIGTERM")
    pid, _ = await stub.started()
    assert not is_alive(pid)


async def test_a_lease_that_cannot_be_kept_ends_the_trainer_too(stub, job):
    stub.does(sleeps=60)

    async def broken():
        await stub.started()
        raise RuntimeError("no store")

    with pytest.raises(ExceptionGroup):
        await train(job, broken)
    pid, _ = await stub.started()
    assert not is_alive(pid)


async def test_a_trainer_does_not_outlive_a_parent_that_was_killed(stub, job):
    stub.does(sleeps=60)
    code = (
        "import asyncio, sys; from pathlib import Path; from bot.trainer import Job, train\n"
        "paths = [Path(one) for one in sys.argv[1:]]\n"
        "asyncio.run(train(Job(*paths[:3], log=paths[3]), asyncio.Event().wait))\n"
    )
    paths = map(str, (job.snapshot, job.out, job.base, job.log))
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", code, *paths)
    try:
        pid, _ = await stub.started()
        assert is_alive(pid)
    finally:
        parent.kill()
        await parent.wait()
    await until(lambda: not is_alive(pid), seconds=10)


async def test_what_a_real_process_publishes_is_registered(stub, tmp_path):
    made = tmp_path / "made"
    digest = publish(made / "li_bai" / "x", seed=4, measures=better())
    stub.does(copies=str(made / "li_bai" / "x"))
    home = Home(tmp_path / "home")
    home.prepare()
    async with open_store(home.store) as store:
        runs = Runs(store, home, sets=tmp_path, base="b", base_folder=tmp_path, fingerprint=BASE)
        new = NewRun("li_bai", BASE, "incremental", 1, state="snapshotted", snapshot_digest="s")
        run_id = await store.ledger.open_run(new)
        assert await runs.train_here("bot", logs=True) == "evaluating"
        run = await store.ledger.run(run_id)
        assert (run.challenger, run.attempt) == (digest, 1)
        stub.does(code=1, says="The run was diverging.")
        await store.ledger.give_up(run_id, "The test goes on.")
        run_id = await store.ledger.open_run(new)
        assert await runs.train_here("bot", logs=True) == "failed"
        run = await store.ledger.run(run_id)
        assert (run.state, run.error) == ("failed", "The run was diverging.")


async def a_home_with_a_waiting_run(root):
    home = Home(root)
    home.prepare()
    a_cast(home.personas)
    async with open_store(home.store) as store:
        await settled(store, home)
        new = NewRun("li_bai", BASE, "incremental", 1, state="snapshotted", snapshot_digest="s")
        return home, await store.ledger.open_run(new)


@pytest.mark.slow
async def test_a_whole_bot_trains_what_waits_says_so_and_takes_its_trainer_along(stub, tmp_path):
    """SIGTERM first, then a start from the same store and kill -9: no trainer outlives either."""
    home, run_id = await a_home_with_a_waiting_run(tmp_path / "home")
    spare = shutil.copytree(home.root, tmp_path / "spare")
    async with FakeEngine() as engine:
        settings = {"TROUPE_ENGINE_URLS": engine.url, "TROUPE_TRAIN_CRON": "0 4 1 jan *", **stub.environment}
        for root, number in ((home.root, signal.SIGTERM), (spare, signal.SIGKILL)):
            stub.does(sleeps=60)
            async with troupe_process(root, environment=settings) as running:
                pid, arguments = await stub.started()
                assert str(root / "adapters" / "li_bai" / run_id) in arguments
                votes = await until_answered(root, "votes")
                runs = {run["persona"]: run for run in votes["next_runs"]}
                assert runs["li_bai"]["waits"] == "waits for the end of the run before it (training)"
                assert runs["li_bai"]["fates"] == {"trains": 162, "held_out": 126}
                assert runs["harry_potter"]["waits"].startswith("waits for ")
                assert runs["harry_potter"]["lacking"]["rows"] == 50
                await running.end(number, seconds=15)
                await until(lambda pid=pid: not is_alive(pid), seconds=10)
        async with open_store(home.store) as store:
            run = await store.ledger.run(run_id)
            assert (run.state, run.attempt) == ("training", 1), "the next bot goes on with it"


async def until_answered(root, command):
    async with asyncio.timeout(30):
        while True:
            with contextlib.suppress(BotError, OSError):
                answer = await ask(root / "control.sock", command)
                if all(run["waits"] for run in answer["next_runs"]):
                    return answer
            await asyncio.sleep(0.1)
