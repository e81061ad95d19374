"""Hyper-parameters with a name; the starter's are found by measurement, see docs/starter.md."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, replace

__all__ = [
    "RECIPES",
    "STARTER_BASE",
    "VOTE_RECIPES",
    "BaseRecipe",
    "Mixture",
    "Recipe",
    "VoteRecipe",
    "digest",
]

LINEAR_LAYERS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True, slots=True)
class Mixture:
    """How a pass over a persona's rows is dealt and what their prompts show; shares between 0 and 1.

    ``joined`` of the rows are dealt into chats of 2..``longest`` rows. ``recalled`` of the last questions
    show what serving would look up, ``liked`` of those exchanges of their own topic for certain, and
    ``lore_alone`` of them no exchange, but lore with made-up values, where the reply takes any from it.
    ``reassigned`` of the rows are dealt answers of other topics; in ``invented`` of the others the names and
    numbers that prompt and reply share are made up. In ``told`` of the chats what the person said of
    themselves is made up too. Sums come ``sums`` times, each with other numbers, and ``traditional`` of the
    Simplified chats in Traditional characters.
    """

    joined: float = 0.2
    longest: int = 4
    recalled: float = 0.9
    liked: float = 0.6
    lore_alone: float = 0.1
    reassigned: float = 0.0
    invented: float = 0.1
    told: float = 0.7
    sums: int = 3
    traditional: float = 0.2


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a persona's adapter is trained; ``most_rows`` None reads every row in each of its ``epochs``."""

    name: str
    rank: int = 32
    alpha: int = 64
    dropout: float = 0.05
    learning_rate: float = 5e-4
    epochs: int = 1
    rows_per_step: int = 8
    warmup: float = 0.05
    mixture: Mixture = field(default_factory=Mixture)
    general_share: float = 0.1
    validation: float = 0.03
    most_rows: int | None = None
    variants: bool = False
    targets: tuple[str, ...] = LINEAR_LAYERS
    quantises: bool = False


@dataclass(frozen=True, slots=True)
class VoteRecipe:
    """How an adapter is trained on votes; shares of tokens between 0 and 1.

    An item has ``votes_per_item`` votes (a pair counts once) and as much replay as makes ``persona_share`` of
    its tokens the persona's corpus and ``general_share`` general rows: ``own_rows`` of them in the base's own
    words, or with 0 as they are written. ``accumulate`` items make a step. There are ``epochs`` passes over
    the votes, and more where that would be fewer than ``least_steps``. Of an item's thumbs ``mismatched``
    stand once more beside another's prompt, for the KL estimate of KTO. ``taught``, ``liked`` and
    ``replayed`` weigh the likelihood of rewrites, of good and chosen replies, and of replay.

    A run is stopped where the good replies' log-probability falls more than ``most_fall`` nats a token below
    the reference's, or the policy leaves it by more than ``most_kl`` nats a token on general rows; looked at
    every ``check_every`` steps.
    """

    name: str
    learning_rate: float
    warmup: float = 0.1
    epochs: int = 3
    least_steps: int = 0
    votes_per_item: int = 16
    accumulate: int = 1
    beta: float = 0.1
    label_smoothing: float = 0.1
    taught: float = 1.0
    liked: float = 0.1
    replayed: float = 0.1
    persona_share: float = 0.3
    general_share: float = 0.2
    mismatched: int = 4
    own_rows: int = 300
    most_fall: float = 0.05
    most_kl: float = 0.05
    check_every: int = 10
    guard_items: int | None = None
    spoken_items: int = 300
    quantises: bool = False


@dataclass(frozen=True, slots=True)
class BaseRecipe:
    """How the starter base is trained from nothing; sizes are multiples of 64 so that nf4 fits.

    First ``readings`` passes read rows of one topic together, ``together`` at a time, then ``epochs`` passes
    over ``cast_share`` of the cast's rows meet them as serving shows them; the first of these learns the
    prompts' words too. Every pass draws ``general_share`` of the general rows, their sums ``general_sums``
    times with other numbers; rows that copy from the prompt come ``copies`` times in those two, each with
    other values. A step has ``rows_per_step``, half of that in reading, and of short ones as many as
    ``tokens_per_step`` hold.
    """

    vocabulary: int = 6144
    hidden: int = 256
    layers: int = 8
    heads: int = 8
    key_value_heads: int = 8
    head_size: int = 32
    feed_forward: int = 704
    context: int = 1024
    rope_theta: float = 1e5
    learning_rate: float = 3e-3
    readings: int = 1
    together: int = 6
    epochs: int = 2
    cast_share: float = 0.55
    general_share: float = 0.4
    mixture: Mixture = field(default_factory=lambda: Mixture(joined=0.15, liked=0.7, reassigned=0.4, sums=12))
    copies: int = 2
    general_sums: int = 4
    rows_per_step: int = 16
    tokens_per_step: int = 2048
    warmup: float = 0.03


STARTER_BASE = BaseRecipe()

RECIPES = {
    # The base has read the cast already: the adapter only settles who speaks.
    "starter": Recipe("starter", learning_rate=1e-3, rows_per_step=16, general_share=0.15, most_rows=4000),
    # To see that every step works, in a minute or two; it teaches nothing.
    "quick": Recipe("quick", rank=8, alpha=16, epochs=1, most_rows=160),
    # For a pretrained base of some billions: it speaks already, so lower and shorter.
    "large": Recipe(
        "large",
        variants=True,
        rank=16,
        alpha=32,
        learning_rate=1e-4,
        epochs=2,
        general_share=0.3,
        quantises=True,
    ),
}

VOTE_RECIPES = {
    # Found by measurement, docs/learning.md.
    "starter": VoteRecipe(
        "starter",
        learning_rate=3e-3,
        beta=0.4,
        epochs=2,
        votes_per_item=4,
        accumulate=4,
        mismatched=1,
        liked=1.0,
        replayed=1.0,
        own_rows=0,
        # General rows come without a card, so the adapter may move there without a persona changing: the
        # guard for retention fell by nothing at 0.14 nats.
        most_kl=0.3,
    ),
    # To see that every step works; it teaches little.
    "quick": VoteRecipe(
        "quick",
        learning_rate=2e-3,
        epochs=1,
        votes_per_item=4,
        own_rows=16,
        guard_items=120,
        spoken_items=120,
        check_every=2,
    ),
    # For a pretrained base of some billions: low and short, it speaks already.
    "large": VoteRecipe("large", learning_rate=2e-5, votes_per_item=4, accumulate=4, quantises=True),
}
# Thirty times too fast: what a run must be refused for (`troupe bench loop --attack learning-rate`).
VOTE_RECIPES["starter-too-fast"] = replace(
    VOTE_RECIPES["starter"],
    name="starter-too-fast",
    learning_rate=30 * VOTE_RECIPES["starter"].learning_rate,
)


def digest(recipe: Recipe | BaseRecipe | VoteRecipe) -> str:
    """sha256 of the recipe's values: two runs with the same digest had the same settings."""
    return hashlib.sha256(json.dumps(asdict(recipe), sort_keys=True).encode()).hexdigest()
