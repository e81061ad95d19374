"""What a persona is examined with: its own held-out files, and the ones that all share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from personas.loader import Persona
from training.choices import Choice, read_choices
from training.copying import Case, read_cases
from training.evaluate import Probe, read_probes
from training.offlist import OffListMessage, read_off_list

__all__ = ["Papers", "read_papers"]


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
        choices=tuple(read_choices(path) if (path := own / "choices.jsonl").is_file() else ()),
        retention=tuple(read_choices(path) if (path := sets / "retention.jsonl").is_file() else ()),
        off_list=tuple(read_off_list(path) if (path := own / "offlist.jsonl").is_file() else ()),
        copying=tuple(read_cases(path) if (path := sets / "copying.jsonl").is_file() else ()),
    )
