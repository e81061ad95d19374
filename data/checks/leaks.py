"""Held-out questions that stand in a corpus: trained on, they measure nothing; pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from data.checks.duplicates import fold, jaccard, pairs, values
from data.checks.rows import Row

__all__ = ["Leak", "Probe", "leaks"]

NEAR = 0.7
# Two or three characters ("why", "你好") are near too much.
SHORTEST = 4


@dataclass(frozen=True, slots=True)
class Probe:
    """One held-out question; ``turns`` are everything that the person says in it."""

    id: str
    topic: str
    turns: tuple[str, ...]

    @property
    def question(self) -> str:
        return self.turns[-1]


@dataclass(frozen=True, slots=True)
class Leak:
    """``row`` is the index of the row that holds the probe's question, exactly or nearly."""

    row: int
    probe: str
    is_exact: bool


def leaks(rows: Sequence[Row], probes: Iterable[Probe]) -> list[Leak]:
    """The rows in which a person asks what a probe asks.

    Exact is compared with every probe, near only with those of the row's topic, or with all where the row
    has none. Of a probe with several turns the last is meant, with all before it.
    """
    exact: dict[tuple[str, ...], str] = {}
    near: defaultdict[str, list[tuple[str, frozenset[str], Probe]]] = defaultdict(list)
    for probe in probes:
        exact[tuple(map(fold, probe.turns))] = probe.id
        folded = fold(probe.question)
        if len(folded) >= SHORTEST:
            for topic in dict.fromkeys(("", probe.topic)):
                near[topic].append((folded, pairs(folded), probe))
    found = []
    for index, row in enumerate(rows):
        asked = tuple(fold(question) for question, _ in row.turns)
        spoken = [asked[:end] for end in range(1, len(asked) + 1)] + [(one,) for one in asked]
        leak = next((exact[turns] for turns in spoken if turns in exact), None)
        if leak is not None:
            found.append(Leak(index, leak, is_exact=True))
            continue
        close = _near(asked, near.get(row.topic, ()))
        if close is not None:
            found.append(Leak(index, close, is_exact=False))
    return found


def _near(asked: Iterable[str], candidates: Sequence[tuple[str, frozenset[str], Probe]]) -> str | None:
    for question in asked:
        own = pairs(question)
        for folded, grams, probe in candidates:
            if jaccard(own, grams) >= NEAR and values(folded) == values(question):
                return probe.id
    return None
