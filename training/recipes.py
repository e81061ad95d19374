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
    questions carry the lore that serving would find; ``most_rows`` None reads every row.
    """

    name: str
    rank: int = 32
    alpha: int = 64
    dropout: float = 0.05
    learning_rate: float = 5e-4
    epochs: float = 1
    rows_per_step: int = 8
    warmup: float = 0.05
    joined: float = 0.7
    longest: int = 5
    lore_share: float = 0.8
    general_share: float = 0.1
    validation: float = 0.03
    most_rows: int | None = None
    variants: bool = False
    targets: tuple[str, ...] = LINEAR_LAYERS


@dataclass(frozen=True, slots=True)
class BaseRecipe:
    """How the starter base is trained from nothing; sizes are multiples of 64 so that nf4 fits.

    The text is read ``cycles`` times ``epochs``; each cycle warms up and cools down anew. A last cycle of
    ``cast_epochs`` reads the cast's dialogues as chats under their cards, beside ``cast_general`` of the
    general rows: adapters alone did not carry them (docs/starter.md).
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
    epochs: int = 4
    cycles: int = 2
    cast_epochs: int = 4
    cast_joined: float = 0.75
    cast_longest: int = 6
    cast_lore: float = 0.6
    cast_general: float = 0.1
    rows_per_step: int = 8
    warmup: float = 0.03
    document_length: int = 192


STARTER_BASE = BaseRecipe()

RECIPES = {
    # The base has read the cast already: the adapter only settles who speaks.
    "starter": Recipe("starter", most_rows=1800),
    # To see that every step works, in a minute or two; it teaches nothing.
    "quick": Recipe("quick", rank=8, alpha=16, epochs=1, most_rows=160),
    # For a pretrained base of some billions: it speaks already, so lower and shorter.
    "large": Recipe(
        "large", variants=True, rank=16, alpha=32, learning_rate=1e-4, epochs=2, joined=0.3, general_share=0.3
    ),
}


def digest(recipe: Recipe | BaseRecipe) -> str:
    """sha256 of the recipe's values: two runs with the same digest had the same settings."""
    return hashlib.sha256(json.dumps(asdict(recipe), sort_keys=True).encode()).hexdigest()
