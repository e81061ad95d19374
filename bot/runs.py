"""Training runs: a snapshot out, an adapter in.

The bot writes the snapshot and the run's row; whoever trains (a subprocess on this machine, a worker
elsewhere) turns it into an adapter folder. What comes back is verified before it is registered. An adapter
becomes champion by itself only where the persona had none.
"""

from __future__ import annotations

import asyncio
import secrets
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import structlog
from fastapi import APIRouter, Header, HTTPException, Response
from pydantic import BaseModel

from bot.errors import BotError
from bot.trainer import Job, train
from data.clock import SystemClock
from data.errors import DataError
from data.home import Home
from data.ids import new_id
from data.manifest import ManifestError, verify
from data.records import Adapter
from data.run_records import NewRun, Run
from data.run_states import LIVE
from data.snapshot import write_snapshot
from data.store import Store
from personas.loader import Persona

__all__ = ["SEED", "SETS", "Runs", "there", "worker_routes"]

_log = structlog.get_logger(__name__)

LEASE_S = 60.0
SEED = 7
# An adapter trained from written dialogues; votes make others.
SETS = ("general.jsonl", "lore_use.jsonl", "memory_use.jsonl")
LONGEST_ERROR = 400


class Runs:
    """Starts, hands out and finishes runs for one base."""

    def __init__(
        self, store: Store, home: Home, *, sets: Path, base: str, base_folder: Path, fingerprint: str
    ) -> None:
        self._store = store
        self._home = home
        self._sets = sets
        self._base = base
        self._base_folder = base_folder
        self._fingerprint = fingerprint

    async def start_corpus(self, persona: Persona, *, recipe: str) -> str:
        """Writes the snapshot of a run from the written dialogues and its row; returns the run's id.

        Raises:
            BotError: another run of the persona is going on, or there is nothing to train on.
        """
        if not persona.examples.all:
            raise BotError(f"{persona.slug} has no dialogues.jsonl to train on; write some dialogues first.")
        # Its name is known before its row is there: no row ever names a folder that is not written.
        run_id = new_id(SystemClock().now())
        snapshot = await asyncio.to_thread(
            write_snapshot,
            self._home.snapshots / run_id,
            persona_folder=persona.folder,
            general=there(self._sets, SETS),
            base=self._base,
            base_fingerprint=self._fingerprint,
            recipe=recipe,
            seed=SEED,
        )
        new = NewRun(
            persona.slug,
            self._fingerprint,
            "corpus",
            SEED,
            id=run_id,
            state="snapshotted",
            snapshot_digest=snapshot.digest,
        )
        if await self._store.ledger.open_run(new) is None:
            await asyncio.to_thread(shutil.rmtree, self._home.snapshots / run_id)
            raise BotError(f"A run of {persona.slug} is going on already; wait for it to end.")
        return run_id

    async def train_here(
        self, owner: str, *, run_id: str | None = None, threads: int | None = None, logs: bool = False
    ) -> str | None:
        """Claims a run, by default the oldest that waits, and trains it in a subprocess; else as `finish`.

        ``logs``: the trainer's words go to `$TROUPE_HOME/runs`, else to this process's own output.
        """
        run = await self._store.ledger.claim(owner, lease_s=LEASE_S, run_id=run_id)
        if run is None:
            return None
        log = self._home.runs / f"{run.id}.log" if logs else None
        job = Job(self._snapshot(run), self.out(run), self._base_folder, threads, log)
        error = await train(job, lambda: self._keep(run, owner))
        state = await self.finish(run.id, owner, run.attempt, error=error)
        await self._clear(run.id)
        return state

    async def claim(self, owner: str, *, run_id: str | None = None) -> Mapping[str, Any] | None:
        """What a worker needs to train the next run; paths are relative to the shared folder."""
        run = await self._store.ledger.claim(owner, lease_s=LEASE_S, run_id=run_id)
        if run is None:
            return None
        root = self._home.root
        return {
            "id": run.id,
            "attempt": run.attempt,
            "snapshot": str(self._snapshot(run).relative_to(root)),
            "out": str(self.out(run).relative_to(root)),
            "lease_s": LEASE_S,
        }

    async def renew(self, run_id: str, owner: str, attempt: int) -> bool:
        return await self._store.ledger.renew(run_id, owner, attempt, lease_s=LEASE_S)

    async def finish(self, run_id: str, owner: str, attempt: int, *, error: str | None) -> str | None:
        """Registers what a run made; returns the run's last state, None where another attempt has it."""
        ledger = self._store.ledger
        run = await ledger.run(run_id)
        if run is None:
            return None
        adapter = None
        if error is None:
            try:
                adapter = await asyncio.to_thread(self._verified, run)
            except ManifestError as problem:
                error = str(problem)
        if adapter is None:
            text = (error or "")[:LONGEST_ERROR]
            if not await ledger.fail(run_id, owner, attempt, text):
                return None
            _log.error("run.failed", run=run_id, persona=run.persona, reason=error)
            return "failed"
        state = await ledger.trained(run_id, owner, attempt, adapter, adapter.report)
        if state is not None:
            _log.info("run.trained", run=run_id, persona=run.persona, version=adapter.version, state=state)
        return state

    async def _keep(self, run: Run, owner: str) -> None:
        """Renews the lease until it is lost."""
        is_ours = True
        while is_ours:
            await asyncio.sleep(LEASE_S / 3)
            try:
                is_ours = await self.renew(run.id, owner, run.attempt)
            except DataError as error:
                # Two more may fail before the lease runs out.
                _log.warning("lease.not_renewed", run=run.id, reason=str(error))

    async def _clear(self, run_id: str) -> None:
        """Deletes what was written for a run that ended without an adapter; a live one's is its worker's."""
        run = await self._store.ledger.run(run_id)
        if run is None or run.state in LIVE or run.challenger is not None:
            return
        out = self.out(run)
        for name in (out.name, f".part-{out.name}", f".work-{out.name}"):
            await asyncio.to_thread(shutil.rmtree, out.with_name(name), ignore_errors=True)

    def _snapshot(self, run: Run) -> Path:
        return self._home.snapshots / run.id

    def out(self, run: Run) -> Path:
        """Where the run's adapter appears."""
        return self._home.adapters / run.persona / run.id

    def _verified(self, run: Run) -> Adapter:
        folder = self.out(run)
        manifest = verify(folder, base_fingerprint=run.base_fingerprint)
        report = folder / "report.json"
        return Adapter(
            digest=manifest.digest,
            persona=run.persona,
            version=run.id,
            base_fingerprint=run.base_fingerprint,
            path=str(folder),
            parent=manifest.details.get("parent"),
            run_id=run.id,
            snapshot_digest=run.snapshot_digest,
            config_digest=manifest.details.get("config"),
            report=report.read_text(encoding="utf-8") if report.is_file() else None,
        )


def there(folder: Path, names: Sequence[str]) -> list[Path]:
    """The files of those names that the folder has."""
    return [path for name in names if (path := folder / name).is_file()]


Authorization = Annotated[str | None, Header()]


class _Named(BaseModel):
    owner: str


class _Attempt(_Named):
    id: str
    attempt: int


class _Result(_Attempt):
    ok: bool
    error: str | None = None


def worker_routes(runs: Runs, secret: str) -> APIRouter:
    """The routes of `python -m training worker`, for whoever knows the shared secret."""
    router = APIRouter(prefix="/worker")

    def check(authorization: str | None) -> None:
        if not secrets.compare_digest(authorization or "", f"Bearer {secret}"):
            raise HTTPException(401, "The worker's secret is wrong; set TROUPE_WORKER_SECRET on both sides.")

    @router.post("/claim")
    async def claim(body: _Named, authorization: Authorization = None) -> Any:
        check(authorization)
        found = await runs.claim(body.owner)
        return Response(status_code=204) if found is None else found

    @router.post("/renew")
    async def renew(body: _Attempt, authorization: Authorization = None) -> Any:
        check(authorization)
        return _accepted(await runs.renew(body.id, body.owner, body.attempt))

    @router.post("/finish")
    async def finish(body: _Result, authorization: Authorization = None) -> Any:
        check(authorization)
        error = None if body.ok else body.error or "the worker did not say why"
        return _accepted(await runs.finish(body.id, body.owner, body.attempt, error=error) is not None)

    return router


def _accepted(is_ours: bool) -> Mapping[str, Sequence[str]]:  # noqa: FBT001 - one fact
    if not is_ours:
        raise HTTPException(409, "This run is another attempt's by now.")
    return {}
