"""Multiple choice by log-likelihood: one right sentence among wrong ones, no reply drawn; pure.

A choice is ``{"id", "lang", "question", "options", "right"}``. The option wins that is likeliest for its
length in bytes, so that a short wrong one has no advantage (acc_norm of Gao et al., lm-evaluation-harness).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.lines import read_lines

__all__ = ["Choice", "preferred", "read_choices"]


@dataclass(frozen=True, slots=True)
class Choice:
    """One question with its options; ``right`` is the right one's place."""

    id: str
    lang: str
    kind: str
    question: str
    options: tuple[str, ...]
    right: int


def read_choices(path: Path) -> list[Choice]:
    """Reads a ``choices.jsonl`` or ``retention.jsonl``.

    Raises:
        CorpusBroken: naming file and line.
    """
    return read_lines(path, _choice)


def preferred(options: Sequence[str], likelihoods: Sequence[float]) -> int:
    """The place of the option whose log-likelihood per byte is highest."""
    per_byte = [value / len(option.encode()) for option, value in zip(options, likelihoods, strict=True)]
    return max(range(len(per_byte)), key=per_byte.__getitem__)


def _choice(row: dict[str, Any]) -> Choice:
    options = tuple(row["options"])
    if not 0 <= row["right"] < len(options):
        raise ValueError("right must be an option's place")
    kind = row.get("kind") or row.get("topic", "")
    return Choice(row["id"], row["lang"], kind, row["question"], options, row["right"])
