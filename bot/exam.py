"""Held-out questions asked of a persona in several ways, and what came of each: what `troupe eval` shows.

Ways: as served; without lore and like exchanges; of the bare base, which must not know; and the last turn of
a chat without its beginning. Then drawn as people get it: ten times each, for variety, and one at a time, for
the clock. Then what no probe asks: choices by likelihood, what the base could do before, messages far off the
persona's world, and values that stand in the prompt alone.
"""

from __future__ import annotations

import asyncio
import random
import statistics
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from bot.errors import ProbesUnanswered
from bot.once import AT_ONCE, Asked, Guest, Heard, likelihoods, visit
from bot.papers import Papers
from data.home import Home
from engine.protocol import BASE_MODEL, Engine, Message
from personas.loader import Cast, Persona
from training.choices import Choice, preferred
from training.copying import Case, is_copied
from training.evaluate import Probe, Score, Verdict, farthest_third, is_right, judge, scores
from training.offlist import OffList, OffListMessage
from training.style import Voices, masker, names_of

__all__ = ["Result", "Way", "sit"]

VARIED_QUESTIONS = 20
DRAWS = 10
# So many different right replies to one question are variety.
DIFFERENT = 4
TIMED = 20
SEED = 7

Tick = Callable[[], None]
Item = TypeVar("Item")
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Way:
    """Replies to probes asked one way."""

    name: str
    verdicts: tuple[Verdict, ...]

    @property
    def scores(self) -> list[Score]:
        return scores(self.verdicts)


@dataclass(frozen=True, slots=True)
class Result:
    """All of one persona's exam; ``more`` are scores over other things than single replies."""

    adapter: str | None
    ways: tuple[Way, ...]
    more: tuple[Score, ...]
    median_seconds: float


class _Room:
    """Asks on one engine, ticking with every answer."""

    def __init__(self, engine: Engine, home: Home, shipped: Path, tick: Tick) -> None:
        self._engine, self._home, self._shipped, self._tick = engine, home, shipped, tick

    async def guest(
        self, persona: Persona | None, *, seed: int = SEED, greedy: bool = True, recalls: bool = True
    ) -> Guest:
        return await visit(
            self._engine, self._home, self._shipped, persona, seed=seed, greedy=greedy, recalls=recalls
        )

    async def ask(self, guest: Guest, asked: Iterable[Asked]) -> list[str]:
        """The last replies, in order."""

        async def replied(one: Asked) -> str:
            return _reply(await guest.ask(one))

        return await self.gathered(list(asked), replied)

    async def gathered(self, items: Sequence[Item], ask: Callable[[Item], Awaitable[Answer]]) -> list[Answer]:
        """What ``ask`` finds for each, a few at once, in order."""
        gate = asyncio.Semaphore(AT_ONCE)

        async def one(item: Item) -> Answer:
            async with gate:
                answer = await ask(item)
            self._tick()
            return answer

        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(one(item)) for item in items]
        return [task.result() for task in running]

    async def remembers(self, model: str, choice: Choice) -> bool:
        """Whether a model prefers the right option, asked without a card."""
        asked = [Message("user", choice.question)]
        found = await likelihoods(self._engine, model, asked, choice.options, choice.id)
        return preferred(choice.options, found) == choice.right

    async def clocked(self, guest: Guest, probes: Sequence[Probe]) -> float:
        """The median seconds of one question after the other."""
        seconds = []
        for probe in probes:
            heard = await guest.ask(Asked(probe.id, probe.turns))
            _reply(heard)
            seconds.append(heard.seconds)
            self._tick()
        return statistics.median(seconds)


async def sit(
    engine: Engine,
    home: Home,
    shipped: Path,
    cast: Cast,
    slug: str,
    papers: Papers,
    *,
    expect: Callable[[int], None],
    tick: Tick,
) -> Result:
    """Asks everything.

    Args:
        engine: the one to ask on.
        home: whose champions are asked.
        shipped: the adapters that came with the program.
        cast: everybody, since a voice is told from the others'.
        slug: who is asked.
        papers: the held-out questions.
        expect: told at first how many answers there will be.
        tick: called with each.

    Raises:
        EngineError: the engine does not answer.
        ProbesUnanswered: it answered one question with an error.
    """
    persona, probes = cast[slug], papers.probes
    room = _Room(engine, home, shipped, tick)
    single = [probe for probe in probes if len(probe.turns) == 1]
    several = [probe for probe in probes if len(probe.turns) > 1]
    facts = [probe for probe in single if probe.kind == "fact"]
    varied = _drawn(facts, VARIED_QUESTIONS)
    timed = _drawn(single or probes, TIMED)
    asked = len(probes) + 2 * len(single) + len(several) + DRAWS * len(varied) + len(timed)
    guest = await room.guest(persona)
    retained = len(papers.retention) * (1 if guest.adapter is None else 2)
    expect(asked + len(papers.choices) + retained + len(papers.off_list) + len(papers.copying))
    served = _way("as served", probes, await room.ask(guest, _asked(probes)))
    unaided = await room.guest(persona, recalls=False)
    base = await room.guest(None)
    lasts = [replace(probe, turns=probe.turns[-1:]) for probe in several]
    ways = [
        served,
        _way("without lore and like exchanges", single, await room.ask(unaided, _asked(single))),
        _way("the bare base", single, await room.ask(base, _asked(single))),
        _way("last turns alone", several, await room.ask(guest, _asked(lasts))),
    ]
    more = (
        _farthest(served, persona),
        _in_voice(served, cast, slug),
        await _variety(room, persona, varied),
        *await _chosen(room, guest, papers),
        *await _off_the_list(room, guest, persona, papers.off_list),
        *await _copied(room, unaided, papers.copying),
    )
    return Result(guest.adapter, tuple(ways), more, await room.clocked(guest, timed))


async def _chosen(room: _Room, guest: Guest, papers: Papers) -> list[Score]:
    """Choices of the lore as served; what the base could do, asked bare of it and of the adapter."""

    async def is_right(choice: Choice) -> bool:
        found = await guest.likelihoods(choice.question, choice.options, choice.id)
        return preferred(choice.options, found) == choice.right

    marks = {"lore choices": await room.gathered(papers.choices, is_right)}
    for name, model in (("with the adapter", guest.adapter), ("the bare base", BASE_MODEL)):
        if model is not None:
            remembers = partial(room.remembers, model)
            marks[f"retention, {name}"] = await room.gathered(papers.retention, remembers)
    return [Score(name, sum(found), len(found)) for name, found in marks.items() if found]


async def _off_the_list(
    room: _Room, guest: Guest, persona: Persona, messages: Sequence[OffListMessage]
) -> list[Score]:
    if not messages:
        return []
    judge = OffList((one.topic, one.turn.assistant) for one in persona.examples.all)
    asked = [Asked(message.id, (message.question,)) for message in messages]
    fits = [judge.fit(reply) for reply in await room.ask(guest, asked)]
    return [Score(f"off the list: {fit}", fits.count(fit), len(fits)) for fit in ("fitting", "out of place")]


async def _copied(room: _Room, guest: Guest, cases: Sequence[Case]) -> list[Score]:
    """By script and by the kind of line in which the value stands; the guest looks nothing up."""

    async def is_right(case: Case) -> bool:
        lore, memory = (case.lines, ()) if case.kind == "lore" else ((), case.lines)
        return is_copied(case, await guest.shown(case.question, case.id, lore=lore, memory=memory))

    marks: dict[str, list[bool]] = {}
    for case, mark in zip(cases, await room.gathered(cases, is_right), strict=True):
        marks.setdefault(f"copied from {case.kind}, {case.lang}", []).append(mark)
    return [Score(group, sum(found), len(found)) for group, found in sorted(marks.items())]


async def _variety(room: _Room, persona: Persona, probes: Sequence[Probe]) -> Score:
    """How many of the probes, each drawn anew as people get it, have enough different right replies."""
    different = [set[str]() for _ in probes]
    for seed in range(DRAWS):
        guest = await room.guest(persona, seed=seed, greedy=False)
        for right, probe, reply in zip(different, probes, await room.ask(guest, _asked(probes)), strict=True):
            right.update({reply} if is_right(probe, reply) else ())
    enough = sum(len(right) >= DIFFERENT for right in different)
    return Score(f"{DIFFERENT} right replies of {DRAWS}", enough, len(probes))


def _asked(probes: Iterable[Probe]) -> Iterable[Asked]:
    return (Asked(probe.id, probe.turns) for probe in probes)


def _reply(heard: Heard) -> str:
    if heard.error is not None:
        raise ProbesUnanswered(f"Question {heard.asked.id} got no answer: {heard.error}")
    return heard.replies[-1]


def _way(name: str, probes: Iterable[Probe], replies: Iterable[str]) -> Way:
    return Way(name, tuple(judge(probe, reply) for probe, reply in zip(probes, replies, strict=True)))


def _drawn(probes: Sequence[Probe], count: int) -> list[Probe]:
    generator = random.Random(SEED)  # noqa: S311 - a choice, not a secret
    return generator.sample(list(probes), min(count, len(probes)))


def _farthest(served: Way, persona: Persona) -> Score:
    probes = [verdict.probe for verdict in served.verdicts]
    far = {probe.id for probe in farthest_third(probes, (one.turn.user for one in persona.examples.all))}
    marks = [verdict.is_right for verdict in served.verdicts if verdict.probe.id in far]
    return Score("farthest third", sum(marks), len(marks))


def _in_voice(served: Way, cast: Cast, slug: str) -> Score:
    personas = cast.personas.values()
    hide = masker(name for persona in personas for name in names_of(persona))
    voices = Voices(
        {one.slug: [hide(example.turn.assistant) for example in one.examples.all] for one in personas}
    )
    marks = [voices.whose(hide(verdict.reply)) == slug for verdict in served.verdicts]
    return Score("told from the others by voice", sum(marks), len(marks))
