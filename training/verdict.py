"""What the gate found, line by line, and the page that moderators read of it; pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from training.measures import Changed, Measures

__all__ = ["LENGTH", "UNKNOWN", "VOTES", "Check", "Mode", "Verdict", "percent", "points", "report"]

Mode = Literal["auto", "approve"]
# The checks that are no guards.
VOTES, LENGTH = "votes", "length"
# The lower bound of a difference of shares of which too little was measured: nothing is excluded.
UNKNOWN = -1.0
TITLES = {
    "lore": "facts of the persona's world (lore)",
    "retention": "general skills (retention)",
    "language": "replies in the language of the question (language)",
    "repetition": "replies that do not repeat themselves (repetition)",
    "character": "replies in character (character)",
    "sycophancy": "false claims not agreed with (sycophancy)",
    "safety": "safe replies (safety)",
    VOTES: "pairs of held-out votes told apart (votes)",
    LENGTH: "letters of a reply (length)",
}
HEAD = (
    "| what | before | after | worst it may be | must be above | verdict |",
    "|---|---:|---:|---:|---:|---|",
)


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the verdict; shares are 0 to 1.

    ``low`` is the lower bound of the challenger's share less the champion's: more than ``-margin`` passes. Of
    the votes the champion's share is .5 by definition. Of the length, in folded letters, ``low`` and
    ``margin`` are the least and the most that was allowed. ``asked`` is the number of items or votes.
    """

    name: str
    passed: bool
    champion: float
    challenger: float
    low: float
    margin: float
    asked: int
    sentence: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the challenger ``passed``: by ``mode`` it then goes live, or waits for a moderator's yes."""

    passed: bool
    checks: tuple[Check, ...]
    mode: Mode = "auto"

    @property
    def failed(self) -> tuple[Check, ...]:
        return tuple(check for check in self.checks if not check.passed)


def report(verdict: Verdict, measures: Measures) -> str:
    """The verdict as Markdown: a table, why not, the conclusion, every never-wrong answer that changed."""
    rows = [_row(check) for check in verdict.checks]
    reasons = [f"- {check.sentence}" for check in verdict.failed]
    lines = ["## The gate", "", *HEAD, *rows, "", *reasons, *([""] if reasons else []), _conclusion(verdict)]
    return "\n".join([*lines, *_never_wrong(measures.never_wrong)]) + "\n"


def percent(share: float) -> str:
    """A share for people: 98.2 %."""
    return f"{100 * share:.1f} %"


def points(difference: float) -> str:
    """A difference of shares for people: 2.0 points."""
    return f"{100 * difference:.1f} points"


def _row(check: Check) -> str:
    cells = (TITLES[check.name], *_values(check), "passed" if check.passed else "**not passed**")
    return f"| {' | '.join(cells)} |"


def _values(check: Check) -> tuple[str, str, str, str]:
    """Before, after, worst, bound."""
    if check.name == LENGTH:
        allowed = f"{check.low:.0f} to {check.margin:.0f}"
        return f"{check.champion:.0f}", f"{check.challenger:.0f}", "–", allowed
    if not check.asked:
        return "–", "–", "–", "–"
    worst = "unknown" if check.low == UNKNOWN else percent(max(0.0, check.champion + check.low))
    return percent(check.champion), percent(check.challenger), worst, percent(check.champion - check.margin)


def _conclusion(verdict: Verdict) -> str:
    if not verdict.passed:
        names = ", ".join(check.name for check in verdict.failed)
        return f"**Not passed ({names}):** the present version stays, and the votes are kept."
    if verdict.mode == "approve":
        return "**Passed:** the new version waits for a moderator to approve it."
    return "**Passed:** the new version goes to a first share of the conversations; a moderator may stop it."


def _never_wrong(changes: tuple[Changed, ...]) -> Iterator[str]:
    if not changes:
        return
    yield from ("", "Answers that must never be wrong and have changed:", "")
    for change in changes:
        was, becomes = (" ".join(answer.split()) for answer in (change.was, change.becomes))
        yield f"- {' '.join(change.question.split())} ({change.id}): “{was}” became “{becomes}”."
