"""Training runs: who trains what, with which votes, what came of it, and the way live and back.

```
open_run ► snapshotted ► claim, renew ► trained ► judged (approve) ► start_canary, widen ► promote_run
                                        fail                  veto, roll_back, supersede, give_up
```
Every writing method is one transaction and does nothing the second time. It returns whether the run is now
where the method leads; False means that the run's state forbids it (`data.run_states`), or that there is no
such run. A worker is fenced by its name and the number of its attempt, which grows with every claim: a lease
that ran out is still its holder's until somebody claims the run, so that a machine that slept loses nothing.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Concatenate, ParamSpec

from data import run_moves
from data.clock import Clock
from data.ids import new_id
from data.records import Adapter
from data.run_records import Arm, ArmName, LoreTicket, NewRun, Run, WayBack
from data.run_states import RunState
from data.statements import Session
from data.writer import Writer

__all__ = ["Ledger"]

P = ParamSpec("P")
Step = Callable[Concatenate[Session, Run, float, P], Awaitable[bool]]
Row = Mapping[str, Any]
ARMS: tuple[ArmName, ...] = ("champion", "challenger")
# Until the first words: who waits longer turns to something else (Nielsen, Usability Engineering, 1993), and
# Discord's typing sign is gone by then.
SLOW_S = 10.0


class Ledger:
    """The runs of a store, its scheduled jobs and its lore tickets."""

    def __init__(self, writer: Writer, read: Session, clock: Clock) -> None:
        self._writer = writer
        self._read = read
        self._clock = clock

    async def open_run(self, run: NewRun, votes: Sequence[tuple[int, float]] = ()) -> str | None:
        """The new run's id; None while another run of the same persona and base is going on.

        Args:
            run: what is to be trained.
            votes: the ids and weights of the votes that it learns from, those kept for measuring not among
                them. All or nothing: the weights were fitted to all of them together.

        Raises:
            VotesGone: a vote was closed since it was read or is another persona's, or, for an incremental
                run, another live or promoted one has it.
        """
        now = self._clock.now()
        run_id = run.id or new_id(now)
        return await self._writer.submit(lambda session: run_moves.open_run(session, run, run_id, votes, now))

    async def snapshotted(self, run_id: str, digest: str) -> bool:
        """The snapshot folder is written: the run waits for a trainer."""
        return await self._step(run_id, run_moves.snapshotted, digest=digest)

    async def claim(self, owner: str, *, lease_s: float, run_id: str | None = None) -> Run | None:
        """The oldest run that waits, or whose worker let its lease run out (a new attempt then).

        A run whose third attempt let its lease run out fails instead. ``run_id``: that run or none.
        """
        now = self._clock.now()
        return await self._writer.submit(
            lambda session: run_moves.claim(session, now, owner=owner, lease_s=lease_s, run_id=run_id)
        )

    async def is_waiting(self) -> bool:
        """Whether there is a run that `claim` would look at."""
        return bool(await self._read.all("claimable_runs", now=self._clock.now()))

    async def renew(self, run_id: str, owner: str, attempt: int, *, lease_s: float) -> bool:
        """Whether the run is still this worker's in this attempt; its lease is prolonged then."""
        now = self._clock.now()
        values = {"id": run_id, "owner": owner, "attempt": attempt, "lease_until": now + lease_s}
        row = await self._writer.submit(lambda session: session.one("renew_run", **values, now=now))
        return row is not None

    async def trained(
        self, run_id: str, owner: str, attempt: int, adapter: Adapter, report: str | None
    ) -> RunState | None:
        """Registers what came out and returns the run's state; None where another attempt has the run.

        A run from votes is to be evaluated then; one from the corpus is done, and its adapter is champion
        where the persona had none.
        """
        now = self._clock.now()

        async def unit(session: Session) -> RunState | None:
            run = await run_moves.find(session, run_id)
            if run is None:
                return None
            return await run_moves.trained(
                session, run, now, owner=owner, attempt=attempt, adapter=adapter, report=report
            )

        return await self._writer.submit(unit)

    async def fail(self, run_id: str, owner: str, attempt: int, error: str) -> bool:
        """The worker ends its attempt, and the run with it, unless another attempt has it by now."""
        return await self._step(run_id, run_moves.fail, owner=owner, attempt=attempt, error=error)

    async def give_up(self, run_id: str, error: str) -> bool:
        """Ends a live run in whatever state; its votes are free again."""
        return await self._step(run_id, run_moves.give_up, error=error)

    async def judged(
        self, run_id: str, *, passed: bool, decision: str, reason: str, needs_approval: bool
    ) -> bool:
        """Stores the gate's verdict: ``decision`` is JSON, ``reason`` one sentence.

        What passed waits for an approval, or is ready for its canary (`Run.is_ready`).
        """
        return await self._step(
            run_id,
            run_moves.judged,
            passed=passed,
            decision=decision,
            reason=reason,
            needs_approval=needs_approval,
        )

    async def approve(self, run_id: str, actor: str) -> bool:
        """Lets a run that waits for it have its canary."""
        return await self._step(run_id, run_moves.approve, actor=actor)

    async def veto(self, run_id: str, actor: str, reason: str) -> bool:
        """Rejects a run before its canary, and rolls it back in it or after it while it is champion."""
        return await self._step(run_id, run_moves.veto, actor=actor, reason=reason)

    async def start_canary(self, run_id: str, share: int) -> bool:
        """Makes the run's adapter challenger for ``share`` percent (1 to 100) of the conversations."""
        return await self._step(run_id, run_moves.start_canary, share=share)

    async def widen(self, run_id: str, share: int) -> bool:
        """Gives the challenger a larger share; a smaller one is refused."""
        return await self._step(run_id, run_moves.widen, share=share)

    async def promote_run(self, run_id: str, actor: str) -> bool:
        """Makes the challenger champion and the champion previous; the run's votes are consumed.

        Raises:
            VotesGone: another run has learnt one of them.
        """
        return await self._step(run_id, run_moves.promote_run, actor=actor)

    async def promote_version(self, persona: str, base_fingerprint: str, digest: str, *, actor: str) -> None:
        """Makes a version champion by hand; a canary of another version is superseded.

        A run that made the version counts as promoted then, so that its votes are consumed.
        """
        now = self._clock.now()
        await self._writer.submit(
            lambda session: run_moves.promote_version(
                session, persona, base_fingerprint, digest, now, actor=actor
            )
        )

    async def roll_back(self, run_id: str, actor: str, reason: str) -> bool:
        """Ends a canary, or takes back a promotion while its adapter is champion; the votes are free again.

        The aliases are then what they were before the promotion; the version itself keeps none.
        """
        return await self._step(run_id, run_moves.roll_back, actor=actor, reason=reason)

    async def way_back(self, persona: str, base_fingerprint: str) -> WayBack | None:
        """Where `roll_back_persona` would lead; None where there is nothing to undo."""
        return await run_moves.way_back(self._read, persona, base_fingerprint)

    async def roll_back_persona(
        self, persona: str, base_fingerprint: str, actor: str, reason: str
    ) -> WayBack | None:
        """Ends the persona's canary, else takes back its champion's promotion; the run is rolled back.

        A champion made by hand gives way to ``previous``, and nothing is previous then.
        """
        now = self._clock.now()
        return await self._writer.submit(
            lambda session: run_moves.roll_back_persona(
                session, persona, base_fingerprint, now, actor=actor, reason=reason
            )
        )

    async def supersede(self, run_id: str, reason: str) -> bool:
        """Ends a live run because something else made it pointless; its votes are free again."""
        return await self._step(run_id, run_moves.supersede, reason=reason)

    async def run(self, run_id: str) -> Run | None:
        return await run_moves.find(self._read, run_id)

    async def runs(self) -> tuple[Run, ...]:
        """Every run, oldest first."""
        return tuple(Run(**row) for row in await self._read.all("runs"))

    async def live_runs(self) -> tuple[Run, ...]:
        """Those that are going on, oldest first."""
        return tuple(Run(**row) for row in await self._read.all("live_runs"))

    async def votes_of_run(self, run_id: str) -> tuple[tuple[int, float], ...]:
        """The ids and weights of a run's votes."""
        rows = await self._read.all("votes_of_run", run_id=run_id)
        return tuple((int(row["vote_id"]), float(row["weight"])) for row in rows)

    async def consumed(self) -> Mapping[int, str]:
        """By vote id, the promoted incremental run that learnt from it.

        A later row that says the same again counts as consumed too (`CastThumb.consumed`) and is not here.
        """
        rows = await self._read.all("consumed_votes")
        return {int(row["vote_id"]): str(row["run_id"]) for row in rows}

    async def arms(
        self, run_id: str, *, since: float | None = None, most_flags: int | None = None
    ) -> Mapping[ArmName, Arm]:
        """What both sides of the run's canary got and said, thumbs of those who may count.

        Args:
            run_id: the run; one without a canary has empty arms.
            since: seconds since 1970; from the canary's beginning where it is None.
            most_flags: so many replies with one flag are counted of a conversation; None: all.
        """
        run = await self.run(run_id)
        if run is None or run.canary_since is None:
            return dict.fromkeys(ARMS, Arm())
        where = {
            "persona": run.persona,
            "since": run.canary_since if since is None else since,
            "champion": run.champion_before,
            "challenger": run.challenger,
        }
        replies = await self._read.all("arm_replies", **where, slow_s=SLOW_S)
        thumbs = await self._read.all("arm_thumbs", **where)
        return {arm: _arm(_of(arm, replies), _of(arm, thumbs), most_flags) for arm in ARMS}

    async def after_promotion(self, run_id: str, *, most_flags: int | None = None) -> tuple[Arm, Arm]:
        """What people got and said of the champion in the run's canary, and of what it made since then.

        Moderators' judgements from the review desk count on neither side: how many they give, and on which
        replies, has nothing to do with the version.

        Args:
            run_id: the run; one that had no canary, or was never promoted, has empty arms.
            most_flags: as for `arms`.
        """
        run = await self.run(run_id)
        if run is None or run.canary_since is None or run.promoted_at is None:
            return Arm(), Arm()
        where = {
            "persona": run.persona,
            "since": run.canary_since,
            "promoted_at": run.promoted_at,
            "champion": run.champion_before,
            "challenger": run.challenger,
        }
        replies = await self._read.all("watched_replies", **where, slow_s=SLOW_S)
        thumbs = await self._read.all("watched_thumbs", **where)
        before, after = (_arm(_of(arm, replies), _of(arm, thumbs), most_flags) for arm in ARMS)
        return before, after

    async def job(self, name: str) -> float | None:
        """When a scheduled job was last done, in seconds since 1970."""
        row = await self._read.one("get_job", name=name)
        return None if row is None else float(row["last_at"])

    async def mark_job(self, name: str, at: float) -> None:
        await self._writer.submit(lambda session: session.run("set_job", name=name, at=at))

    async def open_tickets(self, persona: str) -> tuple[LoreTicket, ...]:
        """Replies that somebody said hold a wrong fact, oldest first; they open with the vote."""
        return tuple(LoreTicket(**row) for row in await self._read.all("open_tickets", persona=persona))

    async def close_ticket(self, ticket_id: int) -> bool:
        """Whether the ticket was open."""
        row = await self._writer.submit(lambda session: session.one("close_ticket", id=ticket_id))
        return row is not None

    async def _step(self, run_id: str, step: Step[P], *args: P.args, **values: P.kwargs) -> bool:
        now = self._clock.now()

        async def unit(session: Session) -> bool:
            run = await run_moves.find(session, run_id)
            return run is not None and await step(session, run, now, *args, **values)

        return await self._writer.submit(unit)


def _of(arm: ArmName, rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if row["arm"] == arm]


def _arm(replies: Sequence[Row], thumbs: Sequence[Row], most_flags: int | None) -> Arm:
    found: Counter[tuple[str, str]] = Counter()
    for row in replies:
        for flag in _flags(row):
            found[flag, row["conversation_id"]] += row["many"]
    flags: Counter[str] = Counter()
    for (flag, _), many in found.items():
        flags[flag] += many if most_flags is None else min(many, most_flags)
    latest = {(row["conversation_id"], row["rater_hash"]): row["value"] > 0 for row in thumbs}
    ups = sum(latest.values())
    return Arm(sum(row["many"] for row in replies), ups, len(latest) - ups, dict(flags))


def _flags(row: Row) -> list[str]:
    found = list(json.loads(row["guard"] or "[]"))
    found += ["error"] if row["state"] == "failed" else []
    found += ["slow"] if row["is_slow"] else []
    return found + (["regenerated"] if row["is_asked_again"] else [])
