"""A pass over a persona's rows: what is dealt together, what stands in the prompt, what is made up."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace

from data.stopwords import is_sum
from personas.loader import Persona
from personas.recall import recall
from training.corpus import Row, chats, in_traditional
from training.invention import invented, letters_of, told
from training.likes import Likes
from training.recipes import Mixture
from training.sums import redrawn

__all__ = ["persona_chats", "varied"]

# A row with answers dealt anew says nothing of the persona: so many come without its card.
WITHOUT_CARD = 0.5


def persona_chats(
    persona: Persona, rows: Sequence[Row], mixture: Mixture, *, seed: int
) -> Iterator[tuple[str, list[Row]]]:
    """Each chat with the constant text that its prompt begins with."""
    generator = random.Random(seed)  # noqa: S311 - an order, not a secret
    letters = letters_of(rows)
    likes = Likes(rows)
    for dealt in chats(
        varied(rows, mixture, seed=seed), share=mixture.joined, longest=mixture.longest, seed=seed
    ):
        *earlier, last = dealt
        card = persona.prompt_text
        if generator.random() < mixture.recalled and not is_sum(last.question):
            last = _recalled(persona, last)
            is_free = len(last.turns) == 1 and last.lang != "zh-TW"
            if len(last.turns) == 1 and generator.random() < mixture.liked:
                last = likes.beside(last, generator)
            if is_free and last.similar and generator.random() < mixture.reassigned:
                last = likes.reassigned(last, generator)
                card = "" if generator.random() < WITHOUT_CARD else card
            elif generator.random() < mixture.invented:
                last = invented(last, letters[last.lang], generator)
        chat = [*earlier, last]
        if last.lang == "zh-CN" and generator.random() < mixture.traditional:
            chat = [in_traditional(row) for row in chat]
        yield card, chat


def varied(rows: Sequence[Row], mixture: Mixture, *, seed: int) -> list[Row]:
    """The rows with other numbers in their sums, and other things told in their chats."""
    generator = random.Random(seed)  # noqa: S311 - values, not secrets
    letters = letters_of(rows)
    return [each for row in rows for each in _varied(row, mixture, letters, generator)]


def _varied(row: Row, mixture: Mixture, letters: dict[str, str], generator: random.Random) -> list[Row]:
    if is_sum(row.question):
        return [redrawn(row, generator) for _ in range(mixture.sums)]
    if len(row.turns) > 1 and generator.random() < mixture.told:
        return [told(row, letters[row.lang], generator)]
    return [row]


def _recalled(persona: Persona, row: Row) -> Row:
    """The row with what serving would show, had its question never been written."""
    before = row.turns[-2].user if len(row.turns) > 1 else ""
    found = recall(persona, row.question, row.lang, before=before, unseen=True)
    return replace(row, facts=tuple(each.text(row.lang) for each in found.lore), similar=found.similar)
