"""A run from votes is opened: its votes are taken, its snapshot written, and then it waits for a trainer.

```
rows read ──► run row with its votes ──► snapshot folder ──► `snapshotted`
                     ├ somebody was forgotten meanwhile: given up, and opened anew at the next tick
                     └ the bot was killed: given up at its next start (`bot.leftovers`)
```
An incremental run continues the champion on votes that no version has learnt. A rebuild begins at the first
version and reads every vote that is left: that is how a forgotten person's words leave an adapter.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from bot.errors import BotError, NothingToLearn, SnapshotUnwritten
from bot.next_run import votes_so_far
from bot.runs import SEED, SETS, there
from data.clock import Clock
from data.erasure import FORGOTTEN
from data.home import Home
from data.ids import new_id
from data.records import Adapter
from data.run_records import NewRun
from data.snapshot import Snapshot, write_snapshot
from data.store import Store
from engine.protocol import model_name
from personas.loader import Persona
from training.vote_rows import Votes

__all__ = ["CUT_SHORT", "INTERRUPTED", "VoteRuns"]

FIRST_VERSION = "v0"
OWN_GUARDS = ("choices.jsonl", "sycophancy.jsonl")
GUARDS = ("retention.jsonl", "safety.jsonl")
INTERRUPTED = "The bot ended before the snapshot was written."
FORGOTTEN_MEANWHILE = "Somebody was forgotten while the snapshot was written."
# Why a run was given up that is no failure of what it was to learn: it may be begun again at once.
CUT_SHORT = frozenset({INTERRUPTED, FORGOTTEN_MEANWHILE, FORGOTTEN})

Kind = Literal["incremental", "rebuild"]


class VoteRuns:
    """Opens runs from votes for one base."""

    def __init__(
        self, store: Store, home: Home, *, sets: Path, base: str, fingerprint: str, recipe: str, clock: Clock
    ) -> None:
        self._store = store
        self._home = home
        self._sets = sets
        self._base = base
        self._fingerprint = fingerprint
        self._recipe = recipe
        self._clock = clock

    async def open(self, persona: Persona, kind: Kind) -> str | None:
        """The new run's id; None where another run of the persona goes on or somebody was just forgotten.

        Raises:
            BotError: the persona has no adapter to continue.
            NothingToLearn: nobody has voted yet.
            SnapshotUnwritten: the run is there, and has failed.
            VotesGone: a vote was taken back while its run was opened.
        """
        forgotten = await self._store.erasures.latest()
        versions = champion, first = await self._versions(persona.slug)
        votes = await votes_so_far(self._store, persona.slug, again=kind == "rebuild")
        if votes.is_empty:
            raise NothingToLearn(f"Nothing that people said of {persona.slug} can be trained on yet.")
        begins = champion if kind == "incremental" else first
        new = NewRun(
            persona.slug,
            self._fingerprint,
            kind,
            SEED,
            id=new_id(self._clock.now()),
            reference_version=begins.version,
        )
        run_id = await self._store.ledger.open_run(new, _weights(votes))
        if run_id is None:
            return None
        problem = None
        try:
            snapshot = await asyncio.to_thread(self._write, run_id, persona, votes, begins, versions)
        except OSError as error:
            problem = f"The snapshot of run {run_id} cannot be written: {error}."
        # Rows for measuring are no votes of the run: only this comparison sees that one was forgotten.
        if await self._store.erasures.latest() != forgotten:
            await self._give_up(run_id, FORGOTTEN_MEANWHILE)
            return None
        if problem is not None:
            await self._give_up(run_id, problem)
            raise SnapshotUnwritten(problem)
        if not await self._store.ledger.snapshotted(run_id, snapshot.digest):
            await self._give_up(run_id, INTERRUPTED)
            return None
        return run_id

    async def first_version(self, slug: str) -> Adapter:
        """What a rebuild of the persona begins with.

        Raises:
            BotError: the persona has no adapter.
        """
        return (await self._versions(slug))[1]

    def _write(
        self, run_id: str, persona: Persona, votes: Votes, begins: Adapter, versions: tuple[Adapter, Adapter]
    ) -> Snapshot:
        champion, first = versions
        return write_snapshot(
            self._home.snapshots / run_id,
            persona_folder=persona.folder,
            general=there(self._sets, SETS),
            base=self._base,
            base_fingerprint=self._fingerprint,
            recipe=self._recipe,
            seed=SEED,
            reference=Path(begins.path),
            reference_name=model_name(begins.persona, begins.digest),
            first=Path(first.path),
            champion=Path(champion.path),
            guards=[*there(persona.folder, OWN_GUARDS), *there(self._sets, GUARDS)],
            votes=votes.files(),
        )

    async def _give_up(self, run_id: str, reason: str) -> None:
        """Ends the run, if that is not done, and deletes what was written for it."""
        await self._store.ledger.give_up(run_id, reason)
        for name in (run_id, f".part-{run_id}"):
            await asyncio.to_thread(shutil.rmtree, self._home.snapshots / name, ignore_errors=True)

    async def _versions(self, slug: str) -> tuple[Adapter, Adapter]:
        """The persona's champion and its first version."""
        own = [one for one in await self._store.adapters(self._fingerprint) if one.persona == slug]
        aliases = await self._store.aliases(self._fingerprint)
        live = {one.digest for one in aliases if (one.persona, one.alias) == (slug, "champion")}
        champion = next((one for one in own if one.digest in live), None)
        if champion is None:
            raise BotError(
                f"{slug} has no adapter that votes could improve; train one with troupe train {slug}."
            )
        # Built anew, a first version is called v0-<digest>; the newest counts.
        firsts = [one for one in own if one.version.split("-")[0] == FIRST_VERSION]
        corpus = [one for one in own if one.parent is None]
        return champion, (firsts or corpus or [champion])[-1]


def _weights(votes: Votes) -> Sequence[tuple[int, float]]:
    """Every vote that a run learns from, with its weight; those kept for measuring are not among them."""
    found = {vote: thumb.weight for thumb in votes.thumbs for vote in thumb.vote_ids}
    for ids in (*(pair.vote_ids for pair in votes.pairs), *(one.vote_ids for one in votes.rewrites)):
        found |= dict.fromkeys(ids, 1.0)
    return list(found.items())
