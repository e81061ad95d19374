"""What a persona has at hand for a question: lore, and exchanges like it; serving and training ask here."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from data.stopwords import is_sum
from personas.loader import Persona
from personas.lore import Section
from personas.prompt import Turn

__all__ = ["Recalled", "recall"]

LORE_SECTIONS = 2
SIMILAR_EXCHANGES = 3


@dataclass(frozen=True, slots=True)
class Recalled:
    """``lore`` best first, ``similar`` best last."""

    lore: tuple[Section, ...]
    similar: tuple[Turn, ...]


def recall(
    persona: Persona,
    question: str,
    lang: str,
    *,
    before: str = "",
    unseen: bool = False,
    draw: Random | None = None,
) -> Recalled:
    """Looks up what the prompt of a question shows.

    Args:
        persona: whose.
        question: the new message.
        lang: the language it will be shown in.
        before: what was said just before, by both: half of the places go to what it makes of the question.
        unseen: not the written exchanges with this very question, see `Examples.nearest`.
        draw: chooses among answers that are about as near; see there.
    """
    if is_sum(question):  # another sum's result would only mislead
        return Recalled((), ())
    lore = persona.lore.nearest(question, lang, limit=LORE_SECTIONS // 2 if before else LORE_SECTIONS)
    if before:
        together = persona.lore.nearest(question, lang, limit=LORE_SECTIONS, before=before)
        lore = (*lore, *(section for section in together if section not in lore))[:LORE_SECTIONS]
    similar = persona.examples.nearest(
        question, lang, limit=SIMILAR_EXCHANGES, before=before, unseen=unseen, draw=draw
    )
    return Recalled(lore, similar)
