"""Persona folders: text and a picture, no code. Adding a folder adds a persona.

An operator's own folders win over the shipped ones; a broken folder is named and the others go on.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from personas.errors import PersonaBroken, PersonaUnknown
from personas.examples import Example, Examples
from personas.lore import LANGS, Lore, read_lore
from personas.prompt import Turn

__all__ = ["Cast", "Persona", "Voice", "check", "load_cast", "load_persona"]

FORMAT = 1
SLUG = r"[a-z][a-z0-9_]{0,31}"
OPENERS = 6
TOP_KEYS = {
    "format", "licence", "sources", "aliases", "names", "description", "greeting", "openers", "prompt",
    "sampling",
}  # fmt: skip
# Kind, least and most of each sampling key: what an engine accepts.
LIMITS: Mapping[str, tuple[type, float, float]] = {
    "temperature": (float, 0, 2),
    "top_p": (float, 0.01, 1),
    "top_k": (int, 0, 1000),
    "repetition_penalty": (float, 0.5, 2),
    "max_tokens": (int, 1, 8192),
}
PROMPT_KEYS = {"identity", "voice", "boundaries"}


@dataclass(frozen=True, slots=True)
class Voice:
    """The persona's sampling, by the field names of the engine's."""

    temperature: float = 0.7
    top_p: float = 0.9
    top_k: int = 0
    repetition_penalty: float = 1.05
    max_tokens: int = 224


@dataclass(frozen=True)
class Persona:
    """One member of the cast.

    Attributes:
        slug: the folder's name.
        names: by language; also ``description`` (one line), ``greeting`` and six ``openers``.
        aliases: names by which people call the persona, in every script.
        prompt_text: the constant text that says who speaks; the same in every request and language.
        sampling: how its replies are drawn.
    """

    slug: str
    names: Mapping[str, str]
    description: Mapping[str, str]
    greeting: Mapping[str, str]
    openers: Mapping[str, tuple[str, ...]]
    aliases: tuple[str, ...]
    prompt_text: str
    sampling: Voice
    lore: Lore
    folder: Path
    licence: str = ""
    sources: tuple[str, ...] = field(default=())

    @cached_property
    def examples(self) -> Examples:
        """The written single exchanges of ``dialogues.jsonl``; none where there is no such file."""
        path = self.folder / "dialogues.jsonl"
        if not path.is_file():
            return Examples(())
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        pair = 2
        return Examples(
            Example(
                Turn(row["messages"][0]["content"], row["messages"][1]["content"]),
                row["lang"],
                row.get("topic", ""),
            )
            for row in rows
            if len(row["messages"]) == pair
        )


@dataclass(frozen=True, slots=True)
class Cast:
    """Everybody who can be talked to; ``broken`` are (slug, sentence) of the folders that cannot."""

    personas: Mapping[str, Persona]
    broken: tuple[tuple[str, str], ...] = ()

    def __getitem__(self, slug: str) -> Persona:
        if slug not in self.personas:
            raise PersonaUnknown(f"Nobody here is called {slug}; there are {', '.join(self.personas)}.")
        return self.personas[slug]

    def find(self, name: str) -> Persona | None:
        """The persona of that slug, name or alias, whatever its case."""
        wanted = name.strip().casefold()
        for persona in self.personas.values():
            known = {persona.slug, *persona.names.values(), *persona.aliases}
            if wanted in {word.casefold() for word in known}:
                return persona
        return None


def load_persona(folder: Path, *, slug: str | None = None) -> Persona:
    """Loads one folder; ``slug`` is given where the folder is not named after the persona (a snapshot).

    Raises:
        PersonaBroken: the first mistake, naming file, key and remedy.
    """
    slug = slug or folder.name
    if not re.fullmatch(SLUG, slug):
        raise PersonaBroken(
            f"{slug!r} cannot be a persona's folder name; use lower-case letters, digits and _, at most 32."
        )
    path = folder / "persona.toml"
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise PersonaBroken(f"{folder} has no persona.toml; add it or remove the folder.") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise PersonaBroken(f"{path} cannot be read: {error}.") from error
    _known(path, "", values, TOP_KEYS)
    if values.get("format") != FORMAT:
        raise PersonaBroken(f"{path}: format must be {FORMAT}; this program reads no other.")
    return Persona(
        slug=slug,
        names=_by_language(path, "names", values),
        description=_by_language(path, "description", values),
        greeting=_by_language(path, "greeting", values),
        openers=_openers(path, values),
        aliases=_texts(path, "aliases", values.get("aliases", [])),
        prompt_text=_prompt(path, values),
        sampling=_sampling(path, values),
        lore=read_lore(folder / "lore.md"),
        folder=folder,
        licence=_line(path, "licence", values.get("licence", "")),
        sources=_texts(path, "sources", values.get("sources", [])),
    )


def load_cast(roots: Iterable[Path]) -> Cast:
    """Loads every folder of the roots; in a later root the same slug wins."""
    personas: dict[str, Persona] = {}
    broken: list[tuple[str, str]] = []
    for root in roots:
        folders = sorted(path for path in root.iterdir() if path.is_dir()) if root.is_dir() else []
        for folder in folders:
            if folder.name.startswith(("_", ".")):
                continue
            try:
                personas[folder.name] = load_persona(folder)
            except PersonaBroken as error:
                broken.append((folder.name, str(error)))
    return Cast(personas, tuple(broken))


def check(folder: Path) -> list[str]:
    """Everything wrong with a folder, in sentences; empty when it is fine."""
    try:
        persona = load_persona(folder)
    except PersonaBroken as error:
        return [str(error)]
    found = [
        f"{name} is missing; add it."
        for name in ("avatar.png", "LICENSE.md")
        if not (folder / name).is_file()
    ]
    try:
        if not persona.examples.all:
            found.append("dialogues.jsonl is missing or empty; without it nothing can be trained.")
    except (ValueError, KeyError, TypeError, IndexError) as error:
        found.append(f"dialogues.jsonl cannot be read: {error}; correct the row.")
    return found


def _prompt(path: Path, values: Mapping[str, Any]) -> str:
    prompt = values.get("prompt")
    if not isinstance(prompt, dict):
        raise PersonaBroken(f"{path}: the table [prompt] is missing; add identity, voice and boundaries.")
    _known(path, "prompt.", prompt, PROMPT_KEYS)
    identity = prompt.get("identity")
    if not isinstance(identity, str) or not identity.strip():
        raise PersonaBroken(f"{path}: prompt.identity must be a sentence that says who speaks.")
    voice = _texts(path, "prompt.voice", prompt.get("voice", []))
    boundaries = _texts(path, "prompt.boundaries", prompt.get("boundaries", []))
    return " ".join((identity.strip(), *voice, *boundaries))


def _sampling(path: Path, values: Mapping[str, Any]) -> Voice:
    table = values.get("sampling", {})
    if not isinstance(table, dict):
        raise PersonaBroken(f"{path}: sampling must be a table; write [sampling] above its keys.")
    _known(path, "sampling.", table, set(LIMITS))
    for name, value in table.items():
        kind, least, most = LIMITS[name]
        number = isinstance(value, (int, kind)) and not isinstance(value, bool)
        if not number or not least <= value <= most:
            what = "a whole number" if kind is int else "a number"
            raise PersonaBroken(
                f"{path}: sampling.{name} must be {what} from {least} to {most}, not {value!r}."
            )
    return Voice(**table)


def _openers(path: Path, values: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    table = _languages(path, "openers", values)
    openers = {lang: _texts(path, f"openers.{lang}", table[lang]) for lang in LANGS}
    for lang, lines in openers.items():
        if len(lines) != OPENERS:
            raise PersonaBroken(f"{path}: openers.{lang} must be {OPENERS} lines, not {len(lines)}.")
    return openers


def _by_language(path: Path, key: str, values: Mapping[str, Any]) -> dict[str, str]:
    table = _languages(path, key, values)
    texts = {lang: _line(path, f"{key}.{lang}", table[lang]) for lang in LANGS}
    for lang, text in texts.items():
        if not text:
            raise PersonaBroken(f"{path}: {key}.{lang} is empty; write it in that language.")
    return texts


def _languages(path: Path, key: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """The table of that name, which has every language and nothing else."""
    table = values.get(key)
    if not isinstance(table, dict):
        raise PersonaBroken(f"{path}: the table [{key}] is missing; add it with {', '.join(LANGS)}.")
    _known(path, f"{key}.", table, set(LANGS))
    for lang in LANGS:
        if lang not in table:
            raise PersonaBroken(f"{path}: {key}.{lang} is missing; write it in that language.")
    return table


def _line(path: Path, key: str, value: Any) -> str:
    if not isinstance(value, str) or "\n" in value.strip():
        raise PersonaBroken(f"{path}: {key} must be one line of text.")
    return value.strip()


def _texts(path: Path, key: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) and item.strip() for item in value):
        raise PersonaBroken(f"{path}: {key} must be a list of texts, none empty.")
    return tuple(item.strip() for item in value)


def _known(path: Path, where: str, values: Mapping[str, Any], allowed: set[str]) -> None:
    for name in values:
        if name not in allowed:
            raise PersonaBroken(
                f"{path}: unknown key {where}{name}; remove it or use one of {', '.join(sorted(allowed))}."
            )
