"""Rows of written dialogue: the `dialogues.jsonl` of a persona and the sets in `data/sets`.

A row is ``{"messages": […], "lang", "topic", "source", "lore"?}``; rows of the general sets may carry
``card``, ``facts`` and ``memory``: a made-up character, and the lines its prompt shows.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from data.chinese import traditional
from personas.prompt import Turn
from training.lines import read_lines

__all__ = [
    "Row",
    "chats",
    "in_both_scripts",
    "in_traditional",
    "piles",
    "read_rows",
    "related",
    "split_rows",
]


@dataclass(frozen=True, slots=True)
class Row:
    """One dialogue, as finished exchanges; ``lore`` are section slugs that its last turn needs.

    ``facts``, ``memory`` and ``similar`` stand at the head of the last question.

    ``is_variant``: a third or later answer to a question (source ``troupe-variant``). A model of the
    starter's size learns no answer well when it sees each one twice; larger bases read them all.
    """

    turns: tuple[Turn, ...]
    lang: str
    topic: str
    lore: tuple[str, ...] = ()
    card: str = ""
    facts: tuple[str, ...] = ()
    memory: tuple[str, ...] = ()
    similar: tuple[Turn, ...] = ()
    is_variant: bool = False

    @property
    def question(self) -> str:
        return self.turns[-1].user


def read_rows(path: Path) -> list[Row]:
    """Reads a JSONL corpus.

    Raises:
        CorpusBroken: naming file and line.
    """
    return read_lines(path, _row)


def split_rows(rows: Sequence[Row], *, share: float, seed: int) -> tuple[list[Row], list[Row]]:
    """Divides rows into training and validation by a seeded draw."""
    order = list(rows)
    random.Random(seed).shuffle(order)  # noqa: S311 - a split, not a secret
    cut = round(len(order) * share)
    return order[cut:], order[:cut]


def in_both_scripts(rows: Iterable[Row], *, share: float, seed: int) -> list[Row]:
    """The rows, a ``share`` of the Simplified ones in Traditional characters: there are fewer of those."""
    generator = random.Random(seed)  # noqa: S311 - a draw, not a secret
    return [
        in_traditional(row) if row.lang == "zh-CN" and generator.random() < share else row for row in rows
    ]


def chats(rows: Iterable[Row], *, share: float, longest: int, seed: int) -> Iterator[list[Row]]:
    """Deals rows into chats: a ``share`` of them joined to 2..longest rows of one language, the rest alone.

    A joined chat shows the model that earlier turns about something else do not matter, and pays for the
    persona's constant prompt once.
    """
    generator = random.Random(seed)  # noqa: S311 - an order, not a secret
    joined: dict[str, list[Row]] = {}
    alone: list[Row] = []
    for row in rows:
        free = not row.card and not row.facts and not row.memory
        if free and generator.random() < share:
            joined.setdefault(row.lang, []).append(row)
        else:
            alone.append(row)
    dealt = [[row] for row in alone]
    for lang in sorted(joined):
        dealt += _cut(joined[lang], 2, longest, generator)
    generator.shuffle(dealt)
    yield from dealt


def piles(rows: Iterable[Row], *, longest: int, seed: int) -> list[list[Row]]:
    """Deals all rows into chats of 1..longest of one language."""
    generator = random.Random(seed)  # noqa: S311 - an order, not a secret
    by_lang: dict[str, list[Row]] = {}
    for row in rows:
        by_lang.setdefault(row.lang, []).append(row)
    return [dealt for lang in sorted(by_lang) for dealt in _cut(by_lang[lang], 1, longest, generator)]


def _cut(pile: list[Row], shortest: int, longest: int, generator: random.Random) -> list[list[Row]]:
    """The shuffled pile in pieces of random length."""
    generator.shuffle(pile)
    pieces = []
    while pile:
        size = generator.randint(shortest, longest)
        pieces.append(pile[:size])
        pile = pile[size:]
    return pieces


def related(rows: Iterable[Row], *, longest: int, seed: int) -> list[list[Row]]:
    """Deals rows into chats of one topic and language, about ``longest`` exchanges each.

    What has a card or lines of its own stays alone.
    """
    generator = random.Random(seed)  # noqa: S311 - an order, not a secret
    dealt: list[list[Row]] = []
    piles: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if row.card or row.facts or row.memory:
            dealt.append([row])
        else:
            piles.setdefault((row.topic, row.lang), []).append(row)
    for pile in piles.values():
        generator.shuffle(pile)
        exchanges = longest
        for row in pile:
            if exchanges + len(row.turns) > longest:
                dealt.append([])
                exchanges = 0
            dealt[-1].append(row)
            exchanges += len(row.turns)
    generator.shuffle(dealt)
    return dealt


def in_traditional(row: Row) -> Row:
    """The Simplified row in the characters and words of Taiwan, with all that its prompt shows."""
    return replace(
        row,
        lang="zh-TW",
        turns=tuple(turn.rewritten(traditional) for turn in row.turns),
        card=traditional(row.card),
        facts=tuple(map(traditional, row.facts)),
        memory=tuple(map(traditional, row.memory)),
        similar=tuple(turn.rewritten(traditional) for turn in row.similar),
    )


def _row(data: dict[str, Any]) -> Row:
    messages = [(message["role"], message["content"]) for message in data["messages"]]
    if not messages or len(messages) % 2:
        raise ValueError("messages must be pairs of a question and a reply")
    turns = []
    for (asked, question), (answered, reply) in zip(messages[::2], messages[1::2], strict=True):
        if (asked, answered) != ("user", "assistant") or not question.strip() or not reply.strip():
            raise ValueError("messages must alternate user and assistant, none of them empty")
        turns.append(Turn(question, reply))
    return Row(
        turns=tuple(turns),
        lang=data["lang"],
        topic=data.get("topic", ""),
        lore=tuple(data.get("lore", ())),
        card=data.get("card", ""),
        facts=tuple(data.get("facts", ())),
        memory=tuple(data.get("memory", ())),
        is_variant=data.get("source") == "troupe-variant",
    )
