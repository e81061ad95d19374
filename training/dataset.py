"""Rows become token ids with labels, through the prompt code that serving uses.

Labels are -100 everywhere but on what the assistant says (its end marker included).
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import torch

from engine.prompt import encode
from personas.loader import Persona
from personas.prompt import Budget, Message, Turn, plan
from training.corpus import Row, chats
from training.invention import invented, letters_of

__all__ = ["IGNORED", "Batches", "Example", "batches", "chat_example", "persona_epoch"]

IGNORED = -100
# Free lengths grew the process to 3.4 GB: oneDNN keeps a primitive per shape.
LENGTH_STEP = 32
LORE_SECTIONS = 2
# Examples count as beginning alike when so many tokens agree; a persona's card is longer.
ALIKE = 12
# Attention costs the square of a sequence's length: past this, sharing saves nothing.
SEQUENCE_LENGTH = 256
# Examples of so many steps are sorted together before they are dealt.
STEPS_SORTED = 4

Tokenizer = Any


@dataclass(frozen=True, slots=True)
class Example:
    ids: tuple[int, ...]
    labels: tuple[int, ...]


def chat_example(
    tokenizer: Tokenizer,
    persona: str,
    turns: Sequence[Turn],
    *,
    budget: Budget,
    facts: Sequence[str] = (),
    memory: Sequence[str] = (),
    learn_from: int = 0,
) -> Example:
    """One conversation as serving would send it for its last turn, plus the reply.

    Args:
        tokenizer: the base's.
        persona: the constant text, "" for the base itself.
        turns: all exchanges; ``facts`` and ``memory`` stand at the head of the last question.
        budget: the shares that serving uses.
        facts: lore lines of the last turn.
        memory: memory lines of the last turn.
        learn_from: replies of earlier turns than this one carry no loss.
    """
    *earlier, last = turns

    def count(text: str) -> int:
        return len(tokenizer.encode(text, add_special_tokens=False))

    planned = plan(persona, earlier, last.user, count=count, budget=budget, lore=facts, memory=memory)
    messages = [*planned.messages, Message("assistant", last.assistant)]
    encoded = encode(tokenizer, messages, reply=False)
    skipped = max(0, learn_from - planned.dropped_turns)
    seen = -1
    labels = []
    inside = False
    for token, learnt in zip(encoded.ids, encoded.mask, strict=True):
        seen += learnt and not inside
        inside = bool(learnt)
        labels.append(token if learnt and seen >= skipped else IGNORED)
    return Example(tuple(encoded.ids), tuple(labels))


def persona_epoch(
    tokenizer: Tokenizer,
    persona: Persona,
    rows: Sequence[Row],
    *,
    budget: Budget,
    joined: float,
    longest: int,
    lore_share: float,
    invented_share: float,
    seed: int,
) -> list[Example]:
    """One pass over a persona's rows: some alone with the lore that serving would find, some joined.

    In ``invented_share`` of those with lore its values are made up, so that the reply must look at them.
    """
    generator = random.Random(seed)  # noqa: S311 - an order, not a secret
    letters = letters_of(rows)
    examples = []
    for dealt in chats(rows, share=joined, longest=longest, seed=seed):
        *_, last = dealt
        if generator.random() < lore_share:
            found = persona.lore.nearest(last.question, last.lang, limit=LORE_SECTIONS)
            last = replace(last, facts=tuple(section.text(last.lang) for section in found))
        if last.facts and generator.random() < invented_share:
            last = invented(last, letters[last.lang], generator)
        turns = [turn for row in (*dealt[:-1], last) for turn in row.turns]
        examples.append(
            chat_example(
                tokenizer, persona.prompt_text, turns, budget=budget, facts=last.facts, memory=last.memory
            )
        )
    return examples


def batches(examples: Sequence[Example], *, size: int, seed: int) -> list[list[Example]]:
    """Groups examples for one step each, in random order; what begins alike is likelier to share a step."""
    generator = random.Random(seed)  # noqa: S311 - an order, not a secret
    order = list(examples)
    generator.shuffle(order)
    window = size * STEPS_SORTED
    for start in range(0, len(order), window):
        order[start : start + window] = sorted(
            order[start : start + window], key=lambda each: each.ids[:ALIKE]
        )
    groups = [order[at : at + size] for at in range(0, len(order), size)]
    generator.shuffle(groups)
    return groups


class Batches(torch.utils.data.Dataset[dict[str, torch.Tensor]]):
    """The whole course of a run, batch by batch in its final order, so that resuming is exact.

    A step's examples lie one after the other in a few sequences, and those that begin alike, as all chats of
    one persona do, behind one copy of that beginning. Each sees its beginning and itself and nothing of its
    neighbours, at the positions it would have alone: half the tokens, and the same is computed.

    Item: ``input_ids``, ``labels`` and ``position_ids``, each [sequences, length], int64, the labels already
    shifted to where they are predicted; ``attention_mask`` [sequences, 1, length, length], true where seen.
    """

    def __init__(self, groups: Sequence[Sequence[Example]], *, padding: int) -> None:
        self._groups = groups
        self._padding = padding

    def __len__(self) -> int:
        return len(self._groups)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        packed = [_laid(families) for families in _dealt(self._groups[index])]
        longest = max(len(sequence) for sequence in packed)
        length = -(-longest // LENGTH_STEP) * LENGTH_STEP
        return {
            "input_ids": _column(packed, "token", length, self._padding),
            "labels": _column(packed, "target", length, IGNORED),
            "position_ids": _column(packed, "position", length, 0),
            "attention_mask": _sight(
                _column(packed, "part", length, -1), _column(packed, "beginning", length, -1)
            ),
        }


@dataclass(frozen=True, slots=True)
class _Place:
    """One token of a sequence; ``part`` numbers what sees itself, ``beginning`` the part seen besides."""

    token: int
    target: int
    position: int
    part: int
    beginning: int


Family = list[Example]


def _dealt(group: Sequence[Example]) -> list[list[Family]]:
    """Sequences of about equal length, each of families that share a beginning."""
    costs = [len(example.ids) - shared for example, shared in zip(group, _alike(group), strict=True)]
    fill = sum(costs) / max(1, round(sum(costs) / SEQUENCE_LENGTH))
    sequences: list[list[Family]] = []
    length = fill
    for example, cost in zip(group, costs, strict=True):
        if length + cost / 2 > fill:
            sequences.append([[example]])
            length = float(len(example.ids))
            continue
        if cost < len(example.ids):
            sequences[-1][-1].append(example)
        else:
            sequences[-1].append([example])
        length += cost
    return sequences


def _alike(group: Sequence[Example]) -> list[int]:
    """How many tokens each shares with the one before; 0 where it is hardly more than a marker."""
    shared = [_shared(pair) for pair in pairwise(group)]
    return [0, *(tokens if tokens >= ALIKE else 0 for tokens in shared)]


def _shared(examples: Sequence[Example]) -> int:
    """How many tokens all of them begin with, before the one from which the first learnt is predicted."""
    limit = min(_first_learnt(example) for example in examples) - 1
    shared = 0
    for column in zip(*(example.ids[: max(0, limit)] for example in examples), strict=True):
        if len(set(column)) > 1:
            break
        shared += 1
    return shared


def _first_learnt(example: Example) -> int:
    return next((at for at, label in enumerate(example.labels) if label != IGNORED), len(example.labels))


def _laid(families: Sequence[Family]) -> list[_Place]:
    places: list[_Place] = []
    part = 0
    for family in families:
        beginning = part
        shared = _shared(family) if len(family) > 1 else 0
        places += [
            _Place(token, IGNORED, position, beginning, beginning)
            for position, token in enumerate(family[0].ids[:shared])
        ]
        for example in family:
            part += 1
            targets = (*example.labels[1:], IGNORED)
            places += [
                _Place(example.ids[position], targets[position], position, part, beginning)
                for position in range(shared, len(example.ids))
            ]
        part += 1
    return places


def _sight(part: torch.Tensor, beginning: torch.Tensor) -> torch.Tensor:
    """[sequences, 1, length, length]: a token sees what stands before it in its part and its beginning."""
    seen = part[:, None, :]
    allowed = (seen == part[:, :, None]) | (seen == beginning[:, :, None])
    length = part.shape[-1]
    return (allowed & torch.ones(length, length, dtype=torch.bool).tril())[:, None]


def _column(packed: Sequence[Sequence[_Place]], name: str, length: int, padding: int) -> torch.Tensor:
    rows = [
        [*(getattr(place, name) for place in places), *[padding] * (length - len(places))]
        for places in packed
    ]
    return torch.tensor(rows, dtype=torch.int64)
