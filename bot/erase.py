"""What of a forgotten person lies outside the rows of the store, and how an erasure comes to its end.

```
rows forgotten ──► runs over them given up ──► snapshots and work folders deleted ──► files purged ──► swept
                   personas marked: rebuild due
```
Every step may be done again: an erasure that a crash or a full disk cut short is ended by the next one, or at
the next start. A version that is champion stays live until its persona's rebuild from v0 on what is left, and
keeps the ids and digests of what it was trained on; one that is only being tried is given up. Files that an
operator exported are out of reach.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from data.erasure import FORGOTTEN
from data.errors import DataError
from data.home import Home
from data.records import Erased, RebuildDue
from data.snapshot import VOTE_FILES
from data.store import Store

__all__ = ["Swept", "finish", "forget", "sweep"]

_log = structlog.get_logger(__name__)

# A snapshot or an adapter that is still being written, and a trainer's checkpoints.
STAGING = ".part-"
WORK = ".work-"


@dataclass(frozen=True, slots=True)
class Swept:
    """What was deleted, as paths under the home, and whose adapters are to be rebuilt."""

    snapshots: tuple[str, ...] = ()
    work: tuple[str, ...] = ()
    rebuilds: tuple[RebuildDue, ...] = ()


async def forget(store: Store, home: Home, rater_hash: str) -> tuple[Erased, Swept]:
    """Forgets a person everywhere; what cannot be deleted now is deleted later, and logged."""
    erased = await store.erasures.erase(rater_hash)
    return erased, await finish(store, home)


async def finish(store: Store, home: Home) -> Swept:
    """Ends the erasures that are begun; returns what was deleted."""
    swept = Swept()
    waiting = await store.erasures.unswept()
    if not waiting:
        return swept
    replies = (reply_id for erased in waiting for reply_id in erased.reply_ids)
    votes = (vote_id for erased in waiting for vote_id in erased.vote_ids)
    try:
        swept = await sweep(store, home, Erased(0, tuple(replies), tuple(votes)))
        await store.erasures.purge()
        for erased in waiting:
            await store.erasures.mark_swept(erased.id)
    except (DataError, OSError) as error:
        _log.error("erasure.unfinished", reason=str(error))
    return swept


async def sweep(store: Store, home: Home, erased: Erased) -> Swept:
    """Gives up the runs that the erased rows went into, and deletes their snapshots and work folders.

    Raises:
        OSError: a folder cannot be deleted.
    """
    named = await asyncio.to_thread(_naming, home.snapshots, erased)
    run_ids = sorted(named | await store.erasures.runs_with(erased))
    for run_id in run_ids:
        await store.ledger.give_up(run_id, FORGOTTEN)
    snapshots = [home.snapshots / f"{prefix}{run_id}" for run_id in run_ids for prefix in ("", STAGING)]
    work = [folder for run_id in run_ids for folder in _work_of(home, run_id)]
    return Swept(
        await asyncio.to_thread(_deleted, home, snapshots),
        await asyncio.to_thread(_deleted, home, work),
        await store.erasures.mark_rebuilds_of(run_ids),
    )


def _naming(snapshots: Path, erased: Erased) -> set[str]:
    """The runs whose snapshots have a row of an erased reply or vote."""
    replies, votes = set(erased.reply_ids), set(erased.vote_ids)
    return {
        folder.name.removeprefix(STAGING)
        for folder in _folders(snapshots)
        if any(_names(folder / name, replies, votes) for name in VOTE_FILES)
    }


def _names(path: Path, replies: set[str], votes: set[int]) -> bool:
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except FileNotFoundError:
        return False
    return any(_is_of(line, replies, votes) for line in lines if line.strip())


def _is_of(line: str, replies: set[str], votes: set[int]) -> bool:
    try:
        row: dict[str, Any] = json.loads(line)
    except ValueError:
        return True  # torn: it cannot be shown to be somebody else's
    rated = {row.get("reply_id"), row.get("other_reply_id")}
    return not (rated.isdisjoint(replies) and votes.isdisjoint(row.get("vote_ids", ())))


def _work_of(home: Home, run_id: str) -> list[Path]:
    beside = (folder / f"{kind}{run_id}" for folder in _folders(home.adapters) for kind in (STAGING, WORK))
    return [home.runs / run_id, *beside]


def _folders(parent: Path) -> list[Path]:
    return [path for path in parent.iterdir() if path.is_dir()] if parent.is_dir() else []


def _deleted(home: Home, folders: Iterable[Path]) -> tuple[str, ...]:
    there = [folder for folder in folders if folder.is_dir()]
    for folder in there:
        while folder.exists():
            # Whoever works in it may delete a file of it at the same time.
            with contextlib.suppress(FileNotFoundError):
                shutil.rmtree(folder)
    return tuple(str(folder.relative_to(home.root)) for folder in there)
