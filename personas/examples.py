"""A persona's written exchanges, found for a question by BM25 over its wording.

What is like the question and how the persona met it is shown in the prompt, as in RoleGPT (arXiv
2310.00746) and ChatHaruhi (arXiv 2308.09597): a small model answers right what it can look up and reword,
and little else.
Both Chinese scripts are searched as one, and shown in the asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from data.checks.duplicates import fold
from data.chinese import simplified, traditional
from data.search import Bm25, tokens
from personas.prompt import Turn

__all__ = ["Example", "Examples"]

# What stands in more than a fifth of the questions tells none from the others.
COMMON_SHARE = 0.2
# … but of a few dozen, chance alone makes some common.
FEW = 100
# A long question is not held against the example: people write short ones.
LENGTH_WEIGHT = 0.3
LONGEST_WORD = 4
# What was asked before says what "and his sister?" is about.
BEFORE_WEIGHT = 0.3
# So many candidates of one question are kept to choose from.
CANDIDATES = 60


@dataclass(frozen=True, slots=True)
class Example:
    """One written exchange."""

    turn: Turn
    lang: str


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

    def nearest(
        self, question: str, lang: str, *, limit: int, before: str = "", unseen: bool = False
    ) -> tuple[Turn, ...]:
        """The exchanges whose questions are nearest, no question or answer twice; the best last.

        Args:
            question: as the person wrote it.
            lang: the language they are shown in.
            limit: at most so many.
            before: the person's message before this one, "" at the beginning.
            unseen: leaves out the question itself, as if it had never been written: for training on it.
        """
        shelf = self._english if lang == "en" else self._chinese
        scores = dict(shelf.candidates(question))
        if before:
            for index, score in shelf.candidates(before):
                scores[index] = scores.get(index, 0.0) + BEFORE_WEIGHT * score
        asked = fold(question)
        found: list[Example] = []
        for index, _ in sorted(scores.items(), key=lambda entry: (-entry[1], entry[0])):
            example = shelf.examples[index]
            if unseen and fold(example.turn.user) == asked:
                continue
            if not any(_repeats(example.turn, other.turn) for other in found):
                found.append(example)
            if len(found) == limit:
                break
        return tuple(_shown(example, lang) for example in reversed(found))


class _Shelf:
    def __init__(self, examples: Sequence[Example]) -> None:
        self.examples = examples
        documents = [_terms(one.turn.user) for one in examples]
        self._index = Bm25(documents, b=LENGTH_WEIGHT, most=max(FEW, int(len(documents) * COMMON_SHARE)))

    def candidates(self, question: str) -> list[tuple[int, float]]:
        """Places among the examples with their scores, best first."""
        return self._index.best(_terms(question), limit=CANDIDATES)


def _repeats(turn: Turn, other: Turn) -> bool:
    return turn.user == other.user or turn.assistant == other.assistant


def _shown(example: Example, lang: str) -> Turn:
    """The exchange in the asked script."""
    turn = example.turn
    if example.lang == lang:
        return turn
    convert = traditional if lang == "zh-TW" else simplified
    return Turn(convert(turn.user), convert(turn.assistant))


def _terms(text: str) -> list[str]:
    """Words, pieces of long words (for typos and endings), Han pairs and single Han characters."""
    plain = simplified(text)
    found = tokens(plain)
    for word in [word for word in found if word.isascii() and len(word) > LONGEST_WORD]:
        edged = f"^{word}$"
        found += [edged[at : at + LONGEST_WORD] for at in range(len(edged) - LONGEST_WORD + 1)]
    return found + [letter for letter in plain if "\u4e00" <= letter <= "\u9fff"]
