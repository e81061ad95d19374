"""Whose voice a reply is in, by its characters alone: what tells personas apart when their names are hidden.

Multinomial naive Bayes over character n-grams with add-one counts (Manning, Raghavan and Schütze 2008,
"Introduction to Information Retrieval", chapter 13), every persona equally likely beforehand.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from personas.loader import Persona

__all__ = ["Voices", "masker", "names_of"]

WIDTHS = (1, 2, 3)
MASK = "□"


class Voices:
    """A classifier of replies, from what each persona is written to say."""

    def __init__(self, written: Mapping[str, Iterable[str]]) -> None:
        self._counts = {slug: Counter(_grams(texts)) for slug, texts in written.items()}
        self._totals = {slug: counts.total() for slug, counts in self._counts.items()}
        self._kinds = len(set().union(*self._counts.values()))

    def whose(self, text: str) -> str:
        """The slug of the likeliest speaker."""
        found = list(_grams([text]))

        def likelihood(slug: str) -> float:
            counts, total = self._counts[slug], self._totals[slug] + self._kinds
            return sum(math.log((counts[gram] + 1) / total) for gram in found)

        return max(self._counts, key=likelihood)


def names_of(persona: Persona) -> frozenset[str]:
    """Names of the persona, and of people, things and places in its facts."""
    facts = [fact for section in persona.lore.sections for fact in section.facts]
    forms = {
        form
        for fact in facts
        if fact.kind in {"name", "place"}
        for accepted in fact.forms.values()
        for form in accepted
    }
    return frozenset({*persona.names.values(), *persona.aliases, *forms})


def masker(names: Iterable[str]) -> Callable[[str], str]:
    """What hides every one of the names in a text, whatever its case; longer names first."""
    ordered = sorted((name for name in names if name), key=len, reverse=True)
    if not ordered:
        return str
    pattern = re.compile("|".join(map(re.escape, ordered)), re.IGNORECASE)
    return lambda text: pattern.sub(MASK, text)


def _grams(texts: Iterable[str]) -> Iterable[str]:
    for text in texts:
        plain = f" {text.lower()} "
        for width in WIDTHS:
            yield from (plain[at : at + width] for at in range(len(plain) - width + 1))
