"""The rounds of the bench: chat, votes, a scheduled run, its gate, its canary, as the timetable has them.

```
talk until a run lacks nothing ──► Monday ──► open ──► train ──► judge ──► canary: talk, a day ──► promoted
        ▲                                                          └─► rejected      └─► rolled back   │
        └──────────────────────── taste on held-out prompts ◄────────────────────────────────────────┘
```
Every step is the loop's own work (`bot.loop`); the bench only lets people talk and time pass in between.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from bot.bench.options import Options
from bot.bench.people import Person
from bot.bench.prompts import Prompts, Tasted, prompts_of, taste
from bot.bench.standing import Span, spans
from bot.bench.talks import Crowd, Talks
from bot.bench.tastes import Predicate
from bot.bench.world import CANARY, CRON, World
from bot.next_run import lacking_of
from data.run_records import Run
from training.eligibility import ENOUGH_ROWS
from training.errors import MeasuresBroken
from training.measures import MEASURES, Measures, read_measures

__all__ = ["Bench", "Ended", "Live", "Outcome", "Silent"]

# Where a run lacks votes, people go on talking: so many replies at a time, so many times a round's at most.
MORE = 48
MOST_ROUNDS_OF_TALK = 4
MOST_FOR_ONE_SIDE = 2
# A canary with half of the conversations gets the replies that it needs in two days at most.
CANARY_REPLIES = 56
MOST_LOOKS = 3
DAY_S = 86_400.0
# After two refusals the schedule lets every other time pass.
MOST_FIRES = 2
NOBODY = "no gate"


class Live(Protocol):
    """Who hears how it goes."""

    def say(self, line: str) -> None: ...

    def expect(self, what: str, total: int) -> None:
        """So many ticks will come."""
        ...

    def tick(self) -> None: ...


class Silent:
    """A `Live` that nobody hears."""

    def say(self, line: str) -> None:
        del line

    def expect(self, what: str, total: int) -> None:
        del what, total

    def tick(self) -> None:
        """Nobody counts."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A run and the round that it belongs to."""

    round: int
    run: Run


@dataclass(frozen=True, slots=True)
class Outcome:
    """All that a bench found.

    Attributes:
        curves: of each persona, the taste at the start and after every round.
        guards: of each persona.
        runs: in order.
        seconds: that each sort of work took in all.
    """

    curves: Mapping[str, Sequence[Tasted]]
    guards: Mapping[str, Mapping[str, Span]]
    runs: Sequence[Ended]
    seconds: Mapping[str, float]


@dataclass(slots=True)
class _Notes:
    """What is known by now."""

    curves: dict[str, list[Tasted]] = field(default_factory=lambda: defaultdict(list))
    rounds: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))


class Bench:
    """One bench in one world."""

    def __init__(self, world: World, options: Options, people: Sequence[Person], live: Live) -> None:
        self.world = world
        self.options = options
        self._live = live
        self._prompts: Mapping[str, Prompts] = {
            slug: prompts_of(world, slug, many=options.prompts, seed=options.seed) for slug in options.likes
        }
        self._talks = Talks(
            world.square, _crowd(world, options, people), seed=options.seed, tick=self._live.tick
        )
        self._notes = _Notes()

    async def run(self) -> Outcome:
        """All rounds, from beginning to end."""
        await self.begin()
        for number in range(1, self.options.rounds + 1):
            self._live.say(f"Round {number} of {self.options.rounds}")
            await self.talk()
            await self.watch()
            await self.open(number)
            await self.train()
            await self.judge()
            await self.canaries()
            await self.taste()
        return await self.outcome()

    async def begin(self) -> None:
        """The first tick, and the taste before anybody has voted."""
        await self.world.loop.open_due()
        await self.taste()

    async def talk(self) -> None:
        """People chat and vote until every persona's next run has what it needs."""
        with self._phase("chat"):
            want = dict.fromkeys(self.options.likes, self.options.replies)
            had = dict.fromkeys(want, 0)
            while want:
                self._live.expect("replies", sum(want.values()))
                await self._talks.talk(want)
                for slug, replies in want.items():
                    await self._talks.compare(slug, replies)
                    had[slug] += replies
                want = {slug: MORE for slug in want if had[slug] < self._most(await self.lacking(slug))}

    def _most(self, lacking: Mapping[str, int]) -> int:
        """So many replies a persona gives in a round at most."""
        if not lacking:
            return 0
        # Where only good or only bad ones lack, the taste is rare, or met: talking brings hardly any more.
        is_one_sided = set(lacking) <= {"ups", "downs"}
        return self.options.replies * (MOST_FOR_ONE_SIDE if is_one_sided else MOST_ROUNDS_OF_TALK)

    async def lacking(self, slug: str) -> Mapping[str, int]:
        """What the persona's next run still lacks."""
        return await lacking_of(self.world.store, slug, least_rows=ENOUGH_ROWS)

    async def watch(self) -> None:
        """What was promoted a week ago is taken back where people say worse of it."""
        before = [run for run in await self._runs() if run.state == "promoted"]
        await self.world.loop.watch()
        await self.world.reconciler.once()
        for run in await self._again(before):
            if run.state == "rolled_back":
                self._live.say(f"{run.persona}: taken back, {run.reason}")

    async def open(self, number: int) -> Sequence[Run]:
        """Monday comes: the loop opens what it can."""
        world = self.world
        for _ in range(MOST_FIRES):
            world.calendar.skip_to_next(CRON)
            await world.loop.open_due()
            opened = [run for run in await self._runs() if run.id not in self._notes.rounds]
            if {run.persona for run in await self._live_runs()} >= set(self.options.likes):
                break
        for run in opened:
            self._notes.rounds[run.id] = number
            self._live.say(f"{run.persona}: run {run.id} is opened")
        for slug, reason in world.loop.waits.items():
            if slug in self.options.likes:
                self._live.say(f"{slug}: {reason}")
        attack = self.options.attack
        if attack is not None and attack.snapshot is not None:
            for run in opened:
                await asyncio.to_thread(attack.snapshot, world.home.snapshots / run.id)
        return opened

    async def train(self) -> None:
        """Trains what waits, as many runs at once as there are threads for."""
        waiting = await self._live_runs()
        with self._phase("train"):
            async with asyncio.TaskGroup() as tasks:
                for _ in range(max(1, min(self.options.threads, len(self.options.likes)))):
                    tasks.create_task(self.world.loop.train())
        for run in await self._again(waiting):
            if run.state == "failed":
                self._live.say(f"{run.persona}: failed, {run.error}")

    async def judge(self) -> None:
        """The gate's verdicts; without a gate everything that was trained goes live."""
        with self._phase("judge"):
            waiting = [run for run in await self._live_runs() if run.state == "evaluating"]
            if self.options.is_gated:
                await self.world.loop.judge()
            else:
                await self._promote(waiting)
            for run in await self._again(waiting):
                self._live.say(f"{run.persona}: {run.state}, {run.reason or 'without a gate'}")

    async def canaries(self) -> None:
        """The challenger speaks in half of the conversations of a day, and then everywhere or nowhere."""
        world = self.world
        with self._phase("canary"):
            await world.loop.canaries()
            await world.reconciler.once()
            for _ in range(MOST_LOOKS):
                trying = [run for run in await self._live_runs() if run.state == "canary"]
                if not trying:
                    break
                want = {run.persona: CANARY_REPLIES for run in trying}
                self._live.expect("replies of the canary", sum(want.values()))
                await self._talks.talk(want)
                world.calendar.skip(CANARY.hours * DAY_S / 24)
                await world.loop.canaries()
                await world.reconciler.once()
                for run in await self._again(trying):
                    is_open = run.state == "canary"
                    self._live.say(f"{run.persona}: {run.state}, {'not decided' if is_open else run.reason}")

    async def taste(self) -> None:
        """Asks every persona's champion the held-out prompts; an old one's replies are known."""
        with self._phase("taste"):
            for slug, likes in self.options.likes.items():
                curve = self._notes.curves[slug]
                champion = self.world.reconciler.champion(slug)
                if curve and champion is not None and curve[-1].adapter == champion.name:
                    curve.append(curve[-1])
                else:
                    curve.append(await taste(self.world, slug, self._prompts[slug], likes))
                shares = ", ".join(f"{name} {share:.0%}" for name, share in curve[-1].shares.items())
                self._live.say(f"{slug}: {shares} of {curve[-1].asked} held-out prompts")

    async def outcome(self) -> Outcome:
        runs = await self._runs()
        return Outcome(
            dict(self._notes.curves),
            {slug: await self._spans(slug, runs) for slug in self.options.likes},
            [Ended(self._notes.rounds.get(run.id, 0), run) for run in runs],
            {name: round(seconds, 1) for name, seconds in self._notes.seconds.items()},
        )

    async def _promote(self, waiting: Sequence[Run]) -> None:
        world = self.world
        for run in waiting:
            if run.challenger is not None:
                await world.store.promote(run.persona, world.fingerprint, run.challenger, actor=NOBODY)
        await world.reconciler.once()

    async def _spans(self, slug: str, runs: Sequence[Run]) -> Mapping[str, Span]:
        aliases = await self.world.store.aliases(self.world.fingerprint)
        live = {one.digest for one in aliases if (one.persona, one.alias) == (slug, "champion")}
        measured = [(run, found) for run in runs if run.persona == slug and (found := self._measures(run))]
        return spans(
            next((found for _, found in measured), None),
            next((found for run, found in measured if run.challenger in live), None),
        )

    def _measures(self, run: Run) -> Measures | None:
        with contextlib.suppress(MeasuresBroken):
            return read_measures(self.world.home.adapters / run.persona / run.id / MEASURES)
        return None

    async def _runs(self) -> Sequence[Run]:
        return await self.world.store.ledger.runs()

    async def _again(self, runs: Sequence[Run]) -> Sequence[Run]:
        """The same runs as they stand now."""
        wanted = {run.id for run in runs}
        return [run for run in await self._runs() if run.id in wanted]

    async def _live_runs(self) -> Sequence[Run]:
        return await self.world.store.ledger.live_runs()

    @contextlib.contextmanager
    def _phase(self, name: str) -> Iterator[None]:
        began = time.monotonic()
        try:
            yield
        finally:
            self._notes.seconds[name] += time.monotonic() - began


def _crowd(world: World, options: Options, people: Sequence[Person]) -> Crowd:
    attack = options.attack
    likes: dict[str, Predicate] = {slug: hidden.likes for slug, hidden in options.likes.items()}
    if attack is not None and attack.rewarded is not None:
        likes = dict.fromkeys(likes, attack.rewarded)
    asked = None if attack is None else attack.asked
    questions = {
        slug: sorted(
            {
                one.turn.user
                for one in world.cast[slug].examples.all
                if asked is None or asked(one.turn.assistant)
            }
        )
        for slug in options.likes
    }
    return Crowd(people, questions, likes, options.habits)
