"""What the gate found of a run, read again from the run's row and its adapter's folder."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path

from data.run_records import Run
from data.store import Store
from training.errors import MeasuresBroken
from training.measures import MEASURES, Measures, read_measures
from training.verdict import Check, Verdict

__all__ = ["Judgement", "judgement_of"]


@dataclass(frozen=True, slots=True)
class Judgement:
    """The verdict, and what it rests on; ``measures`` is None where the adapter's folder is gone."""

    verdict: Verdict
    measures: Measures | None


async def judgement_of(store: Store, run: Run) -> Judgement | None:
    """None for a run that the gate has not judged, or whose adapter could not be measured."""
    verdict = _verdict(run.decision or "{}")
    if verdict is None:
        return None
    return Judgement(verdict, await _measures(store, run))


def _verdict(decision: str) -> Verdict | None:
    """The verdict in a run's decision: ``{"verdict": …}`` as `dataclasses.asdict` writes it."""
    values = json.loads(decision).get("verdict")
    if values is None:
        return None
    checks = tuple(Check(**check) for check in values["checks"])
    return Verdict(values["passed"], checks, values["mode"])


async def _measures(store: Store, run: Run) -> Measures | None:
    adapters = await store.adapters(run.base_fingerprint)
    path = next((one.path for one in adapters if one.digest == run.challenger), None)
    if path is None:
        return None
    try:
        return await asyncio.to_thread(read_measures, Path(path) / MEASURES)
    except MeasuresBroken:
        return None
