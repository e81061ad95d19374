"""What the aliases name is what the engine has loaded; checked at start and whenever the engine came back.

Valid v0 adapters of the configured base are registered by themselves; the first of a persona becomes its
champion. `$TROUPE_HOME/champions.json` mirrors the champions for commands that never open the store.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import structlog

from data.home import Home, write_atomically
from data.manifest import ManifestError, verify
from data.records import Adapter, Alias
from data.store import Store
from engine.errors import EngineError
from engine.protocol import Engine, EngineInfo, model_name

__all__ = ["Champion", "Reconciler"]

_log = structlog.get_logger(__name__)

EVERY_S = 5.0
SERVED = ("champion", "challenger")


@dataclass(frozen=True, slots=True)
class Champion:
    """The adapter that a persona speaks with."""

    name: str
    digest: str


class Reconciler:
    """Keeps the engine's adapters as the store's aliases say."""

    def __init__(self, store: Store, engine: Engine, home: Home, *, shipped: Path) -> None:
        self._store = store
        self._engine = engine
        self._home = home
        self._shipped = shipped
        self._champions: Mapping[str, Champion] = {}
        self._registered: str | None = None
        self.info: EngineInfo | None = None
        self.refused: dict[str, str] = {}

    def champion(self, persona: str) -> Champion | None:
        return self._champions.get(persona)

    async def run(self) -> None:
        """Reconciles until cancelled; an engine that is away is asked again."""
        while True:
            try:
                await self.once()
            except EngineError as error:
                _log.info("engine.away", reason=str(error))
                self.info = None
            await asyncio.sleep(EVERY_S if self.info is not None else 0.5)

    async def once(self) -> None:
        """Asks the engine what it is, registers what is new and loads what is missing.

        Raises:
            EngineError: the engine does not answer.
        """
        info = await self._engine.info()
        self.info = info
        if not info.can_load_adapters or info.base_fingerprint is None:
            self._champions = {}
            return
        if self._registered != info.base_fingerprint:
            await self._register(info.base_fingerprint)
            self._registered = info.base_fingerprint
        aliases = await self._store.aliases(info.base_fingerprint)
        loaded = {card.id for card in await self._engine.models()}
        usable = {}
        for alias in aliases:
            name = model_name(alias.persona, alias.digest)
            if alias.alias in SERVED and name not in loaded:
                loaded |= await self._load(alias, name)
            if alias.alias == "champion" and name in loaded:
                usable[alias.persona] = Champion(name, alias.digest)
        self._champions = usable
        self._mirror(info.base_fingerprint, aliases)

    async def _load(self, alias: Alias, name: str) -> set[str]:
        try:
            await self._engine.load(name, Path(alias.path))
        except EngineError as error:
            self.refused[name] = str(error)
            _log.error("adapter.refused", adapter=name, reason=str(error))
            return set()
        self.refused.pop(name, None)
        return {name}

    async def _register(self, fingerprint: str) -> None:
        for folder in self._folders():
            try:
                manifest = await asyncio.to_thread(verify, folder, base_fingerprint=fingerprint)
            except ManifestError as error:
                self.refused[f"{folder.parent.name}/{folder.name}"] = str(error)
                _log.warning("adapter.invalid", folder=folder.name, reason=str(error))
                continue
            await self._store.add_adapter(
                Adapter(
                    digest=manifest.digest,
                    persona=folder.parent.name,
                    version=folder.name,
                    base_fingerprint=fingerprint,
                    path=str(folder.resolve()),
                    snapshot_digest=manifest.details.get("snapshot"),
                    config_digest=manifest.details.get("config"),
                ),
                champion_if_none=True,
            )

    def _folders(self) -> Iterable[Path]:
        for root in (self._shipped, self._home.adapters):
            if root.is_dir():
                yield from sorted(path.parent for path in root.glob("*/*/manifest.json"))

    def _mirror(self, fingerprint: str, aliases: Iterable[Alias]) -> None:
        champions = {
            alias.persona: {"name": model_name(alias.persona, alias.digest), "path": alias.path}
            for alias in aliases
            if alias.alias == "champion"
        }
        text = json.dumps({"base_fingerprint": fingerprint, "champions": champions}, indent=1, sort_keys=True)
        if not self._home.champions.is_file() or self._home.champions.read_text(encoding="utf-8") != text:
            write_atomically(self._home.champions, text)
