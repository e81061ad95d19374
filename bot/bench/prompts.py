"""Held-out prompts: how much of what people like is in a persona's replies; the same prompts every time."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from statistics import fmean

from bot.bench.talks import AT_ONCE
from bot.bench.tastes import Hidden, Predicate
from bot.bench.world import World
from bot.once import Asked, Guest, Heard
from training.evaluate import read_probes

__all__ = ["LIKED", "Prompts", "Tasted", "prompts_of", "taste"]

# Of all tastes together: what people press a thumb up for.
LIKED = "liked"


@dataclass(frozen=True, slots=True)
class Prompts:
    """Questions that nobody asks in a chat and no training reads, and the seed of the replies."""

    questions: tuple[str, ...]
    seed: int


@dataclass(frozen=True, slots=True)
class Tasted:
    """What a version's replies were like; ``shares`` by the name of the taste, 0 to 1."""

    adapter: str | None
    shares: Mapping[str, float]
    asked: int
    replies: tuple[tuple[str, str], ...]


def prompts_of(world: World, persona: str, *, many: int, seed: int) -> Prompts:
    """A drawn part of the persona's probes of one question."""
    probes = read_probes(world.cast[persona].folder / "probes.jsonl")
    single = [probe.turns[0] for probe in probes if len(probe.turns) == 1]
    draw = Random(seed)  # noqa: S311 - a simulation, not a secret
    return Prompts(tuple(draw.sample(single, min(many, len(single)))), seed)


async def taste(world: World, persona: str, prompts: Prompts, likes: Hidden) -> Tasted:
    """Asks the persona's champion; a prompt that it has no reply to counts as one that nobody likes."""
    champion = world.reconciler.champion(persona)
    adapter = None if champion is None else champion.name
    guest = Guest(world.engine, world.info, world.cast[persona], adapter, seed=prompts.seed)
    gate = asyncio.Semaphore(AT_ONCE)

    async def ask(number: int, question: str) -> Heard:
        async with gate:
            return await guest.ask(Asked(number, (question,)))

    heard = await asyncio.gather(*(ask(number, one) for number, one in enumerate(prompts.questions)))
    replies = tuple((one.asked.turns[0], one.replies[-1] if one.error is None else "") for one in heard)
    return Tasted(adapter, _shares(replies, likes), len(replies), replies)


def _shares(replies: Sequence[tuple[str, str]], likes: Hidden) -> Mapping[str, float]:
    def share(liked: Predicate) -> float:
        return fmean(bool(reply) and liked(question, reply) for question, reply in replies)

    return {LIKED: share(likes.likes)} | {one.name: share(one.likes) for one in likes.tastes}
