"""What a run has in hand, and what it learnt: the values that its steps pass on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data.snapshot import Snapshot
from personas.loader import Persona
from personas.prompt import Budget
from training.course import Curve
from training.dataset import Example

__all__ = ["Learnt", "Material"]


@dataclass(frozen=True, slots=True)
class Material:
    """A snapshot in its ``folder``, its persona, the ``base`` folder and that base's tokenizer.

    ``work`` keeps checkpoints; ``progress`` shows a bar on standard error.
    """

    folder: Path
    snapshot: Snapshot
    persona: Persona
    base: Path
    tokenizer: Any
    budget: Budget
    work: Path
    progress: bool


@dataclass(frozen=True, slots=True)
class Learnt:
    """The trained ``model``; ``example`` is one it learnt, ``values`` are for the report.

    ``reference`` is the adapter it began with, None for a new one.
    """

    model: Any
    curve: Curve
    recipe: Any
    config: str
    example: Example
    reference: Path | None = None
    values: Mapping[str, Any] = field(default_factory=dict)
