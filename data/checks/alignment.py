"""Answers that belong to other rows' questions: a block in which a corpus has slid; pure.

An answer repeats rare words of its question far more often than chance. For every constant offset the rows
are searched for the stretch where the answers *there* hold the words of the questions *here* better than the
rows' own answers do. A stretch counts when its wins over its losses, row by row, cannot be luck among all
stretches and offsets tried (a sign test with Bonferroni's correction).

What this cannot see: a single swapped row, shuffled rows, a block with fewer than about thirty rows that
share words with their right answers, and a slide among rows that may be answered alike. Of blocks slid on
purpose by 10 or 48 rows it found 5 of 5 with 200 rows in instruction sets, 3 or 4 of 5 in short dialogues.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from data.search import tokens

__all__ = ["Slide", "slides"]

# Farther apart nobody has slid a file by accident; the search costs time for each offset.
REACH = 256
# A word in more answers than this says nothing of one row.
COMMON = 0.1
# What a row must gain, as a share of its question's weight, for a stretch to grow; a row that shares nothing
# with either answer says little.
TOLL = 0.1
BLANK_TOLL = 0.02
# A stretch that gains less than this many whole questions is not looked at.
LEAST_GAIN = 4.0
CERTAIN = 0.01
# Of the rows that differ at all, so many must fit better elsewhere.
WINNING = 0.8


@dataclass(frozen=True, slots=True)
class Slide:
    """Questions ``first``..``last`` find their answers ``offset`` rows on; ``wins`` fit better there."""

    first: int
    last: int
    offset: int
    wins: int
    losses: int

    @property
    def rows(self) -> range:
        """Every row at fault: those whose question is answered elsewhere, and those that hold the answers."""
        low, high = min(0, self.offset), max(0, self.offset)
        return range(self.first + low, self.last + high + 1)


def slides(questions: Sequence[str], answers: Sequence[str], *, reach: int = REACH) -> list[Slide]:
    """The slid blocks in file order, none overlapping another; the strongest is found first."""
    own, elsewhere = _overlaps(questions, answers, reach)
    tried = 2 * reach * len(questions)
    found: list[Slide] = []
    candidates = [
        (gain, first, last, offset)
        for offset, scores in elsewhere.items()
        for gain, first, last in _stretches(scores, own)
    ]
    for _, first, last, offset in sorted(candidates, reverse=True):
        slide = _counted(first, last, offset, elsewhere[offset], own)
        if _is_luck(slide, tried) or any(_overlap(slide.rows, other.rows) for other in found):
            continue
        found.append(slide)
    return sorted(found, key=lambda slide: slide.first)


def _overlaps(
    questions: Sequence[str], answers: Sequence[str], reach: int
) -> tuple[list[float], dict[int, dict[int, float]]]:
    """Which share of each question's weight its own answer holds, and by offset the other answers'."""
    postings: defaultdict[str, list[int]] = defaultdict(list)
    for at, answer in enumerate(answers):
        for token in set(tokens(answer)):
            postings[token].append(at)
    most = max(2, COMMON * len(answers))
    own = [0.0] * len(questions)
    elsewhere: defaultdict[int, dict[int, float]] = defaultdict(dict)
    for at, question in enumerate(questions):
        terms = {token for token in tokens(question) if 0 < len(postings.get(token, ())) <= most}
        weights = {term: math.log(len(answers) / len(postings[term])) for term in terms}
        total = sum(weights.values())
        if total <= 0:
            continue
        for other, weight in _hits(at, weights, postings, reach).items():
            if other == at:
                own[at] = weight / total
            else:
                elsewhere[other - at][at] = weight / total
    return own, dict(elsewhere)


def _hits(
    at: int, weights: Mapping[str, float], postings: Mapping[str, Sequence[int]], reach: int
) -> Counter[int]:
    hits: Counter[int] = Counter()
    for term, weight in weights.items():
        places = postings[term]
        for place in places[bisect_left(places, at - reach) : bisect_right(places, at + reach)]:
            hits[place] += weight  # type: ignore[assignment]  # a Counter of weights
    return hits


def _stretches(scores: Mapping[int, float], own: Sequence[float]) -> Iterator[tuple[float, int, int]]:
    """The stretches with a large sum of (score there - score here - toll), as (sum, first, last)."""
    best, best_first, best_last = 0.0, 0, 0
    run, first, previous = 0.0, 0, -1
    for at in sorted(scores):
        if run > 0:
            passed = own[previous + 1 : at]
            run -= sum(score + TOLL for score in passed if score) + BLANK_TOLL * passed.count(0.0)
        if run <= 0:
            if best > LEAST_GAIN:
                yield best, best_first, best_last
            best, run, first = 0.0, 0.0, at
        run += scores[at] - own[at] - TOLL
        if run > best:
            best, best_first, best_last = run, first, at
        previous = at
    if best > LEAST_GAIN:
        yield best, best_first, best_last


def _counted(first: int, last: int, offset: int, scores: Mapping[int, float], own: Sequence[float]) -> Slide:
    places = range(first, last + 1)
    wins = sum(scores.get(at, 0.0) > own[at] for at in places)
    losses = sum(scores.get(at, 0.0) < own[at] for at in places)
    return Slide(first, last, offset, wins, losses)


def _is_luck(slide: Slide, tried: int) -> bool:
    rows = slide.wins + slide.losses
    if rows == 0 or slide.wins < WINNING * rows:
        return True
    tail: int = sum(math.comb(rows, wins) for wins in range(slide.wins, rows + 1))
    return bool(tail * tried > CERTAIN * 2**rows)


def _overlap(left: range, right: range) -> bool:
    return left.start < right.stop and right.start < left.stop
