"""From votes to a better persona, step by step and over restarts: each tick does what a run's state asks.

```
votes, schedule ──► open run ──► train ──► judge ──┬─► (a moderator approves) ──► canary ──► promote, watch
                                                   └─► reject                       └──────► roll back ◄┘
```
Nothing is kept here: the truth is the ledger's rows, so a bot that was killed anywhere goes on with its next
tick. Training itself is in a process of its own; where ``policy`` is external, on somebody else's machine,
and where it is pause, while the engine rests.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol

import structlog

from bot.errors import BotError, NothingToLearn, SnapshotUnwritten
from bot.next_run import lacking_of
from bot.runs import Runs
from bot.vote_runs import CUT_SHORT, Kind, VoteRuns
from data.clock import Clock
from data.errors import VotesGone
from data.records import RebuildDue
from data.run_records import Run
from data.store import Store
from engine.protocol import model_name
from personas.loader import Cast
from training import canary
from training.eligibility import ENOUGH_ROWS
from training.errors import MeasuresBroken
from training.gate import Rules as GateRules
from training.gate import judge
from training.measures import MEASURES, Measures, read_measures
from training.schedule import Conditions, Plan, Start, decide
from training.verdict import Verdict

__all__ = ["Loop", "News", "Terms"]

_log = structlog.get_logger(__name__)

OWNER = "bot"
ACTOR = "the gate"
LATELY_S = 600.0
HOUR_S = 3600.0
# Every day of the week is in it; and by the next weekly run, what people said since is about another version.
WATCH_S = 7 * 24 * HOUR_S
OTHER_CHAMPION = "Another version was made champion since the run began; its votes are free for the next one."


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
    """The works of one base's loop, each to be called at every tick of `bot.timetable`.

    ``resting`` is entered around training, and ``freed_bytes`` says how much memory comes free by it.
    """

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
        refusal: Callable[[str], str | None] = lambda _name: None,
        resting: Callable[[], AbstractAsyncContextManager[None]] = contextlib.nullcontext,
        freed_bytes: Callable[[], int] = lambda: 0,
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
        self._refusal = refusal
        self._resting = resting
        self._freed_bytes = freed_bytes
        self._refused: dict[tuple[str, Kind], str] = {}
        self.waits: dict[str, str] = {}

    async def open_due(self) -> None:
        """Opens a run for every persona whose time has come, and says why for the others (``waits``).

        Rebuilds come first: for every persona that learnt from somebody who was forgotten since.
        """
        for due in await self._store.erasures.rebuilds_due():
            if due.base_fingerprint == self._fingerprint and due.persona in self._cast.personas:
                await self._rebuild(due)
        for slug in self._cast.personas:
            await self._open(slug)

    async def train(self) -> None:
        """Trains what waits, one run after the other, in one rest of the engine where it rests for that."""
        if self._terms.policy == "external" or not await self._store.ledger.is_waiting():
            return
        async with self._resting():
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

    async def watch(self) -> None:
        """Takes back what was promoted in the last days where people get, or say, worse than before it.

        Not a rebuild: what it replaced has learnt from somebody who was forgotten. Nor what a hand promoted
        without a canary: there is nothing to compare it with.
        """
        since = self._clock.now() - WATCH_S
        aliases = await self._store.aliases(self._fingerprint)
        champions = {(one.persona, one.digest) for one in aliases if one.alias == "champion"}
        for run in await self._store.ledger.runs():
            is_new = run.state == "promoted" and run.promoted_at is not None and run.promoted_at > since
            is_tried = run.kind == "incremental" and run.canary_since is not None
            is_ours = run.base_fingerprint == self._fingerprint
            if is_new and is_tried and is_ours and (run.persona, run.challenger) in champions:
                await self._watch(run)

    async def _open(self, slug: str) -> None:
        job, now = f"train {slug}", self._clock.now()
        last_at = await self._store.ledger.job(job)
        if last_at is None:
            # Seen for the first time: the next time of the schedule counts, not one long before.
            await self._store.ledger.mark_job(job, now)
            last_at = now
        conditions = await self._conditions(slug, now, last_at)
        found = decide(conditions, self._terms.plan)
        if isinstance(found, Start):
            # Last, for it takes longest: all votes are weighed.
            lacking = await lacking_of(self._store, slug, least_rows=self._terms.least_rows)
            found = decide(replace(conditions, lacking=lacking), self._terms.plan)
        if not isinstance(found, Start):
            self.waits[slug] = found.reason
            return
        self.waits.pop(slug, None)
        if await self._opened(slug, "incremental"):
            await self._store.ledger.mark_job(job, now)

    async def _rebuild(self, due: RebuildDue) -> None:
        slug, now = due.persona, self._clock.now()
        made = [run for run in await self._runs_of(slug, "rebuild") if run.created_at >= due.since]
        if done := [run.created_at for run in made if run.state == "promoted"]:
            # The bot was killed after the promotion.
            await self._store.erasures.clear_rebuild_due(slug, self._fingerprint, until=max(done))
            return
        # One that did not last would not a minute later: it is tried again at the schedule's next time.
        last_at = max((run.created_at for run in made if run.error not in CUT_SHORT), default=0.0)
        conditions = await self._conditions(slug, now, last_at)
        if not isinstance(decide(replace(conditions, rejections=0), self._terms.plan), Start):
            return
        try:
            await self._opened(slug, "rebuild")
        except NothingToLearn:
            await self._begin_anew(slug, now)

    async def _begin_anew(self, slug: str, until: float) -> None:
        """Nobody's votes are left: what is built anew on them is the first version itself."""
        first = await self._opening.first_version(slug)
        await self._store.promote(slug, self._fingerprint, first.digest, actor=ACTOR)
        await self._store.set_alias(slug, self._fingerprint, "previous", None)
        await self._store.erasures.clear_rebuild_due(slug, self._fingerprint, until=until)
        self._changed()
        _log.info("persona.begun_anew", persona=slug, version=first.version)

    async def _opened(self, slug: str, kind: Kind) -> bool:
        """Whether a run was begun, however it went on."""
        try:
            run_id = await self._opening.open(self._cast[slug], kind)
        except SnapshotUnwritten as error:
            _log.error("run.not_written", persona=slug, kind=kind, reason=str(error))
            return True
        except (BotError, VotesGone) as error:
            if kind == "rebuild" and isinstance(error, NothingToLearn):
                raise
            self._refuse(slug, kind, str(error))
            return False
        if run_id is not None:
            _log.info("run.opened", persona=slug, kind=kind, run=run_id)
        return run_id is not None

    def _refuse(self, slug: str, kind: Kind, reason: str) -> None:
        """Says so in ``waits``, and once in the log: the next tick finds the same."""
        self.waits[slug] = f"waits: {reason.removesuffix('.')}"
        if self._refused.get((slug, kind)) != reason:
            _log.info("run.not_opened", persona=slug, kind=kind, reason=reason)
        self._refused[slug, kind] = reason

    async def _conditions(self, slug: str, now: float, last_at: float) -> Conditions:
        own = await self._runs_of(slug, "incremental")
        live = next((run.state for run in await self._live() if run.persona == slug), None)
        return Conditions(
            now=now,
            last_at=last_at,
            replies_lately=await self._store.replies_since(now - LATELY_S),
            free_bytes=free_bytes() + self._freed_bytes(),
            needed_bytes=0 if self._terms.policy == "external" else self._terms.needed_bytes,
            lacking={},
            rejections=_rejections(own),
            live_run=live,
        )

    async def _judge(self, run: Run) -> None:
        rules = self._terms.gate
        if run.kind == "rebuild":
            # It is made because somebody was forgotten, not to be better: it must not be clearly worse.
            rules = replace(rules, must_improve=False)
        try:
            measures, verdict, works = await asyncio.to_thread(
                _weighed, self._runs.out(run) / MEASURES, rules
            )
        except (MeasuresBroken, OSError) as error:
            await self._store.ledger.judged(
                run.id, passed=False, decision="{}", reason=str(error), needs_approval=False
            )
            await self._tell(run, str(error))
            return
        failed = [check.sentence for check in verdict.checks if not check.passed]
        reason = failed[0] if failed else "Every check of the gate passed."
        decision = {"verdict": asdict(verdict), "characteristic": works}
        if not await self._store.ledger.judged(
            run.id,
            passed=verdict.passed,
            decision=json.dumps(decision, ensure_ascii=False),
            reason=reason,
            needs_approval=rules.mode == "approve",
        ):
            return  # vetoed or given up meanwhile
        _log.info("run.judged", run=run.id, persona=run.persona, passed=verdict.passed, reason=reason)
        if self._news is not None:
            await self._news.judged(run, verdict, measures)

    async def _start(self, run: Run) -> None:
        if run.kind == "incremental" and run.reference_version != await self._champion(run.persona):
            # By hand: what the gate compared it with is not what people hear.
            await self._store.ledger.supersede(run.id, OTHER_CHAMPION)
            await self._tell(run, OTHER_CHAMPION)
            return
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
        # Nobody would ever hear it, and the persona's next run would wait for its canary for ever.
        refused = self._refusal(model_name(run.persona, run.challenger or ""))
        if refused is not None:
            found = canary.Decision("roll_back", 0, f"The engine does not take it: {refused}")
        if found.act == "wait":
            return
        act, reason = found.act, found.reason
        try:
            if act == "widen":
                moved = await ledger.widen(run.id, found.share)
            elif act == "promote":
                moved = await self._promoted(run)
            else:
                moved = await ledger.roll_back(run.id, ACTOR, reason)
        except VotesGone as error:
            act, reason = "roll_back", str(error)
            moved = await ledger.roll_back(run.id, ACTOR, reason)
        if moved:
            self._changed()
            _log.info("canary.moved", run=run.id, persona=run.persona, act=act, reason=reason)
            await self._tell(run, reason)

    async def _watch(self, run: Run) -> None:
        before, after = await self._store.ledger.after_promotion(run.id, most_flags=canary.MOST_FLAGS)
        found = canary.harm(before, after, self._terms.canary)
        if found is None:
            return
        reason = f"After the promotion {found}"
        if await self._store.ledger.roll_back(run.id, ACTOR, reason):
            self._changed()
            _log.info("promotion.taken_back", run=run.id, persona=run.persona, reason=reason)
            await self._tell(run, reason)

    async def _promoted(self, run: Run) -> bool:
        moved = await self._store.ledger.promote_run(run.id, ACTOR)
        if moved and run.kind == "rebuild":
            await self._store.erasures.clear_rebuild_due(
                run.persona, run.base_fingerprint, until=run.created_at
            )
        return moved

    async def _champion(self, slug: str) -> str | None:
        """The version that the persona speaks with."""
        aliases = await self._store.aliases(self._fingerprint)
        whose = (slug, "champion")
        return next((one.version for one in aliases if (one.persona, one.alias) == whose), None)

    async def _tell(self, run: Run, sentence: str) -> None:
        if self._news is not None:
            await self._news.told(run, sentence)

    async def _live(self) -> Sequence[Run]:
        live = await self._store.ledger.live_runs()
        return [run for run in live if run.base_fingerprint == self._fingerprint]

    async def _runs_of(self, slug: str, kind: Kind) -> Sequence[Run]:
        whose = (slug, self._fingerprint, kind)
        runs = await self._store.ledger.runs()
        return [run for run in runs if (run.persona, run.base_fingerprint, run.kind) == whose]


def free_bytes() -> int:
    """Memory that a new process could have, in bytes; Linux only, elsewhere as much as anybody asks for."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    values: Mapping[str, str] = dict(line.split(":", 1) for line in lines)
    return int(values["MemAvailable"].split()[0]) * 1024


def _weighed(path: Path, rules: GateRules) -> tuple[Measures, Verdict, Mapping[str, Any]]:
    """What was measured, what the gate says of it, and how often it would say so by chance."""
    # It takes numpy a fifth of a second to come, and a bot that is restarted needs it weeks later.
    from training.operating import characteristic  # noqa: PLC0415

    measures = read_measures(path)
    return measures, judge(measures, rules), asdict(characteristic(measures, rules))


def _rejections(runs: Sequence[Run]) -> int:
    """How many runs did not last since the last one that did; one that failed says nothing of the votes."""
    many = 0
    for run in reversed(runs):
        if run.state == "promoted":
            break
        many += run.state in {"rejected", "rolled_back"}
    return many
