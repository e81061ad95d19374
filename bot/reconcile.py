"""What the aliases name is what the engine has loaded; checked at start and whenever the engine came back.

Valid v0 adapters of the configured base are registered by themselves; the first of a persona becomes its
champion. `$TROUPE_HOME/champions.json` mirrors the champions for commands that never open the store.

An adapter that no alias names any more is nobody's `speaker` first and is unloaded then. Replies that use it,
or wait in the engine's queue for it, are not waited for here: the engine ends them undisturbed and lets go of
the weights after the last (`engine.core.Core.unload`; vLLM takes only the name away). A turn that had chosen
and not yet asked hears `ModelUnknown`, and chooses again.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import structlog

from bot.rest import Rest
from data.errors import DataError
from data.home import Home, write_atomically
from data.manifest import BaseDiffers, ManifestError, verify
from data.records import Adapter, Alias, AliasName
from data.run_records import ArmName, Run
from data.store import Store
from engine.errors import AdapterRefused, EngineError
from engine.protocol import Engine, EngineInfo, model_name
from training.canary import arm_of

__all__ = ["Champion", "Reconciler", "Speaker", "mirror"]

_log = structlog.get_logger(__name__)

EVERY_S = 5.0
AWAY_S = 0.5
FIRST_VERSION = "v0"


@dataclass(frozen=True, slots=True)
class Champion:
    """The adapter that a persona speaks with."""

    name: str
    digest: str


@dataclass(frozen=True, slots=True)
class Speaker:
    """With which adapter a reply is made; ``arm`` is None where no canary is going on."""

    adapter: Champion | None
    arm: ArmName | None


@dataclass(frozen=True, slots=True)
class _Canary:
    """A challenger that the engine has, and its share of the conversations in percent."""

    challenger: Champion
    run_id: str
    share: int


class Reconciler:
    """Keeps the engine's adapters as the store's aliases say."""

    def __init__(self, store: Store, engine: Engine, home: Home, *, shipped: Path) -> None:
        self._store = store
        self._engine = engine
        self._home = home
        self._shipped = shipped
        self._champions: Mapping[str, Champion] = {}
        self._canaries: Mapping[str, _Canary] = {}
        self._registered: str | None = None
        self._one_at_a_time = asyncio.Lock()
        self._nudged = asyncio.Event()
        self.info: EngineInfo | None = None
        self.rest = Rest()
        self.is_up = asyncio.Event()
        self.refused: dict[str, str] = {}

    def champion(self, persona: str) -> Champion | None:
        return self._champions.get(persona)

    def speaker(self, persona: str, conversation_id: str) -> Speaker:
        """Who speaks in a conversation from now on; a reply that is being made stays with whom it has.

        A challenger that the engine does not take is as good as no canary: the champion speaks everywhere.
        """
        champion, canary = self.champion(persona), self._canaries.get(persona)
        if canary is None:
            return Speaker(champion, None)
        arm = arm_of(conversation_id, canary.run_id, canary.share)
        return Speaker(canary.challenger if arm == "challenger" else champion, arm)

    def nudge(self) -> None:
        """Has `run` look at the aliases and canaries at once, because they changed."""
        self._nudged.set()

    async def run(self) -> None:
        """Reconciles until cancelled; an engine that is away is asked again."""
        while True:
            was_there = self.info is not None
            try:
                await self.once()
            except EngineError as error:
                # One that rests on purpose comes back as it was.
                if not self.rest.is_on:
                    if was_there:
                        _log.info("engine.away", reason=str(error))
                    self.info = None
            except (DataError, OSError) as error:
                _log.warning("adapters.unreconciled", reason=str(error))
            await self._next_look()

    async def once(self) -> None:
        """Asks the engine what it is, registers what is new and loads what is missing.

        Raises:
            EngineError: the engine does not answer.
        """
        async with self._one_at_a_time:
            info = await self._engine.info()
            self.info = info
            if not info.can_load_adapters or info.base_fingerprint is None:
                self._champions, self._canaries = {}, {}
                self._is_there()
                return
            if self._registered != info.base_fingerprint:
                await self._register(info.base_fingerprint)
                self._registered = info.base_fingerprint
            await self._load(info.base_fingerprint)
            self._is_there()

    def _is_there(self) -> None:
        self.is_up.set()
        self.rest.answered()

    async def _next_look(self) -> None:
        is_away = self.info is None or self.rest.is_on
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(AWAY_S if is_away else EVERY_S):
                await self._nudged.wait()
        # Before the next look and not after it: a nudge in the middle of one asks for another.
        self._nudged.clear()

    async def _load(self, fingerprint: str) -> None:
        aliases = await self._store.aliases(fingerprint)
        adapters = await self._store.adapters(fingerprint)
        runs = await self._store.ledger.live_runs()
        loaded = {card.id for card in await self._engine.models()}
        usable: dict[str, Adapter] = {}
        wanted: set[str] = set()
        for persona in sorted({alias.persona for alias in aliases}):
            own = {adapter.digest: adapter for adapter in adapters if adapter.persona == persona}
            named = {alias.alias: alias.digest for alias in aliases if alias.persona == persona}
            for adapter in _candidates(named, own):
                if await self._is_loaded(adapter, loaded):
                    usable[persona] = adapter
                    break
            challenger = own.get(named.get("challenger", ""))
            if challenger is not None and await self._is_loaded(challenger, loaded):
                wanted.add(_name(challenger))
        canaries = _canaries_of([run for run in runs if run.base_fingerprint == fingerprint])
        # Who speaks from now on is changed before anything is unloaded.
        self._canaries = {slug: one for slug, one in canaries.items() if one.challenger.name in wanted}
        self._champions = {
            persona: Champion(_name(adapter), adapter.digest) for persona, adapter in usable.items()
        }
        wanted |= {champion.name for champion in self._champions.values()}
        await self._unload(loaded - wanted, adapters)
        mirror(self._home, fingerprint, usable)

    async def _is_loaded(self, adapter: Adapter, loaded: set[str]) -> bool:
        name = _name(adapter)
        if name in loaded:
            return True
        try:
            await self._engine.load(name, Path(adapter.path))
        except AdapterRefused as error:
            if self.refused.get(name) != str(error):
                _log.error("adapter.refused", adapter=name, version=adapter.version, reason=str(error))
            self.refused[name] = str(error)
            return False
        self.refused.pop(name, None)
        loaded.add(name)
        return True

    async def _unload(self, names: set[str], adapters: Iterable[Adapter]) -> None:
        """Lets go of adapters of ours that no alias names any more; others are none of our business.

        Replies that use one are not waited for: the engine does that.
        """
        ours = {_name(adapter) for adapter in adapters}
        for name in sorted(names & ours):
            await self._engine.unload(name)

    async def _register(self, fingerprint: str) -> None:
        runs = {run.id for run in await self._store.ledger.runs()}
        for folder in self._folders():
            if folder.name in runs:
                continue  # registered when the run is trained; one that was only tried is nobody's first
            name = f"{folder.parent.name}/{folder.name}"
            try:
                manifest = await asyncio.to_thread(verify, folder, base_fingerprint=fingerprint)
            except BaseDiffers:
                continue  # another base's, and right for that one
            except ManifestError as error:
                self.refused[name] = str(error)
                _log.warning("adapter.invalid", folder=name, reason=str(error))
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
                found = sorted(path.parent for path in root.glob("*/*/manifest.json"))
                # A name that begins with a dot is a folder that is still being written.
                yield from (folder for folder in found if not folder.name.startswith("."))


def mirror(home: Home, fingerprint: str, champions: Mapping[str, Adapter | Alias]) -> None:
    """Writes `champions.json`, for commands that never open the store."""
    rows = {
        persona: {"name": model_name(one.persona, one.digest), "path": one.path}
        for persona, one in champions.items()
    }
    text = json.dumps({"base_fingerprint": fingerprint, "champions": rows}, indent=1, sort_keys=True)
    if not home.champions.is_file() or home.champions.read_text(encoding="utf-8") != text:
        write_atomically(home.champions, text)


def _name(adapter: Adapter) -> str:
    return model_name(adapter.persona, adapter.digest)


def _canaries_of(runs: Iterable[Run]) -> dict[str, _Canary]:
    return {
        run.persona: _Canary(
            Champion(model_name(run.persona, run.challenger), run.challenger), run.id, run.share
        )
        for run in runs
        if run.state == "canary" and run.challenger is not None and run.share is not None
    }


def _candidates(named: Mapping[AliasName, str], own: Mapping[str, Adapter]) -> list[Adapter]:
    """The champion; where its folder is broken the previous one, then the first version.

    Never a version that was only tried: a rejected one has no alias.
    """
    digests = [named[alias] for alias in ("champion", "previous") if alias in named]
    first = [one.digest for one in own.values() if one.version.split("-")[0] == FIRST_VERSION]
    return [own[digest] for digest in dict.fromkeys([*digests, *reversed(first)]) if digest in own]
