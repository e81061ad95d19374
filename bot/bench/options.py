"""What one bench of the loop does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bot.bench.attacks import Attack
from bot.bench.talks import Habits
from bot.bench.tastes import Hidden

__all__ = ["Options", "Site"]


@dataclass(frozen=True, slots=True)
class Site:
    """Where the shipped things lie: personas, sets, first adapters, the base."""

    personas: Path
    sets: Path
    adapters: Path
    base: Path


@dataclass(frozen=True, slots=True)
class Options:
    """Everything that a bench can be told.

    Attributes:
        likes: what the people of each persona like; these personas learn.
        rounds: of chat, votes, a run, its gate and its canary.
        replies: of each persona in a round; more where the run would lack votes.
        raters: how many people there are.
        seed: of the people, their questions and the held-out prompts; replies are drawn anew each time.
        threads: of the whole bench; trainers share them.
        recipe: of the training, by name.
        is_gated: without, whatever was trained goes live at once.
        attack: what goes wrong.
        prompts: so many held-out questions measure the taste.
        habits: how people vote.
    """

    likes: Mapping[str, Hidden]
    rounds: int = 4
    replies: int = 220
    raters: int = 60
    seed: int = 7
    threads: int = 2
    recipe: str = "starter"
    is_gated: bool = True
    attack: Attack | None = None
    prompts: int = 60
    habits: Habits = field(default_factory=Habits)
