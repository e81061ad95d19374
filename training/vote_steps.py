"""The whole course of a run from votes, item by item in its final order, so that resuming is exact.

An item is a batch of lines: thumbs, pairs and rewrites dealt anew in every pass, replay beside them, and some
thumbs' replies once more under another's prompt, by which KTO estimates how far the policy has moved.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from itertools import pairwise
from typing import Any

import torch

from training.dataset import LENGTH_STEP, Example, padded
from training.recipes import VoteRecipe
from training.spoken import spoken_example
from training.vote_rows import Thumb, Votes

__all__ = ["Kind", "Line", "Steps", "deal", "passes", "with_references"]

Tokenizer = Any
# Votes of so many items are sorted together before they are dealt.
ITEMS_SORTED = 8


class Kind(IntEnum):
    """What a line is in its item."""

    GOOD = 0
    BAD = 1
    CHOSEN = 2
    REJECTED = 3
    MISMATCHED = 4
    REPLAYED = 5


@dataclass(frozen=True, slots=True)
class Line:
    """One sequence of an item; ``reference`` is its log-probability under the adapter in production.

    ``is_taught``: a rewrite, whose likelihood is raised as such.
    """

    example: Example
    kind: Kind
    weight: float = 1.0
    is_taught: bool = False
    reference: float = 0.0


@dataclass(frozen=True, slots=True)
class _Vote:
    """The lines of one vote; a thumb's also as values, to be set beside another's prompt."""

    lines: tuple[Line, ...]
    thumb: Thumb | None = None


def passes(votes: int, recipe: VoteRecipe) -> int:
    """How many times the votes are gone through: until there are steps enough, one of them at least."""
    items = max(1, -(-votes // recipe.votes_per_item))
    least = max(1, recipe.least_steps) * recipe.accumulate
    return max(recipe.epochs, -(-least // items))


def deal(
    votes: Votes,
    tokenizer: Tokenizer,
    recipe: VoteRecipe,
    *,
    persona: Sequence[Example],
    general: Sequence[Example],
    seed: int,
) -> list[list[Line]]:
    """Every item of the run, references still missing.

    Args:
        votes: what people said, one thumb, pair or rewrite at least.
        tokenizer: the base's.
        recipe: shares and sizes.
        persona: replay of the persona's corpus, drawn from in turn.
        general: replay of what the base can do.
        seed: of the order.
    """
    generator = random.Random(seed)  # noqa: S311 - an order, not a secret
    units = _units(votes, tokenizer)
    own, common = _Replay(persona, generator), _Replay(general, generator)
    items: list[list[Line]] = []
    for _ in range(passes(len(units), recipe)):
        for group in _groups(units, recipe.votes_per_item, generator):
            lines = [line for unit in group for line in unit.lines]
            tokens = sum(len(line.example.ids) for line in lines)
            spoken = 1 - recipe.persona_share - recipe.general_share
            lines += _mismatched(group, tokenizer, recipe.mismatched)
            lines += own.take(tokens * recipe.persona_share / spoken)
            lines += common.take(tokens * recipe.general_share / spoken)
            items.append(lines)
    return items[: len(items) - len(items) % recipe.accumulate]


def with_references(items: Sequence[Sequence[Line]], references: Mapping[Example, float]) -> list[list[Line]]:
    """The items with the reference of each line that needs one."""
    return [[replace(line, reference=references.get(line.example, 0.0)) for line in lines] for lines in items]


class Steps(torch.utils.data.Dataset[dict[str, torch.Tensor]]):
    """Items as tensors.

    Item: ``input_ids`` and ``labels``, each [lines, length], int64; ``kinds`` [lines], int64; ``weights`` and
    ``references`` [lines], float32; ``taught`` [lines], bool.
    """

    def __init__(self, items: Sequence[Sequence[Line]], *, padding: int) -> None:
        self._items = items
        self._padding = padding

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        lines = self._items[index]
        batch = padded([line.example for line in lines], padding=self._padding)
        return {
            "input_ids": batch.input_ids,
            "labels": batch.labels,
            "kinds": torch.tensor([int(line.kind) for line in lines]),
            "weights": torch.tensor([line.weight for line in lines]),
            "taught": torch.tensor([line.is_taught for line in lines]),
            "references": torch.tensor([line.reference for line in lines]),
        }


def _units(votes: Votes, tokenizer: Tokenizer) -> list[_Vote]:
    units = []
    for thumb in votes.thumbs:
        example = spoken_example(tokenizer, thumb.messages, thumb.completion)
        kind = Kind.GOOD if thumb.is_good else Kind.BAD
        units.append(_Vote((Line(example, kind, thumb.weight),), thumb))
    for pair in votes.pairs:
        chosen = spoken_example(tokenizer, pair.messages, pair.chosen)
        rejected = spoken_example(tokenizer, pair.messages, pair.rejected)
        units.append(_Vote((Line(chosen, Kind.CHOSEN), Line(rejected, Kind.REJECTED))))
    for rewrite in votes.rewrites:
        taught = spoken_example(tokenizer, rewrite.messages, rewrite.completion)
        rejected = spoken_example(tokenizer, rewrite.messages, rewrite.rejected)
        units.append(_Vote((Line(taught, Kind.CHOSEN, is_taught=True), Line(rejected, Kind.REJECTED))))
    return units


def _groups(units: Sequence[_Vote], size: int, generator: random.Random) -> list[Sequence[_Vote]]:
    """One pass in random order, in groups of about equal length: padding costs as much as words."""
    order = list(units)
    generator.shuffle(order)
    groups = [
        group
        for window in _even(order, size * ITEMS_SORTED)
        for group in _even(sorted(window, key=_length), size)
    ]
    generator.shuffle(groups)
    return groups


def _length(unit: _Vote) -> int:
    """The length it is padded to: those of one stay in random order, else no pass differs from another."""
    return -(-max(len(line.example.ids) for line in unit.lines) // LENGTH_STEP)


def _even(units: Sequence[_Vote], most: int) -> Iterator[Sequence[_Vote]]:
    """Groups of at most ``most``, none much smaller than others: a group of one has no mismatched pair."""
    count = -(-len(units) // most)
    cuts = [len(units) * number // count for number in range(count + 1)]
    yield from (units[start:end] for start, end in pairwise(cuts))


def _mismatched(group: Sequence[_Vote], tokenizer: Tokenizer, most: int) -> list[Line]:
    """Prompts with the reply of the thumb before, as TRL pairs them; none where there is one thumb only."""
    thumbs = [unit.thumb for unit in group if unit.thumb is not None]
    if len(thumbs) < 2:  # noqa: PLR2004 - its own reply would stand beside it
        return []
    return [
        Line(spoken_example(tokenizer, thumb.messages, thumbs[place - 1].completion), Kind.MISMATCHED)
        for place, thumb in enumerate(thumbs[:most])
    ]


class _Replay:
    """Examples again and again, in another order each time, dealt by tokens."""

    def __init__(self, examples: Sequence[Example], generator: random.Random) -> None:
        self._examples = _endless(examples, generator)
        self._owed = 0.0

    def take(self, tokens: float) -> list[Line]:
        """About so many tokens; by what one example is too long, the next ones are fewer."""
        lines: list[Line] = []
        self._owed += tokens
        while self._owed > 0 and (example := next(self._examples, None)) is not None:
            self._owed -= len(example.ids)
            lines.append(Line(example, Kind.REPLAYED))
        return lines


def _endless(examples: Sequence[Example], generator: random.Random) -> Iterator[Example]:
    """All of them again and again, in another order each time; nothing where there are none."""
    order = list(examples)
    while order:
        generator.shuffle(order)
        yield from order
