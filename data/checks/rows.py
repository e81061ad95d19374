"""Rows of a corpus to be checked, whatever shape its file has; what cannot be read is kept with its reason.

Read are JSON lines and JSON arrays (a comma before the last bracket too), whatever the file is called:
``messages`` (our own), ``conversations`` (from, value), ``instruction``/``input``/``output``, ``question`` or
``prompt`` with ``generated``, ``answer`` or ``response``; keys in any case. A row with several answers is as
many rows. Places are line numbers from 1 in JSON lines, and from 0 in an array, as programs count them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from data.errors import CorpusUnreadable

__all__ = ["Corpus", "Row", "parse_corpus", "read_corpus"]

TRAILING_COMMA = re.compile(r",\s*\]\s*$")
QUESTION_KEYS = ("instruction", "question", "prompt", "query")
ANSWER_KEYS = ("output", "generated", "answer", "response", "chosen")
ASKING = {"user", "human"}
ANSWERING = {"assistant", "gpt", "bot"}


@dataclass(frozen=True, slots=True)
class Row:
    """One dialogue as finished exchanges; ``told`` is what its prompt shows: a card, facts, memory."""

    place: int
    turns: tuple[tuple[str, str], ...]
    lang: str | None = None
    topic: str = ""
    told: str = ""

    @property
    def question(self) -> str:
        return self.turns[-1][0]

    @property
    def answer(self) -> str:
        return self.turns[-1][1]

    @property
    def asked(self) -> str:
        """Everything that the person wrote."""
        return "\n".join(question for question, _ in self.turns)

    @property
    def replies(self) -> str:
        return "\n".join(reply for _, reply in self.turns)


@dataclass(frozen=True, slots=True)
class Corpus:
    """What one file holds; ``broken`` are (place, reason)."""

    rows: tuple[Row, ...]
    broken: tuple[tuple[int, str], ...] = ()
    unit: Literal["line", "row"] = "line"


def read_corpus(path: Path) -> Corpus:
    """Reads one file.

    Raises:
        CorpusUnreadable: no file, no text, or nothing in it that is a row.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise CorpusUnreadable(f"{path} cannot be read as text: {error}") from error
    try:
        corpus = parse_corpus(text)
    except ValueError as error:
        raise CorpusUnreadable(f"{path} is neither JSON nor JSON lines: {error}") from error
    if not corpus.rows:
        raise CorpusUnreadable(f"{path} holds no row with a question and an answer.")
    return corpus


def parse_corpus(text: str) -> Corpus:
    """Parses the text of a file.

    Raises:
        ValueError: it begins as a JSON array and is none.
    """
    rows: list[Row] = []
    broken: list[tuple[int, str]] = []
    is_array = text.lstrip().startswith("[")
    for place, value in _array(text) if is_array else _lines(text):
        try:
            rows += _rows(place, json.loads(value) if isinstance(value, str) else value)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            broken.append((place, str(error)))
    return Corpus(tuple(rows), tuple(broken), "row" if is_array else "line")


def _array(text: str) -> Iterator[tuple[int, Any]]:
    values = json.loads(TRAILING_COMMA.sub("]", text))
    yield from enumerate(values)


def _lines(text: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield number, line


def _rows(place: int, data: Any) -> Iterator[Row]:
    if not isinstance(data, dict):
        raise TypeError("a row must be an object")
    values = {str(key).lower(): value for key, value in data.items()}
    told = [values.get("card", ""), *values.get("facts", ()), *values.get("memory", ())]
    for turns in _dialogues(values):
        if not turns or not all(question.strip() and reply.strip() for question, reply in turns):
            raise ValueError("a question or an answer is missing or empty")
        yield Row(
            place,
            tuple(turns),
            lang=values.get("lang"),
            topic=str(values.get("topic", "")),
            told="\n".join(part for part in told if part),
        )


def _dialogues(values: Mapping[str, Any]) -> Iterator[list[tuple[str, str]]]:
    """The row's dialogue; one for each of its answers."""
    if "messages" in values:
        yield _pairs([(message["role"], message["content"]) for message in values["messages"]])
        return
    if "conversations" in values:
        said = [(message["from"], message["value"]) for message in values["conversations"]]
        said = [message for message in said if message[0] != "system"]
        if len(said) % 2 and isinstance(values.get("chosen"), dict):
            said.append((values["chosen"]["from"], values["chosen"]["value"]))
        yield _pairs(said)
        return
    question = "\n".join(
        text for text in (_first(values, QUESTION_KEYS), values.get("input") or "") if text.strip()
    )
    history = [(asked, replied) for asked, replied in values.get("history") or ()]
    answers = _first(values, ANSWER_KEYS)
    for answer in [answers] if isinstance(answers, str) else answers:
        yield [*history, (question, answer)]


def _pairs(said: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    said = [message for message in said if message[0] != "system"]
    if len(said) % 2:
        raise ValueError("messages must be pairs of a question and a reply")
    pairs = []
    for (asker, question), (answerer, reply) in zip(said[::2], said[1::2], strict=True):
        if asker not in ASKING or answerer not in ANSWERING:
            raise ValueError("messages must alternate user and assistant")
        pairs.append((question, reply))
    return pairs


def _first(values: Mapping[str, Any], keys: Sequence[str]) -> Any:
    for key in keys:
        if values.get(key):
            return values[key]
    raise ValueError(f"it has no text under any of {', '.join(keys)}")
