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

    ``joined`` of the rows are dealt into chats of 2..``longest`` rows; ``lore_share`` of the last
    questions carry the lore that serving would find, in ``invented_share`` of them with made-up values;
    ``most_rows`` None reads every row.
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
    lore_share: float = 0.9
    invented_share: float = 0.05
    general_share: float = 0.1
    validation: float = 0.03
    most_rows: int | None = None
    variants: bool = False
    targets: tuple[str, ...] = LINEAR_LAYERS


@dataclass(frozen=True, slots=True)
class BaseRecipe:
    """How the starter base is trained from nothing; sizes are multiples of 64 so that nf4 fits.

    Every pass draws ``general_share`` of the general rows and deals all rows into chats anew: ``joined`` of
    them into chats of 2..``longest``. ``lore_share`` of the cast's last questions carry the lore that serving
    would find, in ``invented_share`` of them with made-up values; rows that copy from the prompt come
    ``copies`` times, each with other values.
    """

    vocabulary: int = 6144
    hidden: int = 256
    layers: int = 8
    heads: int = 8
    key_value_heads: int = 2
    head_size: int = 32
    feed_forward: int = 704
    context: int = 1024
    learning_rate: float = 2e-3
    epochs: int = 7
    general_share: float = 0.6
    joined: float = 0.3
    longest: int = 4
    lore_share: float = 0.9
    invented_share: float = 0.15
    copies: int = 4
    rows_per_step: int = 8
    warmup: float = 0.03


STARTER_BASE = BaseRecipe()

RECIPES = {
    # The base has read the cast already: the adapter only settles who speaks.
    "starter": Recipe("starter", learning_rate=1e-3, epochs=4),
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
