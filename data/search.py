"""Lexical search without a tokenizer: words and CJK bigrams, ranked by BM25; pure.

Chinese has no spaces, so running Han text is cut into overlapping pairs; a lone Han character stands for
itself. Robertson and Zaragoza (2009), "The Probabilistic Relevance Framework: BM25 and Beyond".
"""

from __future__ import annotations

import heapq
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

__all__ = ["Bm25", "tokens"]

PIECE = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]+|[a-z0-9]+(?:['’][a-z]+)?")
LATIN = re.compile(r"[a-z0-9]")
# The common values of the literature.
K1, B = 1.2, 0.75
SHORTEST_STEM = 4


def tokens(text: str) -> list[str]:
    """Lower-cased words (plural and possessive s removed) and Han bigrams, in order."""
    found: list[str] = []
    for piece in PIECE.findall(unicodedata.normalize("NFKC", text).lower()):
        if LATIN.match(piece):
            found.append(_stem(piece))
        elif len(piece) == 1:
            found.append(piece)
        else:
            found += [piece[at : at + 2] for at in range(len(piece) - 1)]
    return found


class Bm25:
    """An index over a fixed list of documents; ``b`` is how much a long document is held against it.

    Terms of more than ``most`` documents are not searched for.
    """

    def __init__(self, documents: Iterable[Sequence[str]], *, b: float = B, most: int | None = None) -> None:
        self._b = b
        counts = [Counter(document) for document in documents]
        self._lengths = [sum(count.values()) for count in counts]
        self._mean = sum(self._lengths) / len(self._lengths) if self._lengths else 0.0
        self._postings: dict[str, list[tuple[int, int]]] = {}
        for index, count in enumerate(counts):
            for term, times in count.items():
                self._postings.setdefault(term, []).append((index, times))
        if most is not None:
            self._postings = {term: found for term, found in self._postings.items() if len(found) <= most}

    def rarity(self, documents: int = 1) -> float:
        """The inverse document frequency of a term that so many documents hold."""
        total = len(self._lengths)
        return math.log(1 + (total - documents + 0.5) / (documents + 0.5))

    def scores(self, query: Sequence[str]) -> dict[int, float]:
        """Score by document index, of the documents that share a term with the query."""
        scores: dict[int, float] = {}
        for term in set(query):
            postings = self._postings.get(term, ())
            if not postings:
                continue
            rarity = self.rarity(len(postings))
            for index, times in postings:
                norm = K1 * (1 - self._b + self._b * self._lengths[index] / self._mean)
                scores[index] = scores.get(index, 0.0) + rarity * times * (K1 + 1) / (times + norm)
        return scores

    def best(self, query: Sequence[str], *, limit: int, floor: float = 0.0) -> list[tuple[int, float]]:
        """The best documents above ``floor``, best first; equal scores in document order."""
        above = (entry for entry in self.scores(query).items() if entry[1] > floor)
        return heapq.nsmallest(limit, above, key=lambda entry: (-entry[1], entry[0]))


def _stem(word: str) -> str:
    word = word.removesuffix("'s").removesuffix("’s")
    if len(word) >= SHORTEST_STEM and word.endswith("s") and not word.endswith("ss"):
        return word[:-1]
    return word
