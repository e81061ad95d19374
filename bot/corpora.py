"""Corpora to be checked, by name or path, and what each is checked against."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bot.errors import CorpusUnknown
from data.checks.check import Context
from data.checks.leaks import Probe
from data.checks.rows import Corpus, Row, read_corpus
from data.errors import CorpusUnreadable
from personas.loader import Persona

__all__ = ["Checked", "gather"]

DIALOGUES = "dialogues.jsonl"
ANACHRONISMS = "anachronisms.txt"
# Held-out questions, of each persona and of all.
HELD_OUT = ("probes.jsonl", "sycophancy.jsonl")
SHARED_HELD_OUT = "safety.jsonl"


@dataclass(frozen=True, slots=True)
class Checked:
    """One corpus, as it was named, with its context."""

    name: str
    path: Path
    corpus: Corpus
    context: Context


def gather(
    wanted: Sequence[str], cast: Mapping[str, Persona], *, sets: Path, speaker: str | None = None
) -> Iterator[Checked]:
    """Reads what was asked for: personas' names, names of general sets, or files; all of ours for nothing.

    Args:
        wanted: as it was typed.
        cast: the personas.
        sets: the folder of the general sets.
        speaker: the persona as whose text a foreign file is checked.

    Raises:
        CorpusUnknown: no persona, set or file is called so.
        CorpusUnreadable: the file holds no rows.
    """
    ours = {
        slug: persona.folder / DIALOGUES
        for slug, persona in cast.items()
        if (persona.folder / DIALOGUES).is_file()
    }
    owners = {path.resolve(): slug for slug, path in ours.items()}
    ours |= {path.stem: path for path in sorted(sets.glob("*.jsonl")) if _is_dialogue(path)}
    paths = {name: _path(name, ours) for name in wanted or ours}
    read = {path.resolve(): read_corpus(path) for path in ours.values()}
    project = tuple(row for corpus in read.values() for row in corpus.rows)
    held_out = [persona.folder / name for persona in cast.values() for name in HELD_OUT]
    probes = tuple(probe for path in (*held_out, sets / SHARED_HELD_OUT) for probe in _probes(path))
    for name, path in paths.items():
        corpus = read.get(path.resolve()) or read_corpus(path)
        owner = owners.get(path.resolve(), speaker)
        is_ours = path.resolve() in read
        context = _context(cast.get(owner or ""), project, probes, is_ours=is_ours)
        yield Checked(name, path, corpus, context)


def _is_dialogue(path: Path) -> bool:
    """Whether a set is trained on; those with options instead of answers are measured with."""
    with path.open(encoding="utf-8") as lines:
        return '"messages"' in next(lines, "")


def _path(name: str, ours: Mapping[str, Path]) -> Path:
    if name in ours:
        return ours[name]
    path = Path(name)
    if not path.is_file():
        raise CorpusUnknown(f"{name} is neither a file nor one of {', '.join(ours)}.")
    return path


def _context(
    persona: Persona | None, project: tuple[Row, ...], probes: tuple[Probe, ...], *, is_ours: bool
) -> Context:
    if persona is None:
        return Context(project=project, probes=probes, is_ours=is_ours)
    return Context(
        persona=persona.slug,
        names=(*persona.names.values(), *persona.aliases),
        text="\n".join(_told(persona)),
        project=project,
        probes=probes,
        anachronisms=_lexicon(persona.folder / ANACHRONISMS),
        is_ours=is_ours,
    )


def _told(persona: Persona) -> Iterable[str]:
    yield persona.prompt_text
    for texts in (persona.names, persona.description, persona.greeting):
        yield from texts.values()
    for lines in persona.openers.values():
        yield from lines
    yield (persona.folder / "lore.md").read_text(encoding="utf-8")


def _lexicon(path: Path) -> tuple[str, ...]:
    """The lines of a word list, without comments; empty where the persona brings none."""
    if not path.is_file():
        return ()
    lines = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    return tuple(line for line in lines if line and not line.startswith("#"))


def _probes(path: Path) -> Iterator[Probe]:
    if not path.is_file():
        return
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            turns = tuple(row.get("turns") or (row["question"],))
            yield Probe(str(row["id"]), str(row.get("topic", "")), turns)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise CorpusUnreadable(f"{path}, line {number} is no probe: {error}") from error
