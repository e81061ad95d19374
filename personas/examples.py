"""A persona's written exchanges, found for a question by BM25 over its wording and over its topic's.

What is like the question and how the persona met it is shown in the prompt, as in RoleGPT (arXiv
2310.00746) and ChatHaruhi (arXiv 2308.09597): a small model answers right what it can look up and reword,
and little else.
Both Chinese scripts are searched as one, and shown in the asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from random import Random

from data.checks.duplicates import fold, jaccard, pairs
from data.chinese import simplified, traditional
from data.search import Bm25, tokens
from personas.prompt import Turn
from personas.unknown import Unknown, is_for_the_unknown

__all__ = ["Example", "Examples"]

# What stands in more than a fifth of the questions tells none from the others.
COMMON_SHARE = 0.2
# … but of a few dozen, chance alone makes some common.
FEW = 100
# A long question is not held against the example: people write short ones.
LENGTH_WEIGHT = 0.3
LONGEST_WORD = 4
# What was asked before says what "and his sister?" is about; but most questions are about something new.
# So one place goes to what is nearest when both count alike.
BEFORE_WEIGHT = 0.3
FOLLOW_UP_WEIGHT = 1.0
# So many candidates of one question are kept to choose from.
CANDIDATES = 60
# All that was asked and said of a topic weighs more than one wording: measured on held-out training rows,
# where the nearest was of the right topic in 43 of 100 by wording alone and in 50 with both.
TOPIC_WEIGHT = 2.0
MOST_OF_A_TOPIC = 2
# Of the best score; so near are four to five different answers, on training rows.
NEAR = 0.8
# Among so many of the best, one that shares so many character pairs asks the same.
SEEN_AGAIN = 3
REPEATED = 0.6


@dataclass(frozen=True, slots=True)
class Example:
    """One written exchange; without a ``topic`` it stands for itself."""

    turn: Turn
    lang: str
    topic: str = ""


class Examples:
    """Written exchanges, English ones and Chinese ones searched apart; indexed at the first question."""

    def __init__(self, examples: Iterable[Example]) -> None:
        self.all = tuple(examples)

    @cached_property
    def _english(self) -> _Shelf:
        return _Shelf([one for one in self.all if one.lang == "en"])

    @cached_property
    def _chinese(self) -> _Shelf:
        return _Shelf([one for one in self.all if one.lang != "en"])

    def index(self) -> None:
        """Builds what the first question would wait for, about a second for 15,000 exchanges."""
        _ = (self._english, self._chinese)

    def nearest(
        self,
        question: str,
        lang: str,
        *,
        limit: int,
        before: str = "",
        unseen: bool = False,
        draw: Random | None = None,
    ) -> tuple[Turn, ...]:
        """The nearest exchanges, no question or answer twice, two of a topic at most; the best last.

        A question beyond what the exchanges know is met by one that was written for such questions.

        Args:
            question: as the person wrote it.
            lang: the language they are shown in.
            limit: at most so many.
            before: what was said before, "" at the beginning.
            unseen: leaves out the question itself, as if it had never been written: for training on it.
            draw: chooses the best among its topic's that are about as near, so that a question asked again
                is met by another of the answers written for it.
        """
        shelf = self._english if lang == "en" else self._chinese
        here, earlier = shelf.candidates(question), shelf.candidates(before)
        unwanted = fold(question) if unseen else None
        places = limit - 1 if before and limit > 1 else limit
        found: list[int] = []
        ranked = _ranked(here, earlier, BEFORE_WEIGHT)
        # What follows on something is short and says little: only a beginning tells that it is strange.
        if not before and shelf.is_strange(question, here, unwanted):
            strange = shelf.strange_ones(here, unwanted)
            ranked = [*(_drawn(shelf, strange, draw) if draw else strange)[:1], *ranked]
        elif draw is not None:
            ranked = [*_drawn(shelf, ranked, draw), *ranked]
        _choose(shelf, ranked, found, limit=places, unwanted=unwanted)
        if before:
            # Last in rank, first in the prompt.
            follow_ups = _ranked(here, earlier, FOLLOW_UP_WEIGHT)
            _choose(shelf, follow_ups, found, limit=limit, unwanted=unwanted)
        return tuple(_shown(shelf.examples[index], lang) for index in reversed(found))


Scores = Sequence[tuple[int, float]]


class _Shelf:
    def __init__(self, examples: Sequence[Example]) -> None:
        self.examples = examples
        # Both scripts as one: what repeats another is seen here.
        self.plain = [one.turn.rewritten(simplified) for one in examples]
        asked = [_terms(one.turn.user) for one in examples]
        self._index = Bm25(asked, b=LENGTH_WEIGHT, most=max(FEW, int(len(asked) * COMMON_SHARE)))
        self._topics = [one.topic or one.turn.assistant for one in examples]
        answers = {text: _terms(text) for text in {one.turn.assistant for one in examples}}
        texts: dict[str, list[str]] = {}
        for topic, one, terms in zip(self._topics, examples, asked, strict=True):
            texts.setdefault(topic, []).extend(terms)
            texts[topic] += answers[one.turn.assistant]
        self._topic_index = Bm25(texts.values())
        self._topic_at = {topic: at for at, topic in enumerate(texts)}
        self._unknown = Unknown(
            (plain.user, terms, one.topic)
            for one, plain, terms in zip(examples, self.plain, asked, strict=True)
        )

    def is_strange(self, question: str, found: Scores, unwanted: str | None) -> bool:
        """Whether the question lies beyond what the exchanges know; not where one nearly repeats it."""
        plain = simplified(question)
        asked = pairs(fold(plain))
        for index, _ in found[:SEEN_AGAIN]:
            folded = fold(self.plain[index].user)
            if fold(self.examples[index].turn.user) != unwanted and jaccard(asked, pairs(folded)) >= REPEATED:
                return False
        return self._unknown.holds(plain, _terms(question), unseen=unwanted is not None)

    def strange_ones(self, found: Scores, unwanted: str | None) -> list[tuple[int, float]]:
        """Those of the found that were written for the unknown."""
        return [
            (index, score)
            for index, score in found
            if is_for_the_unknown(self.examples[index].topic)
            and fold(self.examples[index].turn.user) != unwanted
        ]

    def candidates(self, question: str) -> list[tuple[int, float]]:
        """Places among the examples with their scores, best first."""
        terms = _terms(question)
        topics = self._topic_index.scores(terms)
        scored = [
            (index, score + TOPIC_WEIGHT * topics.get(self._topic_at[self._topics[index]], 0.0))
            for index, score in self._index.best(terms, limit=CANDIDATES)
        ]
        return sorted(scored, key=lambda entry: (-entry[1], entry[0]))


def _ranked(here: Scores, earlier: Scores, weight: float) -> list[tuple[int, float]]:
    """Places with their score for this question and, by so much, for the one before; best first."""
    scores = dict(here)
    for index, score in earlier:
        scores[index] = scores.get(index, 0.0) + weight * score
    return sorted(scores.items(), key=lambda entry: (-entry[1], entry[0]))


def _drawn(shelf: _Shelf, ranked: Scores, draw: Random) -> list[tuple[int, float]]:
    """One of the answers of the best exchange's topic, of those about as near."""
    if not ranked:
        return []
    best, score = ranked[0]
    topic = shelf.examples[best].topic
    near: dict[str, tuple[int, float]] = {}
    for index, other in ranked:
        example = shelf.examples[index]
        if topic and example.topic == topic and other >= NEAR * score:
            near.setdefault(example.turn.assistant, (index, other))
    return [draw.choice(list(near.values()))] if near else []


def _choose(shelf: _Shelf, ranked: Scores, found: list[int], *, limit: int, unwanted: str | None) -> None:
    """Adds to ``found`` in that order until there are ``limit``."""
    for index, _ in ranked:
        if len(found) == limit:
            return
        example = shelf.examples[index]
        if fold(example.turn.user) == unwanted:
            continue
        alike = [other for other in found if example.topic and shelf.examples[other].topic == example.topic]
        plain = shelf.plain[index]
        if len(alike) < MOST_OF_A_TOPIC and not any(_repeats(plain, shelf.plain[other]) for other in found):
            found.append(index)


def _repeats(turn: Turn, other: Turn) -> bool:
    return turn.user == other.user or turn.assistant == other.assistant


def _shown(example: Example, lang: str) -> Turn:
    """The exchange in the asked script."""
    turn = example.turn
    if example.lang == lang:
        return turn
    convert = traditional if lang == "zh-TW" else simplified
    return turn.rewritten(convert)


def _terms(text: str) -> list[str]:
    """Words, pieces of long words (for typos and endings), Han pairs and single Han characters."""
    plain = simplified(text)
    found = tokens(plain)
    for word in [word for word in found if word.isascii() and len(word) > LONGEST_WORD]:
        edged = f"^{word}$"
        found += [edged[at : at + LONGEST_WORD] for at in range(len(edged) - LONGEST_WORD + 1)]
    return found + [letter for letter in plain if "\u4e00" <= letter <= "\u9fff"]
