"""What a process that was killed left half done, put away before anything is begun."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Sequence

from bot.vote_runs import INTERRUPTED
from data.home import Home
from data.run_records import Run
from data.store import Store

__all__ = ["clear"]

# Their trainers may be going on elsewhere, or go on from what lies there.
TRAINABLE = frozenset({"snapshotted", "training"})
UNTRAINED = frozenset({"failed", "superseded"})


async def clear(store: Store, home: Home) -> None:
    """Gives up the runs that wait for a snapshot nobody writes, and deletes what no run will go on with.

    To be called with `Home.lock` held, before this process opens a run itself.
    """
    for run in await store.ledger.live_runs():
        if run.state == "claimed":
            await store.ledger.give_up(run.id, INTERRUPTED)
    await asyncio.to_thread(_delete, home, await store.ledger.runs())


def _delete(home: Home, runs: Sequence[Run]) -> None:
    going_on = {run.id for run in runs if run.state in TRAINABLE}
    made_nothing = {run.id for run in runs if run.state in UNTRAINED and run.challenger is None}
    unread = {run.id for run in runs if run.error == INTERRUPTED}
    for folder in (*home.snapshots.glob("*"), *home.adapters.glob("*/*")):
        kind, _, run_id = folder.name.rpartition("-")
        is_begun = kind in {".part", ".work"} and run_id not in going_on
        if is_begun or folder.name in (unread if folder.parent == home.snapshots else made_nothing):
            shutil.rmtree(folder, ignore_errors=True)
