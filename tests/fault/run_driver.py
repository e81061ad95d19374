"""Votes, trains, judges, promotes and goes back without end; each acknowledged step is appended to a log.

A test kills it with SIGKILL at any moment. Arguments: home, log, number of this life.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
import time
from pathlib import Path

from data.errors import VotesGone
from data.home import Home
from data.records import Adapter, Ballot, InboxItem, NewReply, Result
from data.run_records import NewRun, Run
from data.sqlite import SqliteStore, open_store

PERSONAS = ("li_bai", "harry_potter")
MOST_VOTES = 40
RATERS = ("ann", "bob", "cat")
BASE = "f" * 64
# Shorter than some of a trainer's pauses, so that runs change hands within one life too.
LEASE_S = 0.02
# Between two lives passes what ends every lease.
LIFE_S = 10_000.0


class LaterClock:
    def __init__(self, life: int) -> None:
        self._ahead = life * LIFE_S

    def now(self) -> float:
        return time.time() + self._ahead

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class Driver:
    def __init__(self, store: SqliteStore, log: int, life: str) -> None:
        self.store = store
        self.ledger = store.ledger
        self.life = life
        self._log = log

    def promise(self, *words: object) -> None:
        os.write(self._log, (" ".join(map(str, words)) + "\n").encode())

    async def people(self, persona: str) -> None:
        """Says something, votes on the answer, and takes some of it back."""
        draw = random.Random(f"{self.life} people {persona}")
        number = 0
        while True:
            number += 1
            message = f"{self.life}-{number}"
            (inbox_id,) = await self.store.receive(
                [InboxItem("web", persona, "", message, "ann", "message", "{}")]
            )
            live = await self.store.conversation("web", persona, "", persona)
            new = NewReply(inbox_id, live.id, persona, "web", persona, "en", "[]", "[]", "{}", number)
            reply = await self.store.open_reply(new)
            await self.store.complete_reply(reply.id, Result("hello", "stop"), [])
            rater, value = draw.choice(RATERS), draw.choice((1, -1))
            await self.store.cast(Ballot(reply.id, rater, "thumb", value))
            chance = draw.random()
            if chance < 0.1:
                await self.store.cast(Ballot(reply.id, rater, "thumb", -value))
            elif chance < 0.15:
                await self.store.cast(Ballot(reply.id, rater, "thumb", 0))
            elif chance < 0.17:
                await self.store.answer_consent(rater, draw.choice(("yes", "vote")))
            elif chance < 0.3:
                await self.store.give_reason(reply.id, rater, "wrong_fact", None)
            await asyncio.sleep(draw.uniform(0, 0.02))

    async def trainer(self, name: str) -> None:
        """Claims whatever waits; forgets some of it, and comes back to that much too late."""
        draw = random.Random(f"{self.life} {name}")
        forgotten: list[Run] = []
        while True:
            owner = f"{self.life} {name}"
            run = await self.ledger.claim(owner, lease_s=LEASE_S)
            if run is not None:
                self.promise("state", run.id, "training")
                if draw.random() < 0.2:
                    forgotten.append(run)
                else:
                    await asyncio.sleep(draw.uniform(0, 2 * LEASE_S))
                    await self.ledger.renew(run.id, owner, run.attempt, lease_s=LEASE_S)
                    await self.finish(run, owner, fails=draw.random() < 0.15)
            if forgotten and draw.random() < 0.3:
                await self.finish(forgotten.pop(0), owner, fails=False)
            await asyncio.sleep(draw.uniform(0, 0.01))

    async def finish(self, run: Run, owner: str, *, fails: bool) -> None:
        if fails:
            if await self.ledger.fail(run.id, owner, run.attempt, "no memory"):
                self.promise("state", run.id, "failed")
            return
        digest = f"{run.id} {run.attempt}"
        made = Adapter(digest, run.persona, run.id, BASE, f"/{run.id}", run_id=run.id)
        if await self.ledger.trained(run.id, owner, run.attempt, made, "{}") is None:
            return
        self.promise("state", run.id, "evaluating")
        now = await self.ledger.run(run.id)
        if now is None or (now.attempt, now.challenger) != (run.attempt, digest):
            self.promise("broken", "a stale attempt was accepted:", run)

    async def keeper(self, persona: str) -> None:
        """Moves the persona's run on, whatever state it was found in."""
        draw = random.Random(f"{self.life} keeper {persona}")
        while True:
            runs = [run for run in await self.ledger.live_runs() if run.persona == persona]
            if len(runs) > 1:
                self.promise("broken", "two live runs:", runs)
            if runs:
                await self.advance(runs[0], draw)
            else:
                await self.open(persona, draw)
            await asyncio.sleep(draw.uniform(0, 0.01))

    async def open(self, persona: str, draw: random.Random) -> None:
        if draw.random() < 0.1:
            way = await self.ledger.roll_back_persona(persona, BASE, "driver", "for a test")
            if way is not None and way.run_id is not None:
                self.promise("state", way.run_id, "rolled_back")
        kind = "rebuild" if draw.random() < 0.1 else "incremental"
        cast = [one for one in await self.store.thumbs() if one.persona == persona]
        draw.shuffle(cast)
        fit = [one for one in cast if kind == "rebuild" or not one.consumed]
        votes = [(one.id, 1.0) for one in fit[:MOST_VOTES]]
        if not votes:
            return
        try:
            run_id = await self.ledger.open_run(NewRun(persona, BASE, kind, seed=1), votes)
        except VotesGone:
            return
        self.promise("state", run_id, "claimed", len(votes))

    async def advance(self, run: Run, draw: random.Random) -> None:
        chance = draw.random()
        if run.state != "training" and chance < 0.03:
            await self.said(run, "superseded", self.ledger.supersede(run.id, "for a test"))
        elif run.state == "claimed":
            await self.said(run, "snapshotted", self.ledger.snapshotted(run.id, f"snapshot {run.id}"))
        elif run.state in {"evaluating", "awaiting_approval"} and run.is_ready:
            await self.said(run, "canary", self.ledger.start_canary(run.id, 10))
        elif run.state == "evaluating":
            passed, asks = chance < 0.85, draw.random() < 0.5
            judged = self.ledger.judged(
                run.id, passed=passed, decision="{}", reason="Because.", needs_approval=asks
            )
            state = ("awaiting_approval" if asks else "evaluating") if passed else "rejected"
            await self.said(run, state, judged)
        elif run.state == "awaiting_approval" and chance < 0.2:
            await self.said(run, "rejected", self.ledger.veto(run.id, "mod", "No."))
        elif run.state == "awaiting_approval":
            await self.said(run, "awaiting_approval", self.ledger.approve(run.id, "mod"))
        elif run.state == "canary" and chance < 0.3:
            await self.said(run, "rolled_back", self.ledger.roll_back(run.id, "driver", "for a test"))
        elif run.state == "canary" and run.share == 10:
            await self.said(run, "canary", self.ledger.widen(run.id, 50))
        elif run.state == "canary":
            await self.said(run, "promoted", self.ledger.promote_run(run.id, "driver"))

    async def said(self, run, state, call):
        if await call:
            self.promise("state", run.id, state)


async def main() -> None:
    home = Home(Path(sys.argv[1]))
    home.prepare()
    log = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    life = sys.argv[3]
    with home.lock():
        async with open_store(home.store, clock=LaterClock(int(life))) as store, asyncio.TaskGroup() as tasks:
            driver = Driver(store, log, life)
            for persona in PERSONAS:
                first = Adapter(f"{persona} v0", persona, "v0", BASE, "/v0")
                await store.add_adapter(first, champion_if_none=True)
                tasks.create_task(driver.people(persona))
                tasks.create_task(driver.keeper(persona))
            for name in ("trainer", "other trainer"):
                tasks.create_task(driver.trainer(name))
            driver.promise("begun")


if __name__ == "__main__":
    asyncio.run(main())
