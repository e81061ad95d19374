"""Hyper-parameters with a name; the starter's are found by measurement, see docs/starter.md."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass

__all__ = ["RECIPES", "STARTER_BASE", "BaseRecipe", "Recipe", "digest"]

LINEAR_LAYERS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a persona's adapter is trained.

    ``joined`` of the rows are dealt into chats of 2..``longest`` rows; ``recall_share`` of the last questions
    show what serving would look up, in ``invented_share`` of those with made-up values; ``traditional_share``
    of the Simplified rows come in Traditional characters. ``most_rows`` None reads every row.
    """

    name: str
    rank: int = 32
    alpha: int = 64
    dropout: float = 0.05
    learning_rate: float = 5e-4
    epochs: float = 1
    rows_per_step: int = 8
    warmup: float = 0.05
    joined: float = 0.3
    longest: int = 4
    recall_share: float = 0.9
    traditional_share: float = 0.2
    invented_share: float = 0.05
    general_share: float = 0.1
    validation: float = 0.03
    most_rows: int | None = None
    variants: bool = False
    targets: tuple[str, ...] = LINEAR_LAYERS


@dataclass(frozen=True, slots=True)
class BaseRecipe:
    """How the starter base is trained from nothing; sizes are multiples of 64 so that nf4 fits.

    First ``readings`` passes read rows of one topic together, ``together`` at a time, then ``epochs`` passes
    meet them as serving shows them: ``joined`` of them in chats of 2..``longest``, ``recall_share`` of the
    last questions with what serving would look up, in ``invented_share`` of those with made-up values. The
    first of these learns the prompts' words too. Every pass draws ``general_share`` of the general rows;
    rows that copy from the prompt come ``copies`` times, each with other values; ``traditional_share`` of
    the Simplified rows come in Traditional characters.
    """

    vocabulary: int = 6144
    hidden: int = 256
    layers: int = 8
    heads: int = 8
    key_value_heads: int = 2
    head_size: int = 32
    feed_forward: int = 704
    context: int = 1024
    learning_rate: float = 3e-3
    readings: int = 2
    together: int = 6
    epochs: int = 2
    general_share: float = 0.5
    joined: float = 0.2
    longest: int = 4
    recall_share: float = 0.9
    traditional_share: float = 0.2
    invented_share: float = 0.15
    copies: int = 1
    rows_per_step: int = 16
    warmup: float = 0.03


STARTER_BASE = BaseRecipe()

RECIPES = {
    # The base has read the cast already: the adapter only settles who speaks.
    "starter": Recipe("starter", learning_rate=1e-3, rows_per_step=16, most_rows=4000),
    # To see that every step works, in a minute or two; it teaches nothing.
    "quick": Recipe("quick", rank=8, alpha=16, epochs=1, most_rows=160),
    # For a pretrained base of some billions: it speaks already, so lower and shorter.
    "large": Recipe(
        "large", variants=True, rank=16, alpha=32, learning_rate=1e-4, epochs=2, general_share=0.3
    ),
}


def digest(recipe: Recipe | BaseRecipe) -> str:
    """sha256 of the recipe's values: two runs with the same digest had the same settings."""
    return hashlib.sha256(json.dumps(asdict(recipe), sort_keys=True).encode()).hexdigest()
