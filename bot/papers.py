"""What a persona is examined with: its own held-out files, and the ones that all share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from personas.loader import Persona
from training.choices import Choice, read_choices
from training.copying import Case, read_cases
from training.evaluate import Probe, read_probes
from training.offlist import OffListMessage, read_off_list

__all__ = ["Papers", "read_papers"]

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Papers:
    """Only ``probes`` must be there; what is missing is not asked.

    Attributes:
        probes: questions of one or several turns whose replies are judged.
        choices: of the persona's lore, by likelihood.
        retention: of what the base could do before, by likelihood.
        off_list: messages far off the persona's world.
        copying: cases whose value stands in the prompt and nowhere else.
    """

    probes: tuple[Probe, ...]
    choices: tuple[Choice, ...] = ()
    retention: tuple[Choice, ...] = ()
    off_list: tuple[OffListMessage, ...] = ()
    copying: tuple[Case, ...] = ()


def read_papers(persona: Persona, sets: Path) -> Papers:
    """Reads the persona's folder and the shared ``sets``.

    Raises:
        CorpusBroken: naming file and line.
        FileNotFoundError: there are no probes.
    """
    own = persona.folder
    return Papers(
        probes=tuple(read_probes(own / "probes.jsonl")),
        choices=_read(read_choices, own / "choices.jsonl"),
        retention=_read(read_choices, sets / "retention.jsonl"),
        off_list=_read(read_off_list, own / "offlist.jsonl"),
        copying=_read(read_cases, sets / "copying.jsonl"),
    )


def _read(read: Callable[[Path], list[Value]], path: Path) -> tuple[Value, ...]:
    """Nothing where there is no such file."""
    return tuple(read(path)) if path.is_file() else ()
