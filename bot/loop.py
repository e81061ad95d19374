"""From votes to a better persona, step by step and over restarts: each tick does what a run's state asks.

```
votes, schedule ──► open run ──► train ──► judge ──┬─► (a moderator approves) ──► canary ──► promote
                                                   └─► reject                       └──────► roll back
```
Nothing is kept here: the truth is the ledger's rows, so a bot that was killed anywhere goes on with its next
tick. Training itself is in a process of its own; where ``policy`` is external, on somebody else's machine.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal, Protocol

import structlog

from bot.errors import BotError
from bot.next_run import lacking_of
from bot.runs import Runs
from bot.vote_runs import VoteRuns
from data.clock import Clock
from data.errors import VotesGone
from data.run_records import Run
from data.store import Store
from personas.loader import Cast
from training import canary
from training.eligibility import ENOUGH_ROWS
from training.errors import MeasuresBroken
from training.gate import Rules as GateRules
from training.gate import judge
from training.measures import MEASURES, Measures, read_measures
from training.operating import characteristic
from training.schedule import Conditions, Plan, Start, decide
from training.verdict import Verdict

__all__ = ["Loop", "News", "Terms"]

_log = structlog.get_logger(__name__)

OWNER = "bot"
ACTOR = "the gate"
LATELY_S = 600.0
HOUR_S = 3600.0
# A rebuild is made because somebody was forgotten, not because it is better: it must not be clearly worse.
REBUILD_BOUND = 0.4


class News(Protocol):
    """Who is told of a run; a moderators' channel, or nobody."""

    async def judged(self, run: Run, verdict: Verdict, measures: Measures) -> None:
        """The gate has decided."""
        ...

    async def told(self, run: Run, sentence: str) -> None:
        """Something else happened to the run."""
        ...


@dataclass(frozen=True, slots=True)
class Terms:
    """What the operator set; ``needed_bytes`` of memory must be free where training is on this machine."""

    plan: Plan
    gate: GateRules = field(default_factory=GateRules)
    canary: canary.Rules = field(default_factory=canary.Rules)
    policy: Literal["coexist", "pause", "external"] = "coexist"
    threads: int | None = None
    needed_bytes: int = 0
    least_rows: int = ENOUGH_ROWS


class Loop:
    """The works of one base's loop, each to be called at every tick of `bot.timetable`."""

    def __init__(
        self,
        store: Store,
        cast: Cast,
        runs: Runs,
        opening: VoteRuns,
        terms: Terms,
        *,
        fingerprint: str,
        clock: Clock,
        news: News | None = None,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._cast = cast
        self._runs = runs
        self._opening = opening
        self._terms = terms
        self._fingerprint = fingerprint
        self._clock = clock
        self._news = news
        self._changed = changed
        self.waits: dict[str, str] = {}

    async def open_due(self) -> None:
        """Opens a run for every persona whose time has come, and says why for the others (``waits``)."""
        for run in await self._live():
            if run.state == "claimed" and run.kind != "corpus":
                await self._opening.resume(run)
        for slug in self._cast.personas:
            await self._open(slug)

    async def rebuild_due(self) -> None:
        """Opens a rebuild for every persona that learnt from somebody who was forgotten since."""
        for due in await self._store.erasures.rebuilds_due():
            if due.base_fingerprint == self._fingerprint and due.persona in self._cast.personas:
                await self._opened(due.persona, "rebuild")

    async def train(self) -> None:
        """Trains what waits, one run after the other."""
        if self._terms.policy == "external":
            return
        while await self._runs.train_here(OWNER, threads=self._terms.threads, logs=True) is not None:
            pass

    async def judge(self) -> None:
        """Holds what was trained against the gate."""
        for run in await self._live():
            if run.state == "evaluating" and run.decision is None:
                await self._judge(run)

    async def canaries(self) -> None:
        """Starts the canaries of what may go live; widens, promotes or rolls back those that run."""
        for run in await self._live():
            if run.is_ready:
                await self._start(run)
            elif run.state == "canary":
                await self._look(run)

    async def _open(self, slug: str) -> None:
        job, now = f"train {slug}", self._clock.now()
        last_at = await self._store.ledger.job(job)
        if last_at is None:
            # Seen for the first time: the next time of the schedule counts, not one long before.
            await self._store.ledger.mark_job(job, now)
            last_at = now
        found = decide(await self._conditions(slug, now, last_at), self._terms.plan)
        if not isinstance(found, Start):
            self.waits[slug] = found.reason
            return
        self.waits.pop(slug, None)
        if await self._opened(slug, "incremental"):
            await self._store.ledger.mark_job(job, now)

    async def _opened(self, slug: str, kind: Literal["incremental", "rebuild"]) -> bool:
        try:
            run_id = await self._opening.open(self._cast[slug], kind)
        except (BotError, VotesGone) as error:
            self.waits[slug] = str(error)
            _log.info("run.not_opened", persona=slug, kind=kind, reason=str(error))
            return False
        if run_id is not None:
            _log.info("run.opened", persona=slug, kind=kind, run=run_id)
        return run_id is not None

    async def _conditions(self, slug: str, now: float, last_at: float) -> Conditions:
        own = [run for run in await self._store.ledger.runs() if self._is_of(run, slug)]
        live = next((run.state for run in await self._live() if run.persona == slug), None)
        return Conditions(
            now=now,
            last_at=last_at,
            replies_lately=await self._store.replies_since(now - LATELY_S),
            free_bytes=free_bytes(),
            needed_bytes=0 if self._terms.policy == "external" else self._terms.needed_bytes,
            lacking=await lacking_of(self._store, slug, least_rows=self._terms.least_rows),
            rejections=_rejections(own),
            live_run=live,
        )

    async def _judge(self, run: Run) -> None:
        rules = self._terms.gate
        if run.kind == "rebuild":
            rules = GateRules(
                margins=rules.margins, floors=rules.floors, preference_bound=REBUILD_BOUND, mode=rules.mode
            )
        try:
            measures = await asyncio.to_thread(read_measures, self._runs.out(run) / MEASURES)
            verdict = await asyncio.to_thread(judge, measures, rules)
            works = await asyncio.to_thread(characteristic, measures, rules)
        except (MeasuresBroken, OSError) as error:
            await self._store.ledger.judged(
                run.id, passed=False, decision="{}", reason=str(error), needs_approval=False
            )
            await self._tell(run, str(error))
            return
        failed = [check.sentence for check in verdict.checks if not check.passed]
        reason = failed[0] if failed else "Every check of the gate passed."
        decision = {"verdict": asdict(verdict), "characteristic": asdict(works)}
        await self._store.ledger.judged(
            run.id,
            passed=verdict.passed,
            decision=json.dumps(decision, ensure_ascii=False),
            reason=reason,
            needs_approval=rules.mode == "approve",
        )
        _log.info("run.judged", run=run.id, persona=run.persona, passed=verdict.passed, reason=reason)
        if self._news is not None:
            await self._news.judged(run, verdict, measures)

    async def _start(self, run: Run) -> None:
        share = self._terms.canary.shares[0]
        if await self._store.ledger.start_canary(run.id, share):
            self._changed()
            await self._tell(run, f"The new version is heard in {share} of 100 conversations now.")

    async def _look(self, run: Run) -> None:
        ledger = self._store.ledger
        arms = await ledger.arms(run.id, since=run.share_since, most_flags=canary.MOST_FLAGS)
        found = canary.decide(
            arms["champion"],
            arms["challenger"],
            share=run.share or 0,
            hours_at_share=(self._clock.now() - (run.share_since or self._clock.now())) / HOUR_S,
            rules=self._terms.canary,
        )
        if found.act == "wait":
            return
        if found.act == "widen":
            moved = await ledger.widen(run.id, found.share)
        elif found.act == "promote":
            moved = await self._promoted(run)
        else:
            moved = await ledger.roll_back(run.id, ACTOR, found.reason)
        if moved:
            self._changed()
            _log.info("canary.moved", run=run.id, persona=run.persona, act=found.act, reason=found.reason)
            await self._tell(run, found.reason)

    async def _promoted(self, run: Run) -> bool:
        try:
            moved = await self._store.ledger.promote_run(run.id, ACTOR)
        except VotesGone as error:
            return await self._store.ledger.roll_back(run.id, ACTOR, str(error))
        if moved and run.kind == "rebuild":
            await self._store.erasures.clear_rebuild_due(
                run.persona, run.base_fingerprint, until=run.created_at
            )
        return moved

    async def _tell(self, run: Run, sentence: str) -> None:
        if self._news is not None:
            await self._news.told(run, sentence)

    async def _live(self) -> Sequence[Run]:
        live = await self._store.ledger.live_runs()
        return [run for run in live if run.base_fingerprint == self._fingerprint]

    def _is_of(self, run: Run, slug: str) -> bool:
        return (run.persona, run.base_fingerprint, run.kind) == (slug, self._fingerprint, "incremental")


def free_bytes() -> int:
    """Memory that a new process could have, in bytes; Linux only, elsewhere as much as anybody asks for."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    values: Mapping[str, str] = dict(line.split(":", 1) for line in lines)
    return int(values["MemAvailable"].split()[0]) * 1024


def _rejections(runs: Sequence[Run]) -> int:
    """How many runs in a row, from the newest back, did not last."""
    many = 0
    for run in reversed(runs):
        if run.state not in {"rejected", "rolled_back"}:
            break
        many += 1
    return many
