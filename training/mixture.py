"""A pass over a persona's rows: what is dealt together, what stands in the prompt, what is made up."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace

from data.stopwords import is_sum
from personas.loader import Persona
from personas.prompt import Turn
from personas.recall import recall
from personas.unknown import is_for_the_unknown
from training.corpus import Row, chats, in_traditional, piles
from training.invention import invented, letters_of, told
from training.likes import Likes
from training.recipes import Mixture
from training.sums import redrawn

__all__ = ["persona_chats", "varied"]

# A row with answers dealt anew says nothing of the persona: so many come without its card.
WITHOUT_CARD = 0.5
# Sums are short: so many share a card.
SUMS_TOGETHER = 8


def persona_chats(
    persona: Persona,
    rows: Sequence[Row],
    mixture: Mixture,
    *,
    seed: int,
    avoided: frozenset[str] | None = None,
) -> Iterator[tuple[str, list[Row]]]:
    """Each chat with the constant text that its prompt begins with; ``avoided`` as in `varied`."""
    generator = random.Random(seed)  # noqa: S311 - an order, not a secret
    letters = letters_of(rows)
    likes = Likes(row for row in rows if not is_sum(row.question))
    drawn = varied(rows, mixture, seed=seed, avoided=avoided)
    sums = [row for row in drawn if is_sum(row.question) and len(row.turns) == 1]
    others = [row for row in drawn if not (is_sum(row.question) and len(row.turns) == 1)]
    for dealt in (
        *piles(sums, longest=SUMS_TOGETHER, seed=seed),
        *chats(others, share=mixture.joined, longest=mixture.longest, seed=seed),
    ):
        *earlier, last = dealt
        card = persona.prompt_text
        if generator.random() < mixture.recalled and not is_sum(last.question):
            last = _recalled(persona, last, earlier)
            # What nothing fits is shown what does not fit, as in serving.
            is_known = len(last.turns) == 1 and not is_for_the_unknown(last.topic)
            is_free = is_known and last.lang != "zh-TW"
            if is_known and generator.random() < mixture.liked:
                last = likes.beside(last, generator)
            if generator.random() < mixture.lore_alone and last.facts:
                last = _by_lore_alone(last, letters[last.lang], generator)
            elif is_free and last.similar and generator.random() < mixture.reassigned:
                last = likes.reassigned(last, generator)
                card = "" if generator.random() < WITHOUT_CARD else card
            elif generator.random() < mixture.invented:
                last = invented(last, letters[last.lang], generator)
        chat = [*earlier, last]
        if last.lang == "zh-CN" and generator.random() < mixture.traditional:
            chat = [in_traditional(row) for row in chat]
        yield card, chat


def varied(
    rows: Sequence[Row], mixture: Mixture, *, seed: int, avoided: frozenset[str] | None = None
) -> list[Row]:
    """The rows with other numbers in their sums, and other things told in their chats.

    ``avoided``: held-out questions, see `training.sums.redrawn`.
    """
    generator = random.Random(seed)  # noqa: S311 - values, not secrets
    letters = letters_of(rows)
    return [each for row in rows for each in _varied(row, mixture, letters, generator, avoided)]


def _varied(
    row: Row,
    mixture: Mixture,
    letters: dict[str, str],
    generator: random.Random,
    avoided: frozenset[str] | None,
) -> list[Row]:
    if is_sum(row.question):
        return [redrawn(row, generator, avoided) for _ in range(mixture.sums)]
    if len(row.turns) > 1 and generator.random() < mixture.told:
        return [told(row, letters[row.lang], generator)]
    return [row]


def _by_lore_alone(row: Row, letters: str, generator: random.Random) -> Row:
    """The row without like exchanges and with made-up values, if its reply takes any from the lore."""
    bare = replace(row, similar=())
    changed = invented(bare, letters, generator)
    return row if changed == bare else changed


def _recalled(persona: Persona, row: Row, earlier: Sequence[Row]) -> Row:
    """The row with what serving would show, had its question never been written."""
    said: list[Turn] = [turn for each in (*earlier, row) for turn in each.turns][:-1]
    before = f"{said[-1].user}\n{said[-1].assistant}" if said else ""
    found = recall(persona, row.question, row.lang, before=before, unseen=True)
    return replace(row, facts=tuple(each.text(row.lang) for each in found.lore), similar=found.similar)
