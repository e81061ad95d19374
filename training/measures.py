"""What a run measured of its adapter beside the one in production, on disk as ``measures.json``; pure.

The trainer writes it, the gate reads it (`training.gate`). Scores are paired: one item, one seed, both
adapters. A score is 0 or 1 where a reply was judged. Where options were compared it is the right one's share
of the likelihood, 0 to 1: ``softmax(log-likelihood per byte times the options' mean bytes)``; a point of it
then means about what a point of right answers does, and far fewer items settle it.

A value that is not a number never enters these classes: an adapter that makes one is broken, and a comparison
with it would pass or fail by accident.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from data.home import write_atomically
from training.errors import MeasuresBroken

__all__ = [
    "GUARDS",
    "MEASURES",
    "Changed",
    "Guard",
    "HeldOut",
    "Lengths",
    "Measures",
    "SideBySide",
    "read_measures",
    "write_measures",
]

MEASURES = "measures.json"
FORMAT = 1
# What must not get worse, in the order of the report.
GUARDS = ("lore", "retention", "language", "repetition", "character", "sycophancy", "safety")


@dataclass(frozen=True, slots=True)
class Guard:
    """One set's scores, 0 to 1, higher is better; the n-th of both adapters belong to ``ids[n]``.

    Raises:
        MeasuresBroken: no such guard, scores without a pair, an id twice, or a score outside 0 to 1.
    """

    name: str
    ids: tuple[str, ...]
    champion: tuple[float, ...]
    challenger: tuple[float, ...]

    def __post_init__(self) -> None:
        if self.name not in GUARDS:
            raise MeasuresBroken(f"There is no guard {self.name}; it is one of {', '.join(GUARDS)}.")
        if not len(self.ids) == len(self.champion) == len(self.challenger):
            raise MeasuresBroken(f"The guard {self.name} has scores without a pair; evaluate it again.")
        if len(set(self.ids)) < len(self.ids):
            raise MeasuresBroken(f"The guard {self.name} has an item twice; evaluate it again.")
        scores = (*self.champion, *self.challenger)
        _check_numbers(f"The guard {self.name}", scores)
        if scores and not 0 <= min(scores) <= max(scores) <= 1:
            raise MeasuresBroken(f"The guard {self.name} has a score outside 0 to 1; evaluate it again.")


@dataclass(frozen=True, slots=True)
class HeldOut:
    """One reply with a vote that never trained.

    ``weight`` is how sure the label is, 0.5 to 1; ``reward`` the challenger's log-probability of the reply
    less the champion's, in nats per token (the implicit reward of DPO, 2305.18290, without beta).

    Raises:
        MeasuresBroken: a value that is not a number.
    """

    reply_id: str
    conversation_id: str
    is_good: bool
    weight: float
    reward: float

    def __post_init__(self) -> None:
        _check_numbers(f"The held-out reply {self.reply_id}", (self.weight, self.reward))


@dataclass(frozen=True, slots=True)
class Lengths:
    """Mean length of a reply to the same prompts in folded letters: v0's, the champion's, the challenger's.

    Raises:
        MeasuresBroken: a value that is not a number, or a first or champion version that says nothing.
    """

    first: float
    champion: float
    challenger: float

    def __post_init__(self) -> None:
        _check_numbers("The mean length of a reply", (self.first, self.champion, self.challenger))
        if min(self.first, self.champion) <= 0 or self.challenger < 0:
            raise MeasuresBroken("The mean length of a reply must be above 0; evaluate the versions again.")


@dataclass(frozen=True, slots=True)
class SideBySide:
    """Both replies to one question, for moderators to compare blind."""

    question: str
    champion: str
    challenger: str


@dataclass(frozen=True, slots=True)
class Changed:
    """A question on the never-wrong list whose answer ``was`` another and ``becomes`` this."""

    id: str
    question: str
    was: str
    becomes: str


@dataclass(frozen=True, slots=True)
class Measures:
    """All that the gate judges; a guard that was not measured is absent.

    Raises:
        MeasuresBroken: a guard or a held-out reply twice.
    """

    guards: tuple[Guard, ...]
    held_out: tuple[HeldOut, ...]
    lengths: Lengths
    side_by_sides: tuple[SideBySide, ...] = ()
    never_wrong: tuple[Changed, ...] = ()

    def __post_init__(self) -> None:
        if len({guard.name for guard in self.guards}) < len(self.guards):
            raise MeasuresBroken("A guard was measured twice; evaluate the adapter again.")
        if len({one.reply_id for one in self.held_out}) < len(self.held_out):
            raise MeasuresBroken("A held-out reply is there twice; evaluate the adapter again.")

    def guard(self, name: str) -> Guard | None:
        """The guard of that name, or None where it was not measured."""
        return next((guard for guard in self.guards if guard.name == name), None)


def write_measures(path: Path, measures: Measures) -> None:
    """Writes the file whole or not at all."""
    text = json.dumps({"format": FORMAT} | asdict(measures), ensure_ascii=False, allow_nan=False)
    write_atomically(path, text + "\n")


def read_measures(path: Path) -> Measures:
    """Reads what `write_measures` wrote.

    Raises:
        MeasuresBroken: no such file, not one of ours, or a value in it that cannot be.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if values["format"] != FORMAT:
            raise MeasuresBroken(f"{path.name} has format {values['format']}; this version reads {FORMAT}.")
        return _measures(values)
    except OSError as error:
        raise MeasuresBroken(
            f"{path.name} is not there or cannot be read; evaluate the adapter again."
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise MeasuresBroken(
            f"{path.name} is not a file of measures ({error}); evaluate it again."
        ) from error


def _measures(values: dict[str, Any]) -> Measures:
    return Measures(
        guards=tuple(
            Guard(row["name"], tuple(row["ids"]), _numbers(row["champion"]), _numbers(row["challenger"]))
            for row in values["guards"]
        ),
        held_out=tuple(_held_out(row) for row in values["held_out"]),
        lengths=Lengths(*_numbers(values["lengths"][name] for name in ("first", "champion", "challenger"))),
        side_by_sides=tuple(SideBySide(**row) for row in values["side_by_sides"]),
        never_wrong=tuple(Changed(**row) for row in values["never_wrong"]),
    )


def _held_out(row: dict[str, Any]) -> HeldOut:
    if not isinstance(row["is_good"], bool):
        raise TypeError("is_good must be true or false")
    weight, reward = _numbers((row["weight"], row["reward"]))
    return HeldOut(row["reply_id"], row["conversation_id"], row["is_good"], weight, reward)


def _numbers(values: Iterable[float]) -> tuple[float, ...]:
    numbers = tuple(values)
    # JSON has no NaN; null is how others write it.
    return tuple(math.nan if number is None else _number(number) for number in numbers)


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{value!r} is no number")
    return float(value)


def _check_numbers(what: str, numbers: Iterable[float]) -> None:
    if not all(map(math.isfinite, numbers)):
        raise MeasuresBroken(f"{what} holds a value that is not a number; the adapter is broken.")
