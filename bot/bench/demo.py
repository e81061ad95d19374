"""One round to watch: votes kept and dropped, the loss, the gate, before and after, a refusal, a rollback.

```
talk ──► poisoned run, refused ──► the same votes, trained ──► gate ──► canary ──► replies ──► rolled back
```
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Sequence

from bot.bench.attacks import slip_in
from bot.bench.loop import Bench, Live, Outcome
from bot.bench.people import Person
from bot.bench.prompts import Tasted
from bot.judgement import judgement_of
from bot.next_run import FATES, next_runs
from data.home import Home
from data.run_records import Run
from training.verdict import report

__all__ = ["demonstrate"]

SHOWN = 5
LOOK_EVERY_S = 1.0
STATES = "*/.work-*/*/checkpoint-*/trainer_state.json"


async def demonstrate(bench: Bench, people: Sequence[Person], live: Live) -> Outcome:
    """Shows every step of one persona's loop."""
    (slug,) = bench.options.likes
    await bench.begin()
    await bench.talk()
    await _told_votes(bench, slug, live)
    await _refused(bench, live)
    for run in await bench.open(1):
        live.say(f"Run {run.id} trains on the same votes")
    await _watched(bench.train(), bench.world.home, live)
    await bench.judge()
    for run in await bench.world.store.ledger.runs():
        _told_training(bench.world.home, run, live)
        found = await judgement_of(bench.world.store, run)
        if found is not None and found.measures is not None:
            live.say(report(found.verdict, found.measures))
    await bench.canaries()
    await bench.taste()
    outcome = await bench.outcome()
    _told_replies(outcome.curves[slug], live)
    await _rolled_back(bench, slug, people, live)
    return await bench.outcome()


async def _told_votes(bench: Bench, slug: str, live: Live) -> None:
    live.say("Votes, by what becomes of them:")
    for found in next_runs(await bench.world.store.thumbs()):
        if found["persona"] == slug:
            for fate, many in found["fates"].items():
                live.say(f"  {many:>5}  {FATES[fate]}")


async def _refused(bench: Bench, live: Live) -> None:
    """Somebody slips a vote into the written snapshot; the trainer reads another digest than was signed."""
    for run in await bench.open(1):
        live.say(f"Somebody adds a vote to the snapshot of run {run.id}")
        await asyncio.to_thread(slip_in, bench.world.home.snapshots / run.id)
    await bench.train()


async def _watched(training: Awaitable[None], home: Home, live: Live) -> None:
    """Says the loss whenever the trainer logs it."""
    async with asyncio.TaskGroup() as tasks:
        watching = tasks.create_task(_losses(home, live))
        await training
        watching.cancel()


async def _losses(home: Home, live: Live) -> None:
    """Reads the checkpoints: the trainer's own words are for its log."""
    told = 0
    with contextlib.suppress(asyncio.CancelledError):
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            for step, loss in _logged(home):
                if step > told:
                    live.say(f"  training, step {step}: loss {loss:.3f}")
                    told = step


def _logged(home: Home) -> list[tuple[int, float]]:
    found = []
    for path in home.adapters.glob(STATES):
        # A checkpoint may be written, or deleted, at this very moment.
        with contextlib.suppress(OSError, ValueError):
            found += json.loads(path.read_text(encoding="utf-8"))["log_history"]
    return sorted({(int(row["step"]), float(row["loss"])) for row in found if "loss" in row})


def _told_training(home: Home, run: Run, live: Live) -> None:
    path = home.adapters / run.persona / run.id / "report.json"
    if path.is_file():
        row = json.loads(path.read_text(encoding="utf-8"))
        live.say(f"Loss {row['first_loss']:.3f} at first, {row['last_loss']:.3f} at last: {run.id}")


def _told_replies(curve: Sequence[Tasted], live: Live) -> None:
    before, after = dict(curve[0].replies), dict(curve[-1].replies)
    changed = [question for question in after if question in before and before[question] != after[question]]
    for question in (changed or list(after))[:SHOWN]:
        live.say(f"{question}\n  before: {before.get(question, '')}\n  after:  {after[question]}")


async def _rolled_back(bench: Bench, slug: str, people: Sequence[Person], live: Live) -> None:
    moderator = next(person for person in people if person.role == "moderator")
    run = await _champion_run(bench, slug)
    if run is None:
        live.say("Nothing went live, so there is nothing to roll back.")
        return
    outcome = await bench.world.square.press(moderator, f"gate:{run.id}:rollback")
    await bench.world.reconciler.once()
    champion = bench.world.reconciler.champion(slug)
    live.say(f"A moderator presses rollback: {outcome.text}")
    live.say(f"{slug} speaks with {champion.name if champion else 'its card'} again")


async def _champion_run(bench: Bench, slug: str) -> Run | None:
    runs = await bench.world.store.ledger.runs()
    return next((run for run in reversed(runs) if run.persona == slug and run.state == "promoted"), None)
