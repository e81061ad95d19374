"""A run from votes as the gate left it, with its adapter's folder and what was measured of it."""

from __future__ import annotations

import json
from dataclasses import asdict

from data.manifest import adapter_digest, write_manifest
from data.records import Adapter
from data.run_records import NewRun
from tests.fakes.adapter import adapter
from tests.fakes.engine import FINGERPRINT
from training.measures import MEASURES, Changed, Lengths, Measures, SideBySide, write_measures
from training.verdict import Check, Verdict

__all__ = ["judged", "measures", "verdict"]


def measures(sides=10, *, words=3):
    """Replies that tell by themselves whose they are."""
    return Measures(
        (),
        (),
        Lengths(30, 30, 31),
        tuple(
            SideBySide(f"Question {n}?", f"champion {n} " * words, f"challenger {n} " * words)
            for n in range(1, sides + 1)
        ),
        (Changed("owl", "What is your owl called?", "Hedwig", "Errol"),),
    )


def verdict(*, passed=True, mode="approve"):
    checks = (
        Check("lore", True, 0.9, 0.91, -0.004, 0.02, 500, "lore went well."),
        Check("retention", passed, 0.8, 0.81 if passed else 0.72, -0.1, 0.02, 1000, "retention was judged."),
        Check("votes", True, 0.5, 0.61, 0.05, 0.0, 60, "The votes favour it."),
        Check("length", True, 30.0, 31.0, 15.0, 60.0, 0, "A reply has 31 letters."),
    )
    return Verdict(passed, checks, mode)


async def judged(store, folder, run_id="run", *, passed=True, mode="approve", seed=3, found=None):
    """The row of a run that the gate has judged; its adapter lies in ``folder``."""
    ledger = store.ledger
    await ledger.open_run(NewRun("harry_potter", FINGERPRINT, "incremental", seed, id=run_id))
    await ledger.snapshotted(run_id, "s" * 64)
    run = await ledger.claim("worker", lease_s=60)
    adapter(folder / run_id, seed=seed)
    write_measures(folder / run_id / MEASURES, found or measures())
    write_manifest(folder / run_id, base_fingerprint=FINGERPRINT, details={"persona": "harry_potter"})
    digest = adapter_digest(folder / run_id)
    made = Adapter(digest, "harry_potter", run_id, FINGERPRINT, str(folder / run_id), run_id=run_id)
    await ledger.trained(run_id, "worker", run.attempt, made, None)
    decision = {"verdict": asdict(verdict(passed=passed, mode=mode))}
    await ledger.judged(
        run_id,
        passed=passed,
        decision=json.dumps(decision),
        reason="Every check of the gate passed." if passed else "retention was judged.",
        needs_approval=mode == "approve",
    )
    return await ledger.run(run_id)
