"""Votes as a run reads them from its snapshot: thumbs, pairs and rewrites, a JSON line each.

``messages`` are those of the reply's prompt, scrubbed, as they were rendered; ``weight`` is how sure the
label is, 0.5 to 1. The ids say whose rows a snapshot holds, so that an erasure finds them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from personas.prompt import Message
from training.lines import read_lines

__all__ = ["Pair", "Rewrite", "Thumb", "Votes", "as_line", "read_votes"]


@dataclass(frozen=True, slots=True)
class Thumb:
    """One reply that was good or bad."""

    reply_id: str
    conversation_id: str
    messages: tuple[Message, ...]
    completion: str
    is_good: bool
    weight: float
    vote_ids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Pair:
    """Two replies to one prompt, of which the same person chose one."""

    reply_id: str
    other_reply_id: str
    conversation_id: str
    messages: tuple[Message, ...]
    chosen: str
    rejected: str
    vote_ids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Rewrite:
    """What a moderator would have said instead of ``rejected``."""

    reply_id: str
    conversation_id: str
    messages: tuple[Message, ...]
    completion: str
    rejected: str
    vote_ids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Votes:
    """All that people said in one snapshot; ``held_out`` is for measuring, never for training."""

    thumbs: tuple[Thumb, ...] = ()
    pairs: tuple[Pair, ...] = ()
    rewrites: tuple[Rewrite, ...] = ()
    held_out: tuple[Thumb, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to learn from."""
        return not (self.thumbs or self.pairs or self.rewrites)

    def files(self) -> Mapping[str, Iterable[Mapping[str, Any]]]:
        """The lines of the snapshot's vote files, by file name."""
        return {
            f"{name}.jsonl": [as_line(row) for row in getattr(self, name)]
            for name in ("thumbs", "pairs", "rewrites", "held_out")
        }


def read_votes(folder: Path) -> Votes:
    """Reads a snapshot's vote files.

    Raises:
        CorpusBroken: naming file and line.
    """
    return Votes(
        thumbs=tuple(read_lines(folder / "thumbs.jsonl", _thumb)),
        pairs=tuple(read_lines(folder / "pairs.jsonl", _pair)),
        rewrites=tuple(read_lines(folder / "rewrites.jsonl", _rewrite)),
        held_out=tuple(read_lines(folder / "held_out.jsonl", _thumb)),
    )


def as_line(row: Thumb | Pair | Rewrite) -> Mapping[str, Any]:
    """The row as its file holds it."""
    return asdict(row)


def _thumb(row: dict[str, Any]) -> Thumb:
    return Thumb(**_shared(row))


def _pair(row: dict[str, Any]) -> Pair:
    return Pair(**_shared(row))


def _rewrite(row: dict[str, Any]) -> Rewrite:
    return Rewrite(**_shared(row))


def _shared(row: dict[str, Any]) -> dict[str, Any]:
    messages = tuple(Message(**message) for message in row["messages"])
    return row | {"messages": messages, "vote_ids": tuple(row["vote_ids"])}
