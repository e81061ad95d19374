"""Messages far off what a persona's world holds, and whether a reply met them or said something learnt; pure.

A message is ``{"id", "lang", "kind", "question"}``. No model judges: a reply is laid beside everything the
persona was taught to say. What is nearest to an answer for the unknown (groups OFF, UN and PV of its topics)
is in character; what nearly repeats an answer to something its world does hold is out of place.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from data.checks.duplicates import fold, jaccard, pairs
from personas.unknown import is_for_the_unknown
from training.lines import read_lines

__all__ = ["OffList", "OffListMessage", "read_off_list"]

Fit = Literal["fitting", "out of place", "of its own"]

# Character pairs in common from which a reply repeats an answer.
REPEATS = 0.5


@dataclass(frozen=True, slots=True)
class OffListMessage:
    id: str
    lang: str
    kind: str
    question: str


def read_off_list(path: Path) -> list[OffListMessage]:
    """Reads a persona's ``offlist.jsonl``.

    Raises:
        CorpusBroken: naming file and line.
    """
    return read_lines(path, lambda row: OffListMessage(row["id"], row["lang"], row["kind"], row["question"]))


class OffList:
    """Judges replies by the (topic, answer) pairs that a persona was taught."""

    def __init__(self, taught: Iterable[tuple[str, str]]) -> None:
        self._taught = [(is_for_the_unknown(topic), pairs(fold(answer))) for topic, answer in set(taught)]

    def fit(self, reply: str) -> Fit:
        """Whether the reply is one for the unknown, repeats one for something else, or neither."""
        said = pairs(fold(reply))
        likeness, unknown = max(
            ((jaccard(said, answer), unknown) for unknown, answer in self._taught),
            default=(0.0, False),
        )
        if unknown:
            return "fitting"
        return "out of place" if likeness >= REPEATS else "of its own"
