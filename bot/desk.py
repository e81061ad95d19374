"""What the operator asks of the store: versions of adapters, what is live, counts of votes.

The running bot serves it over its control socket; where none runs, the command takes the store's lock itself.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bot.control import ask
from bot.errors import BotError, ControlUnavailable
from bot.next_run import next_runs, vote_rows
from bot.reconcile import mirror
from data.home import Home, write_atomically
from data.manifest import ManifestError, base_fingerprint, verify
from data.records import Adapter, AliasName
from data.sqlite import open_store
from data.store import Store
from engine.protocol import model_name
from training.votes import SHAPES

__all__ = ["COMMANDS", "Desk", "consult"]

COMMANDS = ("adapters", "promote", "rollback", "votes", "export")
# What these ask has nothing to do with a base.
OF_ANY_BASE = ("votes", "export")
OPERATOR = "operator"

Answer = Mapping[str, Any]


class Desk:
    """Answers commands by name; ``fingerprint`` is that of the base that is served."""

    def __init__(self, store: Store, home: Home, fingerprint: str | None) -> None:
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
            return {"votes": counts, "next_runs": next_runs(await self._store.thumbs())}
        if command == "adapters":
            return {"adapters": await self._adapters()}
        persona = str(request.get("persona"))
        if command == "export":
            return await self._export(persona, str(request.get("shape")), Path(str(request.get("out"))))
        if command == "promote":
            return await self._promote(persona, await self._version(persona, str(request.get("version"))))
        previous = await self._aliased(persona, "previous")
        if previous is None:
            raise BotError(f"{persona} has no previous version to go back to.")
        return await self._promote(persona, previous)

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

    async def _export(self, persona: str, shape: str, out: Path) -> Answer:
        rows = [row for row in await vote_rows(self._store, persona) if not row.is_held_out]
        lines = [json.dumps(SHAPES[shape](row), ensure_ascii=False) + "\n" for row in rows]
        try:
            await asyncio.to_thread(write_atomically, out, "".join(lines), mode=0o600)
        except OSError as error:
            raise BotError(f"{out} cannot be written: {error.strerror or error}.") from error
        return {"rows": len(rows), "good": sum(row.is_good for row in rows), "out": str(out)}

    async def _promote(self, persona: str, adapter: Adapter) -> Answer:
        try:
            await asyncio.to_thread(verify, Path(adapter.path), base_fingerprint=self._base)
        except ManifestError as error:
            raise BotError(f"{persona} {adapter.version} cannot go live: {error}") from error
        await self._store.promote(persona, self._base, adapter.digest, actor=OPERATOR)
        aliases = await self._store.aliases(self._base)
        mirror(self._home, self._base, {one.persona: one for one in aliases if one.alias == "champion"})
        return {"persona": persona, "version": adapter.version, "name": model_name(persona, adapter.digest)}

    async def _version(self, persona: str, wanted: str) -> Adapter:
        rows = [row for row in await self._store.adapters(self._base) if row.persona == persona]
        for row in rows:
            if wanted in {row.version, row.digest, model_name(persona, row.digest)}:
                return row
        known = ", ".join(row.version for row in rows) or "none"
        raise BotError(f"{persona} has no version {wanted} for this base; there are: {known}.")

    async def _aliased(self, persona: str, alias: AliasName) -> Adapter | None:
        named = [one for one in await self._store.aliases(self._base) if one.alias == alias]
        digest = next((one.digest for one in named if one.persona == persona), None)
        rows: Sequence[Adapter] = await self._store.adapters(self._base)
        return next((row for row in rows if row.persona == persona and row.digest == digest), None)

    @property
    def _base(self) -> str:
        if self._fingerprint is None:
            raise BotError("The engine is away or cannot load our adapters.")
        return self._fingerprint


async def consult(home: Home, base: Path, command: str, **arguments: str) -> Answer:
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
        return await Desk(store, home, fingerprint).answer({"command": command, **arguments})
