"""Whether a question lies beyond what a persona's exchanges know; pure.

What is said of strange things shares letters with everything: the nearest exchange then has an answer that
fits nothing. Two-class naive Bayes over terms and short stretches of letters (Manning, Raghavan and Schütze
2008, "Introduction to Information Retrieval", chapter 13) tells such questions from the others: on held-out
training rows it ranks a strange one above a known one in 83 to 94 of 100 pairs.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence

from data.checks.duplicates import fold

__all__ = ["Unknown", "is_for_the_unknown"]

# PREFIX-GROUP-NUMBER, as in HP-OFF-12: far off its world, nothing it could know, provocations.
FOR_THE_UNKNOWN = frozenset({"OFF", "UN", "PV"})
WIDTHS = (2, 3, 4)
SMOOTHING = 0.1
# Of the known questions so many may be taken for strange ones …
MISTAKEN = 0.05
# … among so many, which settle where the line is drawn.
SAMPLE = 400
# Of fewer strange ones nothing can be learnt.
FEWEST = 50


def is_for_the_unknown(topic: str) -> bool:
    """Whether the topic's exchanges meet what the persona's world does not hold."""
    _, _, rest = topic.partition("-")
    return rest.partition("-")[0] in FOR_THE_UNKNOWN


class Unknown:
    """Learnt from (question, its terms, its topic) of one language's exchanges."""

    def __init__(self, asked: Iterable[tuple[str, Sequence[str], str]]) -> None:
        pieces: dict[tuple[str, bool], frozenset[str]] = {}
        for question, terms, topic in asked:
            pieces.setdefault((fold(question), is_for_the_unknown(topic)), _pieces(question, terms))
        self._seen = pieces
        self._counts = {True: Counter[str](), False: Counter[str]()}
        for (_, is_strange), found in pieces.items():
            self._counts[is_strange].update(found)
        strange = sum(is_strange for _, is_strange in pieces)
        self._sizes = {True: strange, False: len(pieces) - strange}
        self._line = self._settled() if strange >= FEWEST else math.inf

    def holds(self, question: str, terms: Sequence[str], *, unseen: bool = False) -> bool:
        """Whether the question is a strange one; ``unseen`` as if it had never been written."""
        if self._line == math.inf:
            return False
        return self._odds(fold(question), _pieces(question, terms), unseen=unseen) > self._line

    def _settled(self) -> float:
        known = [(folded, found) for (folded, is_strange), found in self._seen.items() if not is_strange]
        sample = known[:: max(1, len(known) // SAMPLE)]
        odds = sorted(self._odds(folded, found, unseen=True) for folded, found in sample)
        return odds[int(len(odds) * (1 - MISTAKEN))]

    def _odds(self, folded: str, found: frozenset[str], *, unseen: bool) -> float:
        """By how much the strange ones explain it better, tempered by its length: pieces overlap."""
        own_strange = int(unseen and (folded, True) in self._seen)
        own_known = int(unseen and (folded, False) in self._seen)
        of_strange = self._sizes[True] - own_strange + 2 * SMOOTHING
        of_known = self._sizes[False] - own_known + 2 * SMOOTHING
        total = 0.0
        for piece in found:
            strange = max(self._counts[True][piece] - own_strange, 0)
            known = max(self._counts[False][piece] - own_known, 0)
            if strange or known:
                as_strange = math.log((strange + SMOOTHING) / of_strange)
                total += as_strange - math.log((known + SMOOTHING) / of_known)
        return total / (1 + math.sqrt(len(found)))


def _pieces(question: str, terms: Sequence[str]) -> frozenset[str]:
    """Terms, marked as such, and stretches of letters with the edges of the text."""
    plain = "^" + "".join(letter if letter.isalnum() else " " for letter in question.lower()) + "$"
    stretches = (plain[at : at + width] for width in WIDTHS for at in range(len(plain) - width + 1))
    return frozenset([*(f"={term}" for term in terms), *stretches])
