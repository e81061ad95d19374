"""Rows become token ids with labels, through the prompt code that serving uses.

Labels are -100 everywhere but on what the assistant says (its end marker included).
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from engine.prompt import encode
from personas.loader import Persona
from personas.prompt import Budget, Message, Turn, plan
from training.corpus import Row, related
from training.mixture import persona_chats
from training.recipes import Mixture

__all__ = [
    "IGNORED",
    "Batches",
    "Example",
    "Padded",
    "alike",
    "batches",
    "chat_example",
    "dealt_example",
    "filled",
    "padded",
    "persona_epoch",
    "reading_epoch",
]

IGNORED = -100
# Free lengths grew the process to 3.4 GB: oneDNN keeps a primitive per shape.
LENGTH_STEP = 32
# So many tokens at the beginning of a reply decide which it will be.
DECISIVE = 2
# Examples of so many steps are sorted together before they are dealt.
STEPS_SORTED = 32

Tokenizer = Any


@dataclass(frozen=True, slots=True)
class Example:
    """``starts``: the places of the tokens that begin a learnt reply."""

    ids: tuple[int, ...]
    labels: tuple[int, ...]
    starts: tuple[int, ...] = ()


def chat_example(
    tokenizer: Tokenizer,
    persona: str,
    turns: Sequence[Turn],
    *,
    budget: Budget,
    facts: Sequence[str] = (),
    memory: Sequence[str] = (),
    similar: Sequence[Turn] = (),
    reads: bool = False,
) -> Example:
    """One conversation as serving would send it for its last turn, plus the reply.

    Args:
        tokenizer: the base's.
        persona: the constant text, "" for the base itself.
        turns: all exchanges; ``facts`` and ``memory`` stand at the head of the last question.
        budget: the shares that serving uses.
        facts: lore lines of the last turn.
        memory: memory lines of the last turn.
        similar: exchanges like the last one.
        reads: everything after the persona's text is learnt, what the user says as well.
    """
    *earlier, last = turns

    def count(text: str) -> int:
        return len(tokenizer.encode(text, add_special_tokens=False))

    planned = plan(
        persona,
        earlier,
        last.user,
        count=count,
        budget=budget,
        lore=facts,
        memory=memory,
        similar=similar,
    )
    messages = [*planned.messages, Message("assistant", last.assistant)]
    encoded = encode(tokenizer, messages, reply=False)
    learnt: Sequence[bool] = encoded.mask
    if reads:
        start = next(span.start for span in encoded.spans if span.role == "user")
        learnt = [at >= start for at in range(len(encoded.ids))]
    labels = [token if known else IGNORED for token, known in zip(encoded.ids, learnt, strict=True)]
    starts = [
        place
        for span in encoded.spans
        if span.role == "assistant"
        for place in range(span.start, min(span.start + DECISIVE, span.end))
        if learnt[place]
    ]
    return Example(tuple(encoded.ids), tuple(labels), tuple(starts))


def dealt_example(
    tokenizer: Tokenizer, card: str, dealt: Sequence[Row], *, budget: Budget, reads: bool = False
) -> Example:
    """Rows one after the other as one conversation, with what the last one's prompt shows.

    A row with a card of its own is told that one, not ``card``.
    """
    last = dealt[-1]
    return chat_example(
        tokenizer,
        last.card or card,
        [turn for row in dealt for turn in row.turns],
        budget=budget,
        facts=last.facts,
        memory=last.memory,
        similar=last.similar,
        reads=reads,
    )


def persona_epoch(
    tokenizer: Tokenizer,
    persona: Persona,
    rows: Sequence[Row],
    mixture: Mixture,
    *,
    budget: Budget,
    seed: int,
    reads: bool = False,
    avoided: frozenset[str] | None = None,
) -> list[Example]:
    """One pass over a persona's rows as serving shows them, dealt and varied anew.

    ``avoided``: held-out questions, see `training.sums.redrawn`.
    """
    return [
        dealt_example(tokenizer, card, dealt, budget=budget, reads=reads)
        for card, dealt in persona_chats(persona, rows, mixture, seed=seed, avoided=avoided)
    ]


def reading_epoch(
    tokenizer: Tokenizer, card: str, rows: Sequence[Row], *, budget: Budget, longest: int, seed: int
) -> list[Example]:
    """One pass of plain reading: rows of one topic after each other, every word of them learnt.

    What was just said of the same thing helps to say the next: so copying from the context is learnt early,
    as with related documents in one window (Shi et al. 2023, arXiv 2310.10638).
    """
    return [
        dealt_example(tokenizer, card, dealt, budget=budget, reads=True)
        for dealt in related(rows, longest=longest, seed=seed)
    ]


def batches(examples: Sequence[Example], *, size: int, seed: int, fill: int = 0) -> list[list[Example]]:
    """Groups examples for one step each, in random order, of about equal length: padding costs as much.

    A step has ``size`` of them; of short ones as many as ``fill`` tokens hold.
    """
    generator = random.Random(seed)  # noqa: S311 - an order, not a secret
    order = list(examples)
    generator.shuffle(order)
    window = size * STEPS_SORTED
    for start in range(0, len(order), window):
        order[start : start + window] = sorted(order[start : start + window], key=lambda each: len(each.ids))
    groups: list[list[Example]] = []
    for example in order:
        group = groups[-1] if groups else None
        if group and (len(group) < size or _longest([*group, example]) * (len(group) + 1) <= fill):
            group.append(example)
        else:
            groups.append([example])
    generator.shuffle(groups)
    return groups


def _longest(group: Sequence[Example]) -> int:
    return max(len(example.ids) for example in group)


class Batches(torch.utils.data.Dataset[dict[str, torch.Tensor]]):
    """The whole course of a run, batch by batch in its final order, so that resuming is exact.

    Item: ``input_ids`` and ``labels``, each [examples, length], int64, padded on the right, the labels
    already shifted to where they are predicted; ``starts``, [replies], where in the flattened labels replies
    begin.
    """

    def __init__(self, groups: Sequence[Sequence[Example]], *, padding: int) -> None:
        self._groups = groups
        self._padding = padding

    def __len__(self) -> int:
        return len(self._groups)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        group = self._groups[index]
        batch = padded(group, padding=self._padding)
        length = batch.labels.shape[1]
        return {
            "input_ids": batch.input_ids,
            "labels": batch.labels,
            "starts": torch.tensor(
                [row * length + place - 1 for row, example in enumerate(group) for place in example.starts],
                dtype=torch.int64,
            ),
        }


@dataclass(frozen=True, slots=True)
class Padded:
    """``input_ids`` and ``labels``, each [rows, length], int64; labels stand where they are predicted."""

    input_ids: torch.Tensor
    labels: torch.Tensor

    def to(self, device: torch.device) -> Padded:
        return Padded(self.input_ids.to(device), self.labels.to(device))


def padded(group: Sequence[Example], *, padding: int) -> Padded:
    """Examples as one batch, padded on the right to a round length."""
    length = -(-_longest(group) // LENGTH_STEP) * LENGTH_STEP
    return Padded(
        filled([example.ids for example in group], length, padding),
        filled([example.labels[1:] for example in group], length, IGNORED),
    )


def alike(rows: Sequence[Sequence[int]], *, size: int) -> Iterator[list[int]]:
    """Places of the rows, at most ``size`` at a time, those of about one length together."""
    order = sorted(range(len(rows)), key=lambda place: len(rows[place]))
    for start in range(0, len(order), size):
        yield order[start : start + size]


def filled(rows: Sequence[Sequence[int]], length: int, padding: int) -> torch.Tensor:
    """The rows as [rows, length], int64, filled up on the right."""
    return torch.tensor([[*row, *[padding] * (length - len(row))] for row in rows], dtype=torch.int64)
