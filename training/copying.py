"""Cases of one look at the prompt: two lines, a question, and the made-up value of a right reply; pure.

A case is ``{"id", "lang", "kind": "lore" | "memory", "lines", "question", "value"}``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.lines import read_lines

__all__ = ["Case", "is_copied", "read_cases"]


@dataclass(frozen=True, slots=True)
class Case:
    id: str
    lang: str
    kind: str
    lines: tuple[str, ...]
    question: str
    value: str


def read_cases(path: Path) -> list[Case]:
    """Reads a ``copying.jsonl``.

    Raises:
        CorpusBroken: naming file and line.
    """
    return read_lines(path, _case)


def is_copied(case: Case, reply: str) -> bool:
    """Whether the value stands in the reply, case aside."""
    return case.value.casefold() in reply.casefold()


def _case(row: dict[str, Any]) -> Case:
    if row["kind"] not in ("lore", "memory"):
        raise ValueError("kind must be lore or memory")
    shown = tuple(row["lines"])
    return Case(row["id"], row["lang"], row["kind"], shown, row["question"], row["value"])
