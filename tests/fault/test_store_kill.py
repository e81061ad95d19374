"""A process killed anywhere loses nothing that it acknowledged."""

from __future__ import annotations

import asyncio
import random
import sys
from pathlib import Path

import aiosqlite

from data.home import Home
from data.sqlite import open_store
from tests.waiting import until

ROOT = Path(__file__).resolve().parents[2]
KILLS = 24
MOST_PROMISES = 60


async def test_no_acknowledged_message_or_vote_is_lost_by_kill_nine(tmp_path):
    log = tmp_path / "promised"
    draw = random.Random(7)
    for life in range(KILLS):
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(ROOT / "tests/fault/store_driver.py"), str(tmp_path), str(log), str(life),
            cwd=ROOT, env={"PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        try:
            begun = life + 1
            await until(lambda begun=begun: log.exists() and log.read_text().count("begun") == begun)
            # How much is promised before the kill is drawn, so that a slow machine promises as much, and the
            # moment between two promises.
            enough = len(lines(log)) + draw.randrange(MOST_PROMISES)
            await until(lambda enough=enough: len(lines(log)) >= enough)
            await asyncio.sleep(draw.uniform(0.0, 0.01))
        finally:
            process.kill()
            await process.wait()
    await check(Home(tmp_path), log)


def lines(log: Path) -> list[list[str]]:
    return [line.split() for line in log.read_text().splitlines()]


async def check(home: Home, log: Path) -> None:
    promised = lines(log)
    messages = {line[1] for line in promised if line[0] == "message"}
    last = {(line[1], line[2]): int(line[3]) for line in promised if line[0] == "vote"}
    assert len(messages) > 100
    with home.lock():
        async with open_store(home.store) as store:
            stored = {one.message_id for one in await store.open_items("telegram", after=0, most=10**6)}
            assert messages <= stored
            assert len(stored - messages) <= KILLS * 8, "at most what was in flight at each kill"
            for (reply, rater), value in last.items():
                vote = await store.live_vote(reply, rater, "thumb")
                assert vote is not None
                # A change may have been committed after its promise could no longer be written.
                rows = await store.votes(reply)
                assert value in {row.value for row in rows}
                assert sum(row.closed_at is None for row in rows) == 1
        async with aiosqlite.connect(home.store) as connection:
            assert await connection.execute_fetchall("PRAGMA integrity_check") == [("ok",)]
            assert await connection.execute_fetchall("PRAGMA foreign_key_check") == []
