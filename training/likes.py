"""Which written exchanges stand beside a row in training.

In serving the nearest exchange mostly answers the question; of a training row, whose own wording is left
out, it seldom does, and a model that learns from those learns to look away. So most rows are shown an
exchange of their own topic. And `Likes.reassigned` deals a row and the exchanges beside it the answers of
other topics: what cannot be known by heart must be looked up (labels dealt anew in every episode make
in-context learning: Chan et al. 2022, arXiv 2205.05055).
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import replace

from data.chinese import simplified, traditional
from personas.prompt import Turn
from training.corpus import Row

__all__ = ["Likes"]

# Of the rows shown exchanges of their topic, so many see their own answer in one of them …
SAME_ANSWER = 0.8
# … and so many have that one nearest to the question.
BEST_LAST = 0.8
# A topic of fewer exchanges is not dealt to others.
FEW = 4
SHOWN = 3

Topic = tuple[str, bool]


class Likes:
    """The exchanges of one turn among ``rows``, by topic; both Chinese scripts as one."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self._by_topic: dict[Topic, list[Turn]] = {}
        self._topic_of: dict[Turn, Topic] = {}
        for row in rows:
            if len(row.turns) == 1:
                turn = _plain(row.turns[0])
                self._by_topic.setdefault(_topic(row), []).append(turn)
                self._topic_of.setdefault(turn, _topic(row))
        full = [topic for topic, turns in self._by_topic.items() if len(turns) >= FEW]
        self._full = {
            is_english: [topic for topic in full if topic[1] == is_english] for is_english in (True, False)
        }

    def beside(self, row: Row, generator: random.Random) -> Row:
        """The row with two exchanges of its own topic in place of what was found for it, if there are any."""
        last = _plain(row.turns[-1])
        pile = [turn for turn in self._by_topic.get(_topic(row), ()) if turn.user != last.user]
        same = [turn for turn in pile if turn.assistant == last.assistant]
        others = [turn for turn in pile if turn.assistant != last.assistant]
        piles = [same, others] if generator.random() < SAME_ANSWER else [others]
        own = [_shown(generator.choice(turns), row.lang) for turns in piles if turns]
        if not own:
            return row
        if generator.random() >= BEST_LAST:
            own.reverse()
        strange = [turn for turn in row.similar if self._topic_of.get(_plain(turn)) != _topic(row)]
        return replace(row, similar=(*strange[len(own) - SHOWN :], *reversed(own)))

    def reassigned(self, row: Row, generator: random.Random) -> Row:
        """The row and the exchanges beside it with answers of other topics, alike where the topic was.

        Its lore goes: it belongs to the true answer.
        """
        if not self._full[row.lang == "en"]:
            return row
        answers: dict[Topic | None, list[str]] = {}

        def answer(topic: Topic | None) -> str:
            if topic not in answers:
                strange = self._by_topic[generator.choice(self._full[row.lang == "en"])]
                # Two of them, so that the reply mostly is one of those shown.
                answers[topic] = [generator.choice(strange).assistant for _ in range(2)]
            return generator.choice(answers[topic])

        similar = [
            _shown(Turn(turn.user, answer(self._topic_of.get(turn))), row.lang)
            for turn in map(_plain, row.similar)
        ]
        shown = _shown(Turn("", answer(_topic(row))), row.lang).assistant
        return replace(row, turns=(Turn(row.turns[-1].user, shown),), similar=tuple(similar), facts=())


def _topic(row: Row) -> Topic:
    return row.topic, row.lang == "en"


def _plain(turn: Turn) -> Turn:
    return turn.rewritten(simplified)


def _shown(turn: Turn, lang: str) -> Turn:
    if lang != "zh-TW":
        return turn
    return turn.rewritten(traditional)
