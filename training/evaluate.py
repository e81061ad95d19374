"""Held-out questions, asked of a persona, and what came of them: deterministic, no judge model; pure.

A probe is ``{"id", "lang", "topic", "kind", "question" | "turns", "all", "none"}``. A reply is right when it
has one form of every group in ``all`` and none of ``none``, case aside.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data.checks.duplicates import fold, jaccard, pairs
from data.script import script_of
from training.lines import read_lines

__all__ = ["Probe", "Score", "Verdict", "farthest_third", "is_right", "judge", "read_probes", "scores"]

# So often in a row the same four letters: nobody says that.
LOOP = 4
LOOP_WIDTHS = range(1, 13)


@dataclass(frozen=True, slots=True)
class Probe:
    """One held-out question; of several turns the last one's reply counts."""

    id: str
    lang: str
    kind: str
    turns: tuple[str, ...]
    wanted: tuple[tuple[str, ...], ...]
    unwanted: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    probe: Probe
    reply: str
    is_right: bool
    in_script: bool
    is_broken: bool


@dataclass(frozen=True, slots=True)
class Score:
    """``right`` of ``asked`` in one group of probes."""

    group: str
    right: int
    asked: int


def read_probes(path: Path) -> list[Probe]:
    """Reads a persona's ``probes.jsonl``.

    Raises:
        CorpusBroken: naming file and line.
    """
    return read_lines(path, _probe)


def is_right(probe: Probe, reply: str) -> bool:
    """Whether a form of every wanted group is in the reply, and nothing unwanted."""
    said = reply.casefold()
    return all(any(form.casefold() in said for form in group) for group in probe.wanted) and not any(
        form.casefold() in said for form in probe.unwanted
    )


def judge(probe: Probe, reply: str) -> Verdict:
    """What is to be said of one reply."""
    return Verdict(
        probe,
        reply,
        is_right=is_right(probe, reply),
        in_script=script_of(reply, probe.lang) == probe.lang,
        is_broken=not reply.strip() or "<|" in reply or _loops(reply),
    )


def scores(verdicts: Sequence[Verdict]) -> list[Score]:
    """Right answers by group: single ones by kind, those of several turns, all; then script and wholeness."""
    asked: Counter[str] = Counter()
    right: Counter[str] = Counter()
    for verdict in verdicts:
        for group in (_group(verdict.probe), "all"):
            asked[group] += 1
            right[group] += verdict.is_right
    kinds = sorted(group for group in asked if group != "all")
    return [
        *(Score(group, right[group], asked[group]) for group in (*kinds, "all")),
        Score("script of the question", sum(verdict.in_script for verdict in verdicts), len(verdicts)),
        Score("empty, looping or torn", sum(verdict.is_broken for verdict in verdicts), len(verdicts)),
    ]


def farthest_third(probes: Sequence[Probe], trained: Iterable[str]) -> list[Probe]:
    """The third of the probes of one turn whose wording is least like any trained question's.

    Likeness is the Jaccard index of character pairs, the folded texts' (`data.checks.duplicates`).
    """
    known = [pairs(fold(question)) for question in trained]

    def likeness(probe: Probe) -> float:
        asked = pairs(fold(probe.turns[-1]))
        return max((jaccard(asked, other) for other in known), default=0.0)

    single = [probe for probe in probes if len(probe.turns) == 1]
    return sorted(single, key=likeness)[: len(single) // 3]


def _probe(row: dict[str, Any]) -> Probe:
    return Probe(
        id=row["id"],
        lang=row["lang"],
        kind=row["kind"],
        turns=tuple(row["turns"] if "turns" in row else [row["question"]]),
        wanted=tuple(tuple(group) for group in row["all"]),
        unwanted=tuple(row["none"]),
    )


def _group(probe: Probe) -> str:
    return "several turns" if len(probe.turns) > 1 else probe.kind


def _loops(reply: str) -> bool:
    """Whether some stretch comes ``LOOP`` times in a row; a run of one mark ("……", "!!!!") is no loop."""
    for width in LOOP_WIDTHS:
        for start in range(len(reply) - width * LOOP + 1):
            stretch = reply[start : start + width]
            if reply.startswith(stretch * LOOP, start) and any(letter.isalnum() for letter in stretch):
                return True
    return False
