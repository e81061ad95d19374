"""A process killed in whatever state its runs are in learns every vote once and loses none.

``RUN_KILLS=200 python -m pytest tests/fault/test_run_kill.py`` kills it more often.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
from collections import Counter
from pathlib import Path

import aiosqlite

from data.home import Home
from data.run_records import NewRun
from data.run_states import LEGAL, LIVE
from data.sqlite import open_store
from tests.fault.run_driver import BASE, PERSONAS
from tests.waiting import until

ROOT = Path(__file__).resolve().parents[2]
# Read when this is imported: a test's environment is empty.
KILLS = int(os.environ.get("RUN_KILLS", "24"))
# Every other life ends after a step into a live state, the next of them each time.
TARGETS = (*LIVE, "promoted", "rolled_back", "rejected", "failed")


async def test_kill_nine_in_any_state_of_a_run_neither_learns_a_vote_twice_nor_loses_it(tmp_path):
    log = tmp_path / "promised"
    log.touch()
    home = Home(tmp_path)
    draw = random.Random(7)
    found: Counter[str] = Counter()
    for life in range(KILLS):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.fault.run_driver", str(tmp_path), str(log), str(life),
            cwd=ROOT, env={"PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        try:
            await until(lambda life=life: len(lines(log, "begun")) == life + 1)
            target, before = TARGETS[life % len(TARGETS)], log.stat().st_size
            await until(lambda target=target, before=before: reached(log, before, target))
            # Into the commit of whatever comes next, or out of it again.
            await asyncio.sleep(draw.uniform(0.0, 0.01))
        finally:
            process.kill()
            await process.wait()
        assert process.returncode == -9, "it ran until it was killed"
        assert lines(log, "broken") == []
        found += await check(home, log)
    assert found["promoted"] >= KILLS // 12, "runs came to their end"
    assert len([state for state in LIVE if found[state]]) >= 4, f"killed where it was in {found}"
    await everything_else_is_free(home)


def lines(log: Path, word: str) -> list[list[str]]:
    return [line.split() for line in log.read_text().splitlines() if line.startswith(word)]


def reached(log: Path, before: int, state: str) -> bool:
    new = log.read_bytes()[before:].decode()
    return any(line.split()[2] == state for line in new.splitlines(keepends=True) if is_whole(line))


def is_whole(line: str) -> bool:
    return line.startswith("state") and line.endswith("\n")


async def check(home: Home, log: Path) -> Counter[str]:
    """How many runs are in which state, after everything was found in order."""
    with home.lock():
        async with open_store(home.store) as store, aiosqlite.connect(home.store) as raw:
            assert await raw.execute_fetchall("PRAGMA integrity_check") == [("ok",)]
            assert await raw.execute_fetchall("PRAGMA foreign_key_check") == []
            runs = {run.id: run for run in await store.ledger.runs()}
            given = list(await raw.execute_fetchall(LEARNT))
            assert_promises_are_kept(log, runs, Counter(run_id for run_id, *_ in given))
            learnt = Counter(tuple(judgement) for run_id, _, *judgement in given if holds(runs[run_id]))
            assert set(learnt.values()) <= {1}, "no judgement is in two runs that hold it"
            consumed = {vote: run_id for run_id, vote, *_ in given if consumes(runs[run_id])}
            assert await store.ledger.consumed() == consumed
            spent = {tuple(judgement) for run_id, _, *judgement in given if consumes(runs[run_id])}
            for one in await store.thumbs():
                assert one.consumed == ((one.reply_id, one.rater_hash, one.value) in spent)
            live = [run for run in runs.values() if run.state in LIVE]
            assert max(Counter(run.persona for run in live).values(), default=0) <= 1
            await assert_aliases_fit(store, runs.values())
            return Counter(run.state for run in runs.values())


LEARNT = """
SELECT run_vote.run_id, vote.id, vote.reply_id, vote.rater_hash, vote.value
FROM run_vote JOIN vote ON vote.id = run_vote.vote_id"""


def consumes(run) -> bool:
    return run.kind == "incremental" and run.state == "promoted"


def holds(run) -> bool:
    return run.kind == "incremental" and run.state in {*LIVE, "promoted"}


def assert_promises_are_kept(log, runs, votes) -> None:
    """A run is where it was promised to be, or where it could come from there; its votes came with it."""
    after = {state: reachable(state) for state in LEGAL}
    for _, run_id, state, *many in lines(log, "state"):
        assert runs[run_id].state in after[state], (run_id, state)
        assert not many or votes[run_id] == int(many[0])
    assert all(votes[run_id] for run_id in runs), "no run is without its votes"


def reachable(state: str) -> set[str]:
    """Where a run may be after ``state``; nobody promotes by hand here, so that what has ended stays so."""
    found, waiting = {state}, [state]
    while waiting:
        last = waiting.pop()
        new = LEGAL[last] - found if last in {*LIVE, "promoted"} else frozenset()
        found |= new
        waiting += new
    return found


async def assert_aliases_fit(store, runs) -> None:
    named = {(one.persona, one.alias): one.digest for one in await store.aliases(BASE)}
    canaries = {run.persona: run.challenger for run in runs if run.state == "canary"}
    made = {run.challenger: run.state for run in runs if run.challenger is not None}
    for persona in PERSONAS:
        assert named.get((persona, "challenger")) == canaries.get(persona)
        first = f"{persona} v0"
        for alias in ("champion", "previous"):
            digest = named.get((persona, alias), first)
            assert digest == first or made[digest] == "promoted", (persona, alias, digest)


async def everything_else_is_free(home: Home) -> None:
    with home.lock():
        async with open_store(home.store) as store:
            for run in await store.ledger.live_runs():
                assert await store.ledger.give_up(run.id, "the end")
            for persona in PERSONAS:
                cast = [one for one in await store.thumbs() if one.persona == persona]
                free = [(one.id, 1.0) for one in cast if not one.consumed]
                assert free
                assert await store.ledger.open_run(NewRun(persona, BASE, "incremental", 1), free) is not None
