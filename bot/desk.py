"""What the operator asks of the store: versions of adapters, what is live, counts of votes, people's rights.

The running bot serves it over its control socket; where none runs, the command takes the store's lock itself.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import Any

from bot import rights, run_desk
from bot.control import ask
from bot.errors import BotError, ControlUnavailable
from bot.next_run import next_runs, votes_so_far
from bot.reconcile import mirror
from data.home import Home, write_atomically
from data.manifest import ManifestError, base_fingerprint, verify
from data.records import Adapter
from data.sqlite import open_store
from data.store import Store
from engine.protocol import model_name
from training.eligibility import ENOUGH_ROWS
from training.votes import SHAPES

__all__ = ["COMMANDS", "Desk", "consult"]

COMMANDS = ("adapters", "promote", "rollback", "votes", "export", *rights.COMMANDS, *run_desk.COMMANDS)
# What these ask has nothing to do with a base.
OF_ANY_BASE = ("votes", "export", *rights.COMMANDS, *run_desk.COMMANDS)
OPERATOR = "operator"

Answer = Mapping[str, Any]


class Desk:
    """Answers commands by name; ``fingerprint`` is that of the base that is served.

    ``waits`` is what the next run of a persona waits for, as a running bot's loop last saw it, and
    ``least_rows`` what such a run takes at least.
    """

    def __init__(
        self,
        store: Store,
        home: Home,
        fingerprint: str | None,
        *,
        waits: Mapping[str, str] = MappingProxyType({}),
        least_rows: int = ENOUGH_ROWS,
    ) -> None:
        self._waits = waits
        self._least_rows = least_rows
        self._store = store
        self._home = home
        self._fingerprint = fingerprint

    async def answer(self, request: Answer) -> Answer:
        """Carries one of `COMMANDS` out.

        Raises:
            BotError: with the reason why not.
        """
        command = request.get("command")
        if command == "votes":
            counts = [asdict(count) for count in await self._store.vote_counts()]
            return {"votes": counts, "next_runs": await self._next_runs()}
        if command == "adapters":
            return {"adapters": await self._adapters()}
        for commands, answer in ((rights.COMMANDS, rights.answer), (run_desk.COMMANDS, run_desk.answer)):
            if command in commands:
                return await answer(self._store, self._home, request)
        persona = str(request.get("persona"))
        if command == "export":
            out, shape = Path(str(request.get("out"))), str(request.get("shape"))
            return await self._export(persona, shape, out, pairs=bool(request.get("pairs")))
        if command == "promote":
            return await self._promote(persona, await self._version(persona, str(request.get("version"))))
        return await self._roll_back(persona)

    async def _next_runs(self) -> list[Answer]:
        thumbs = await self._store.thumbs()
        # Beside the event loop: 4,000 thumbs take a second.
        runs = await asyncio.to_thread(
            next_runs, thumbs, least_rows=self._least_rows, also=tuple(self._waits)
        )
        return [{**run, "waits": self._waits.get(run["persona"])} for run in runs]

    async def _adapters(self) -> list[Answer]:
        aliases = await self._store.aliases(self._base)
        live: dict[tuple[str, str], list[str]] = {}
        for alias in aliases:
            live.setdefault((alias.persona, alias.digest), []).append(alias.alias)
        return [
            {
                "persona": row.persona,
                "version": row.version,
                "name": model_name(row.persona, row.digest),
                "digest": row.digest,
                "aliases": live.get((row.persona, row.digest), []),
                "path": row.path,
                "run": row.run_id,
                "snapshot": row.snapshot_digest,
            }
            for row in await self._store.adapters(self._base)
        ]

    async def _export(self, persona: str, shape: str, out: Path, *, pairs: bool) -> Answer:
        votes = await votes_so_far(self._store, persona)
        rows = votes.pairs if pairs else votes.thumbs
        lines = [json.dumps(SHAPES[shape](row), ensure_ascii=False) + "\n" for row in rows]
        try:
            await asyncio.to_thread(write_atomically, out, "".join(lines), mode=0o600)
        except OSError as error:
            raise BotError(f"{out} cannot be written: {error.strerror or error}.") from error
        good = len(rows) if pairs else sum(thumb.is_good for thumb in votes.thumbs)
        return {"rows": len(rows), "good": good, "out": str(out)}

    async def _promote(self, persona: str, adapter: Adapter) -> Answer:
        await self._check(adapter)
        await self._store.promote(persona, self._base, adapter.digest, actor=OPERATOR)
        return await self._live(persona)

    async def _roll_back(self, persona: str) -> Answer:
        ledger = self._store.ledger
        way = await ledger.way_back(persona, self._base)
        if way is None or (way.digest is None and not way.is_canary):
            raise BotError(f"{persona} has no previous version to go back to.")
        if way.digest is not None and not way.is_canary:
            await self._check(await self._version(persona, way.digest))
        await ledger.roll_back_persona(persona, self._base, OPERATOR, "An operator rolled it back.")
        return await self._live(persona)

    async def _check(self, adapter: Adapter) -> None:
        try:
            await asyncio.to_thread(verify, Path(adapter.path), base_fingerprint=self._base)
        except ManifestError as error:
            raise BotError(f"{adapter.persona} {adapter.version} cannot go live: {error}") from error

    async def _live(self, persona: str) -> Answer:
        """What the persona speaks with from now on; the mirror says so too."""
        aliases = await self._store.aliases(self._base)
        champions = {one.persona: one for one in aliases if one.alias == "champion"}
        mirror(self._home, self._base, champions)
        live = champions.get(persona)
        if live is None:
            return {"persona": persona, "version": "its card", "name": "no adapter"}
        return {"persona": persona, "version": live.version, "name": model_name(persona, live.digest)}

    async def _version(self, persona: str, wanted: str) -> Adapter:
        rows = [row for row in await self._store.adapters(self._base) if row.persona == persona]
        for row in rows:
            if wanted in {row.version, row.digest, model_name(persona, row.digest)}:
                return row
        known = ", ".join(row.version for row in rows) or "none"
        raise BotError(f"{persona} has no version {wanted} for this base; there are: {known}.")

    @property
    def _base(self) -> str:
        if self._fingerprint is None:
            raise BotError("The engine is away or cannot load our adapters.")
        return self._fingerprint


async def consult(
    home: Home, base: Path, command: str, *, least_rows: int = ENOUGH_ROWS, **arguments: str | bool
) -> Answer:
    """Asks the running bot, else looks into the store with the lock held.

    Raises:
        BotError, DataError: with the reason.
    """
    try:
        return await ask(home.control_socket, command, **arguments)
    except ControlUnavailable:
        if not home.store.is_file():
            raise BotError(f"There is no store in {home.root} yet; troupe run makes it.") from None
    fingerprint = None
    if command not in OF_ANY_BASE:
        try:
            fingerprint = base_fingerprint(base)
        except ManifestError as error:
            raise BotError(str(error)) from error
    async with AsyncExitStack() as stack:
        stack.enter_context(home.lock())
        store = await stack.enter_async_context(open_store(home.store))
        desk = Desk(store, home, fingerprint, least_rows=least_rows)
        return await desk.answer({"command": command, **arguments})
