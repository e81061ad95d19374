"""Rows become token ids with labels, through the prompt code that serving uses.

Labels are -100 everywhere but on what the assistant says (its end marker included).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from engine.prompt import encode
from personas.loader import Persona
from personas.prompt import Budget, Message, Turn, plan
from training.corpus import Row, chats

__all__ = ["IGNORED", "Batches", "Example", "batches", "chat_example", "document_examples", "persona_epoch"]

IGNORED = -100
# Free lengths grew the process to 3.4 GB: oneDNN keeps a primitive per shape.
LENGTH_STEP = 32
LORE_SECTIONS = 2

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
    seed: int,
) -> list[Example]:
    """One pass over a persona's rows: some alone with the lore that serving would find, some joined."""
    generator = random.Random(seed)  # noqa: S311 - an order, not a secret
    examples = []
    for dealt in chats(rows, share=joined, longest=longest, seed=seed):
        turns = [turn for row in dealt for turn in row.turns]
        last = dealt[-1]
        facts: list[str] = []
        if generator.random() < lore_share:
            found = persona.lore.nearest(last.question, last.lang, limit=LORE_SECTIONS)
            facts = [section.text(last.lang) for section in found]
        examples.append(
            chat_example(
                tokenizer, persona.prompt_text, turns, budget=budget, facts=facts, memory=last.memory
            )
        )
    return examples


def document_examples(tokenizer: Tokenizer, texts: Iterable[str], *, length: int) -> list[Example]:
    """Plain running text in blocks of ``length`` tokens; every token is learnt."""
    end = tokenizer.eos_token_id
    stream: list[int] = []
    for text in texts:
        stream += [*tokenizer.encode(text, add_special_tokens=False), end]
    blocks = [tuple(stream[at : at + length]) for at in range(0, len(stream) - 1, length)]
    return [Example(block, block) for block in blocks]


def batches(examples: Sequence[Example], *, size: int, seed: int) -> list[list[Example]]:
    """Groups examples of like length, the groups in random order."""
    generator = random.Random(seed)  # noqa: S311 - an order, not a secret
    order = list(examples)
    generator.shuffle(order)
    order.sort(key=lambda example: -(-len(example.ids) // LENGTH_STEP))
    groups = [order[at : at + size] for at in range(0, len(order), size)]
    generator.shuffle(groups)
    return groups


class Batches(torch.utils.data.Dataset[dict[str, torch.Tensor]]):
    """The whole course of a run, batch by batch in its final order, so that resuming is exact.

    Item: ``input_ids``, ``labels`` and ``attention_mask``, each [rows, length], int64.
    """

    def __init__(self, groups: Sequence[Sequence[Example]], *, padding: int) -> None:
        self._groups = groups
        self._padding = padding

    def __len__(self) -> int:
        return len(self._groups)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        group = self._groups[index]
        longest = max(len(example.ids) for example in group)
        length = -(-longest // LENGTH_STEP) * LENGTH_STEP
        return {
            "input_ids": _padded(group, length, lambda example: example.ids, self._padding),
            "labels": _padded(group, length, lambda example: example.labels, IGNORED),
            "attention_mask": _padded(group, length, lambda example: (1,) * len(example.ids), 0),
        }


def _padded(
    group: Sequence[Example], length: int, part: Callable[[Example], tuple[int, ...]], padding: int
) -> torch.Tensor:
    rows = [[*part(example), *[padding] * (length - len(part(example)))] for example in group]
    return torch.tensor(rows, dtype=torch.int64)
