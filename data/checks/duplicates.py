"""What stands twice in a corpus, exactly or nearly; pure.

Two texts are the same when they fold to the same: trimmed, case, width and punctuation aside. They are near
when the Jaccard index of their character pairs reaches a threshold and they hold the same values: a sum is
no near duplicate of another sum.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from math import ceil

__all__ = ["fold", "jaccard", "near_twins", "pairs", "values"]

# A mark between digits is an operator, a decimal point or the end of a number: 1+23 is not 12+3.
BETWEEN_DIGITS = re.compile(r"(?<=[0-9])\s*([^\w\s]?)[^\w]*(?=[0-9])")
PUNCTUATION = re.compile(r"(?<![0-9])[\W_]+|[\W_]+(?![0-9])")
HAN = re.compile("[\u3400-\u9fff]+")
LATIN = re.compile("[a-z]+")
# Not "one" and 一, which are also articles: 讲一个笑话 is 讲个笑话.
NUMBER = re.compile(
    "[0-9]+|[二三四五六七八九十百千]|twelve|twenty|eleven|(?:thir|four|fif|six|seven|eigh|nine)teen"
    "|two|three|four|five|six|seven|eight|nine|ten"
)


def fold(text: str) -> str:
    """The text without case, width, spaces and punctuation.

    What stands between two digits stays, and so does a text of nothing but marks or emoji.
    """
    text = unicodedata.normalize("NFKC", text).casefold().strip()
    joined = BETWEEN_DIGITS.sub(lambda found: found[1] or (" " if found[0] else ""), text)
    return PUNCTUATION.sub("", joined) or text


def pairs(folded: str) -> frozenset[str]:
    """The character pairs of a folded text; a single character stands for itself."""
    return frozenset(folded[at : at + 2] for at in range(len(folded) - 1)) or frozenset({folded})


def values(folded: str) -> tuple[str, ...]:
    """What a template is filled with: the numbers, and of two scripts the pieces in the rarer one.

    "what does 水 mean" is no near duplicate of "what does 桥 mean".
    """
    latin, han = LATIN.findall(folded), HAN.findall(folded)
    rarer = han if sum(map(len, han)) < sum(map(len, latin)) else latin
    return (*NUMBER.findall(folded), *(rarer if latin and han else ()))


def jaccard(left: frozenset[str], right: frozenset[str]) -> float:
    shared = len(left & right)
    return shared / (len(left) + len(right) - shared)


def near_twins(folded: Iterable[str], *, threshold: float) -> dict[str, str]:
    """For each distinct text that has one, an earlier text that is near it but not the same.

    Only the rarest pairs of a text are looked up: two sets whose index reaches t share one of the first
    n - ceil(t n) + 1 elements in any common order. Source: Bayardo, Ma and Srikant (2007), "Scaling Up All
    Pairs Similarity Search", with their filter by length.
    """
    texts = list(dict.fromkeys(folded))
    grams = [pairs(text) for text in texts]
    rarity = Counter(gram for each in grams for gram in each)
    index: defaultdict[str, list[int]] = defaultdict(list)
    twins: dict[str, str] = {}
    for at, own in enumerate(grams):
        size = len(own)
        ordered = sorted(own, key=lambda gram: (rarity[gram], gram))
        prefix = ordered[: size - ceil(threshold * size) + 1]
        twin = _twin(at, prefix, texts, grams, index, threshold=threshold)
        if twin is not None:
            twins[texts[at]] = texts[twin]
        for gram in prefix:
            index[gram].append(at)
    return twins


def _twin(
    at: int,
    prefix: Sequence[str],
    texts: Sequence[str],
    grams: Sequence[frozenset[str]],
    index: Mapping[str, Sequence[int]],
    *,
    threshold: float,
) -> int | None:
    own = grams[at]
    least, most = threshold * len(own), len(own) / threshold
    seen: set[int] = set()
    for gram in prefix:
        for other in index.get(gram, ()):
            if other in seen:
                continue
            seen.add(other)
            is_near = least <= len(grams[other]) <= most and jaccard(own, grams[other]) >= threshold
            if is_near and values(texts[other]) == values(texts[at]):
                return other
    return None
