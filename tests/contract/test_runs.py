"""Training runs: leases, fencing by attempt, and nothing registered that was not verified."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from bot.errors import BotError
from bot.runs import Runs, worker_routes
from data.home import Home
from data.sqlite import open_store
from personas.loader import load_persona
from tests.fakes.adapter import adapter
from tests.fakes.clock import FakeClock

ROOT = Path(__file__).resolve().parents[2]
SECRET = "worker-secret"
FINGERPRINT = "a" * 64


@contextlib.asynccontextmanager
async def world(root):
    home = Home(root / "home")
    home.prepare()
    clock = FakeClock()
    async with open_store(home.store, clock=clock) as store:
        runs = Runs(
            store,
            home,
            sets=ROOT / "data" / "sets",
            base="starter",
            base_folder=root / "base",
            fingerprint=FINGERPRINT,
        )
        app = FastAPI()
        app.include_router(worker_routes(runs, SECRET))
        transport = httpx.ASGITransport(app=app)
        headers = {"Authorization": f"Bearer {SECRET}"}
        async with httpx.AsyncClient(transport=transport, base_url="http://bot", headers=headers) as client:
            yield runs, client, clock, store, home


@pytest.fixture(name="persona")
def _persona(tmp_path):
    folder = tmp_path / "personas" / "li_bai"
    shutil.copytree(ROOT / "personas" / "li_bai", folder)
    return load_persona(folder)


async def test_a_run_is_claimed_once_and_carries_its_snapshot(tmp_path, persona):
    async with world(tmp_path) as (runs, client, _clock, _store, home):
        run_id = await runs.start_corpus(persona, recipe="quick")
        claim = (await client.post("/worker/claim", json={"owner": "one"})).json()
        assert (claim["id"], claim["attempt"]) == (run_id, 1)
        assert (home.root / claim["snapshot"] / "snapshot.json").is_file()
        assert (await client.post("/worker/claim", json={"owner": "two"})).status_code == 204


async def test_a_second_run_of_a_persona_waits_for_the_first(tmp_path, persona):
    async with world(tmp_path) as (runs, _client, _clock, _store, _home):
        await runs.start_corpus(persona, recipe="quick")
        with pytest.raises(BotError, match="going on already"):
            await runs.start_corpus(persona, recipe="quick")


async def test_a_lease_that_ran_out_goes_to_another_worker_and_the_late_one_is_refused(tmp_path, persona):
    async with world(tmp_path) as (runs, client, clock, store, _home):
        await runs.start_corpus(persona, recipe="quick")
        first = (await client.post("/worker/claim", json={"owner": "one"})).json()
        attempt = {"id": first["id"], "owner": "one", "attempt": 1}
        assert (await client.post("/worker/renew", json=attempt)).status_code == 200
        clock.advance(first["lease_s"] + 1)
        second = (await client.post("/worker/claim", json={"owner": "two"})).json()
        assert (second["id"], second["attempt"]) == (first["id"], 2)
        assert (await client.post("/worker/renew", json=attempt)).status_code == 409
        late = await client.post("/worker/finish", json={**attempt, "ok": True})
        assert late.status_code == 409
        (run,) = await store.ledger.runs()
        assert run.state == "training"


async def test_a_run_without_a_valid_adapter_fails_with_the_reason(tmp_path, persona):
    async with world(tmp_path) as (runs, client, _clock, store, _home):
        await runs.start_corpus(persona, recipe="quick")
        claim = (await client.post("/worker/claim", json={"owner": "one"})).json()
        done = {"id": claim["id"], "owner": "one", "attempt": 1, "ok": True}
        assert (await client.post("/worker/finish", json=done)).status_code == 200
        (run,) = await store.ledger.runs()
        assert run.state == "failed"
        assert "no adapter folder" in run.error
        assert await store.adapters(FINGERPRINT) == ()


async def test_a_trained_corpus_run_is_registered_and_champion_where_there_was_none(tmp_path, persona):
    async with world(tmp_path) as (runs, client, _clock, store, home):
        for seed, aliases in ((1, ["champion"]), (2, [])):
            run_id = await runs.start_corpus(persona, recipe="quick")
            claim = (await client.post("/worker/claim", json={"owner": "one"})).json()
            digest = adapter(home.root / claim["out"], fingerprint=FINGERPRINT, seed=seed)
            done = {"id": run_id, "owner": "one", "attempt": 1, "ok": True}
            for _ in range(2):  # the answer to the first may have been lost
                assert (await client.post("/worker/finish", json=done)).status_code == 200
            run = await store.ledger.run(run_id)
            assert (run.state, run.challenger) == ("promoted", digest)
            live = await store.aliases(FINGERPRINT)
            assert [one.alias for one in live if one.digest == digest] == aliases


async def test_a_run_that_is_refused_leaves_no_snapshot(tmp_path, persona):
    async with world(tmp_path) as (runs, _client, _clock, _store, home):
        run_id = await runs.start_corpus(persona, recipe="quick")
        with pytest.raises(BotError):
            await runs.start_corpus(persona, recipe="quick")
        assert [folder.name for folder in home.snapshots.iterdir()] == [run_id]


async def test_without_the_secret_nothing_is_told(tmp_path, persona):
    async with world(tmp_path) as (runs, client, _clock, store, _home):
        await runs.start_corpus(persona, recipe="quick")
        answer = await client.post(
            "/worker/claim", json={"owner": "one"}, headers={"Authorization": "Bearer wrong"}
        )
        assert answer.status_code == 401
        (run,) = await store.ledger.runs()
        assert run.state == "snapshotted"
