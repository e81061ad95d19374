"""The bench of the loop on real store, core and gate; engine and trainer are stand-ins."""

from __future__ import annotations

import asyncio
import itertools
import json
from dataclasses import replace

import pytest
from aiohttp import web

from bot.bench.attacks import attack_of
from bot.bench.command import measure
from bot.bench.loop import Silent
from bot.bench.options import Options, Site
from bot.bench.report import line
from bot.bench.talks import Habits
from bot.bench.tastes import Hidden, Taste
from bot.bench.world import CANARY
from bot.settings import Settings
from data.manifest import write_manifest
from data.snapshot import SnapshotError, read_snapshot
from tests.fakes.adapter import adapter
from tests.fakes.engine import FINGERPRINT, FakeEngine
from tests.fakes.measured import measured
from tests.fakes.troupe import ROOT
from training.measures import MEASURES, write_measures

pytestmark = pytest.mark.long

HARRY = "harry_potter"
KEYS = {"taste", "guards", "promotions", "refusals", "rollbacks", "baselines"}
GUARDS = {"lore", "retention", "language", "repetition", "character", "sycophancy", "safety", "length"}


class Engine(FakeEngine):
    """Names a tokenizer, so that nothing is counted over HTTP."""

    async def _health(self, request):
        values = json.loads((await super()._health(request)).body)
        return web.json_response(values | {"tokenizer": str(ROOT / "data" / "starter" / "tokenizer.json")})


class Trainer:
    """Publishes an adapter that nobody computed, measured as ``lean`` says."""

    def __init__(self):
        self.lean = 3.0
        self.takes_s = 0.0
        self.seeds = itertools.count(1)

    async def train(self, job, keep):
        del keep
        try:
            read_snapshot(job.snapshot)
        except SnapshotError as error:
            return str(error)
        adapter(job.out, seed=next(self.seeds))
        write_measures(job.out / MEASURES, measured(lean=self.lean))
        (job.out / "report.json").write_text(json.dumps({"first_loss": 2.5, "last_loss": 1.25}))
        checkpoint = job.out.with_name(f".work-{job.out.name}") / "digest" / "checkpoint-10"
        checkpoint.mkdir(parents=True)
        log = {"log_history": [{"step": 5, "loss": 2.0}, {"step": 10, "grad_norm": 1.0}]}
        (checkpoint / "trainer_state.json").write_text(json.dumps(log))
        await asyncio.sleep(self.takes_s)
        write_manifest(job.out, base_fingerprint=FINGERPRINT, details={"persona": HARRY})
        return None


@pytest.fixture(name="trainer")
def _trainer(monkeypatch):
    trainer = Trainer()
    monkeypatch.setattr("bot.runs.train", trainer.train)
    # Here all vote on everything, and six votes on one reply are no six replies: at the usual confidence an
    # equal challenger is sent back by chance in 3 of 100 canaries.
    monkeypatch.setattr("bot.bench.world.CANARY", replace(CANARY, confidence=0.9999))
    return trainer


class Heard(Silent):
    """Keeps the lines."""

    def __init__(self):
        self.lines = []

    def say(self, line):
        self.lines.append(line)


async def found(tmp_path, *, live=None, is_demo=False, **more):
    """What a bench of one persona and one round finds."""
    adapter(tmp_path / "shipped" / HARRY / "v0")
    site = Site(ROOT / "personas", ROOT / "data" / "sets", tmp_path / "shipped", tmp_path / "base")
    likes = {HARRY: Hidden((Taste("even", lambda question, _: len(question) % 2 == 0),))}
    # Everybody votes on everything, so that few replies are enough.
    habits = Habits(turns=(1,), voted=1.0, others=5.0, judged=0.5)
    async with Engine(context=4096, reply="So I say.") as engine:
        settings = Settings(engine_urls=(engine.url,))
        options = Options(likes, **{"rounds": 1, "replies": 240, "prompts": 8, "habits": habits} | more)
        return await measure(site, settings, options, live or Silent(), is_demo=is_demo)


async def test_votes_become_a_version_that_people_hear(tmp_path, trainer):
    document = await found(tmp_path)
    assert document.keys() >= KEYS
    assert document["guards"].keys() == GUARDS
    assert all(set(span) == {"start", "end", "n"} for span in document["guards"].values())
    assert (document["promotions"], document["refusals"], document["rollbacks"]) == (1, 0, 0)
    assert [(run["round"], run["state"]) for run in document["runs"]] == [(1, "promoted")]
    assert document["taste"]["even"]["n"] == 8
    assert len(document["personas"][HARRY]["curve"]) == 2


async def test_what_votes_do_not_favour_stays_out(tmp_path, trainer):
    trainer.lean = 0.0
    document = await found(tmp_path)
    assert (document["promotions"], document["refusals"]) == (0, 1)
    assert "held-out votes" in document["runs"][0]["reason"]
    assert all(span["start"] == span["end"] for span in document["guards"].values())


async def test_without_the_gate_it_goes_live_all_the_same(tmp_path, trainer):
    trainer.lean = 0.0
    document = await found(tmp_path, is_gated=False)
    assert (document["promotions"], document["refusals"]) == (1, 0)


async def test_a_vote_slipped_into_a_snapshot_ends_the_run(tmp_path, trainer):
    document = await found(tmp_path, attack=attack_of("tampered-snapshot"))
    assert (document["promotions"], document["refusals"]) == (0, 1)
    assert "was changed after it was written" in document["runs"][0]["reason"]
    assert document["guards"] == {}
    assert '"worst": {"guard": null' in line(document, on="2027-01-04")


async def test_the_demonstration_shows_every_step_to_the_rollback(tmp_path, trainer, monkeypatch):
    monkeypatch.setattr("bot.bench.demo.LOOK_EVERY_S", 0.01)
    trainer.takes_s = 0.2
    live = Heard()
    document = await found(tmp_path, live=live, is_demo=True)
    assert [document[name] for name in ("promotions", "refusals", "rollbacks")] == [1, 1, 1]
    told = "\n".join(live.lines)
    steps = (
        "would train",
        "Somebody adds a vote",
        "was changed after it was written",
        "training, step 5: loss 2.000",
        "Loss 2.500 at first, 1.250 at last",
        "| facts of the persona's world (lore) |",
        "promoted",
        "  before: So I say.\n  after:  So I say.",
        "A moderator presses rollback",
    )
    assert [told.find(step) for step in steps] == sorted(told.find(step) for step in steps)
    assert all(step in told for step in steps)
    assert live.lines[-1].startswith(f"{HARRY} speaks with {HARRY}@")
