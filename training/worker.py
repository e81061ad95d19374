"""A training worker on any machine: claims runs over the bot's HTTP, trains, reports; torch-free itself.

```
idle ──claim──► training ──finish──► idle
                   └─ lease lost (renew refused) ──► stop the trainer, tell nobody
```
Snapshots and adapters travel by a shared folder; the bot names both relative to its own. A claim carries an
attempt number, and a worker whose attempt is no longer the newest is refused, so that two never publish.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

__all__ = ["Claim", "Worker"]

_log = logging.getLogger(__name__)

IDLE_S = 5.0
# A third of the lease: two renewals may fail before it is lost.
RENEWALS_PER_LEASE = 3
STOP_S = 5.0
ERROR_TAIL = 400
NO_CONTENT = 204
CONFLICT = 409


@dataclass(frozen=True, slots=True)
class Claim:
    """One run to train: ``snapshot`` and ``out`` are paths below the shared folder."""

    id: str
    attempt: int
    snapshot: str
    out: str
    lease_s: float


class Worker:
    """Works until cancelled; a bot that is away is asked again."""

    def __init__(
        self, bot: str, secret: str, *, name: str, shared: Path, base: Path, threads: int | None = None
    ) -> None:
        self._bot = bot.rstrip("/")
        self._headers = {"Authorization": f"Bearer {secret}"}
        self._name = name
        self._shared = shared
        self._base = base
        self._threads = threads

    async def run(self) -> None:
        async with httpx.AsyncClient(headers=self._headers, timeout=10) as client:
            while True:
                claim = await self._claim(client)
                if claim is None:
                    await asyncio.sleep(IDLE_S)
                    continue
                _log.info("claimed run %s, attempt %d", claim.id, claim.attempt)
                await self._work(client, claim)

    async def _claim(self, client: httpx.AsyncClient) -> Claim | None:
        try:
            answer = await client.post(f"{self._bot}/worker/claim", json={"owner": self._name})
            answer.raise_for_status()
        except httpx.HTTPError as error:
            _log.warning("no run from %s: %s", self._bot, error)
            return None
        return None if answer.status_code == NO_CONTENT else Claim(**answer.json())

    async def _work(self, client: httpx.AsyncClient, claim: Claim) -> None:
        trainer = await asyncio.create_subprocess_exec(
            *self._command(claim), stderr=asyncio.subprocess.PIPE, start_new_session=True
        )
        try:
            async with asyncio.TaskGroup() as tasks:
                renewing = tasks.create_task(self._renew(client, claim, trainer))
                _, errors = await trainer.communicate()
                renewing.cancel()
        finally:
            await _end(trainer)
        result: dict[str, Any] = {"ok": trainer.returncode == 0}
        if trainer.returncode:
            result["error"] = errors.decode(errors="replace")[-ERROR_TAIL:].strip()
        await self._tell(client, "finish", claim, result)

    async def _renew(
        self, client: httpx.AsyncClient, claim: Claim, trainer: asyncio.subprocess.Process
    ) -> None:
        while True:
            await asyncio.sleep(claim.lease_s / RENEWALS_PER_LEASE)
            if await self._tell(client, "renew", claim, {}) == CONFLICT:
                _log.warning("run %s is somebody else's now", claim.id)
                await _end(trainer)
                return

    async def _tell(
        self, client: httpx.AsyncClient, what: str, claim: Claim, values: Mapping[str, Any]
    ) -> int | None:
        body = {"id": claim.id, "owner": self._name, "attempt": claim.attempt, **values}
        try:
            return (await client.post(f"{self._bot}/worker/{what}", json=body)).status_code
        except httpx.HTTPError as error:
            _log.warning("the bot did not hear %s of run %s: %s", what, claim.id, error)
            return None

    def _command(self, claim: Claim) -> list[str]:
        command = [sys.executable, "-m", "training"]
        if self._threads is not None:
            command += ["--threads", str(self._threads)]
        command += ["run", "--snapshot", str(self._shared / claim.snapshot)]
        return [*command, "--out", str(self._shared / claim.out), "--base", str(self._base)]


async def _end(trainer: asyncio.subprocess.Process) -> None:
    if trainer.returncode is not None:
        return
    trainer.terminate()
    try:
        async with asyncio.timeout(STOP_S):
            await trainer.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            trainer.kill()
        await trainer.wait()
