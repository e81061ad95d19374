"""`troupe bench loop`, from what was typed to what was found."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from bot.bench.attacks import attack_of
from bot.bench.demo import demonstrate
from bot.bench.loop import Bench, Live
from bot.bench.options import Options, Site
from bot.bench.people import Person, crowd
from bot.bench.report import document
from bot.bench.tastes import TASTES, Hidden, hidden, load_taste
from bot.bench.world import world
from bot.settings import Settings

__all__ = ["PAIR", "QUICK", "Asked", "measure", "options_of"]

# Who learns where nobody is named: opposite tastes, at once.
PAIR = ("harry_potter", "li_bai")
QUICK = ("form",)
QUICK_ROUNDS, QUICK_REPLIES = 2, 160


@dataclasses.dataclass(frozen=True, slots=True)
class Asked:
    """The command's options; None is the default of what is benched.

    ``is_short`` is one persona, one taste and two rounds: --quick, --demo and every attack.
    """

    is_short: bool = False
    taste: str | None = None
    persona: str | None = None
    attack: str | None = None
    is_gated: bool = True
    rounds: int | None = None
    replies: int | None = None
    raters: int | None = None
    seed: int | None = None
    threads: int | None = None
    recipe: str | None = None


def options_of(asked: Asked) -> Options:
    """What is benched.

    Raises:
        BenchError: there is no such taste or attack.
    """
    given = {
        name: value
        for name in ("rounds", "replies", "raters", "seed", "threads", "recipe")
        if (value := getattr(asked, name)) is not None
    }
    short = {"rounds": QUICK_ROUNDS, "replies": QUICK_REPLIES} if asked.is_short else {}
    attack = None if asked.attack is None else attack_of(asked.attack)
    return Options(_likes(asked), is_gated=asked.is_gated, attack=attack, **(short | given))


async def measure(
    site: Site, settings: Settings, options: Options, live: Live, *, is_demo: bool = False
) -> Mapping[str, Any]:
    """The bench's document.

    Raises:
        BotError, EngineError: with the reason why there is none.
    """
    began = time.monotonic()
    people = _people(options)
    async with world(site, settings, options, people) as made:
        bench = Bench(made, options, people, live)
        outcome = await (demonstrate(bench, people, live) if is_demo else bench.run())
    return document(outcome, options, seconds=time.monotonic() - began)


def _likes(asked: Asked) -> Mapping[str, Hidden]:
    names = QUICK if asked.is_short else tuple(TASTES)
    if asked.taste is not None and asked.taste not in TASTES:
        # Of somebody else's taste nobody knows the opposite.
        return {asked.persona or PAIR[0]: Hidden((load_taste(asked.taste),))}
    if asked.taste is not None:
        names = (asked.taste,)
    everybody = PAIR[:1] if asked.is_short else PAIR
    personas = everybody if asked.persona is None else (asked.persona,)
    return {slug: hidden(names, side=PAIR.index(slug) if slug in PAIR else 0) for slug in personas}


def _people(options: Options) -> Sequence[Person]:
    people = crowd(options.raters, seed=options.seed)
    if options.attack is None:
        return people
    return options.attack.people(people, Random(options.seed))  # noqa: S311 - a simulation, not a secret
