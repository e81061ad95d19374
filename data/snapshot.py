"""A snapshot folder: everything one training run reads, immutable and self-contained.

``snapshot.json`` (base id and fingerprint, reference adapter, recipe, seed, version, digest),
``thumbs.jsonl``, ``pairs.jsonl``, ``rewrites.jsonl``, ``held_out.jsonl``, ``replay_persona.jsonl``,
``replay_general.jsonl``, ``persona/``, ``reference/`` (where a run begins), ``first/``, ``champion/`` (what
it is held against) and ``guards/`` (held-out sets, for measuring alone). Only the base's weights are found
outside, by fingerprint. The digest is over the sha256 of every other file, so that a changed byte is noticed.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

__all__ = ["Snapshot", "SnapshotError", "read_snapshot", "write_snapshot"]

VERSION = 2
VOTE_FILES = ("thumbs.jsonl", "pairs.jsonl", "rewrites.jsonl", "held_out.jsonl")
# Of a persona's folder: the held-out questions, which no training may read, and pictures.
LEFT_OUT = ("probes.jsonl", "choices.jsonl", "offlist.jsonl", "sycophancy.jsonl", "*.png")


class SnapshotError(Exception):
    """The snapshot folder is not what its digest says."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What ``snapshot.json`` says."""

    persona: str
    base: str
    base_fingerprint: str
    recipe: str
    seed: int
    reference: str | None
    version: int
    digest: str


def write_snapshot(
    folder: Path,
    *,
    persona_folder: Path,
    general: Sequence[Path],
    base: str,
    base_fingerprint: str,
    recipe: str,
    seed: int,
    reference: Path | None = None,
    reference_name: str | None = None,
    first: Path | None = None,
    champion: Path | None = None,
    guards: Sequence[Path] = (),
    votes: Mapping[str, Iterable[Mapping[str, Any]]] = MappingProxyType({}),
) -> Snapshot:
    """Writes a snapshot; it appears whole or not at all, and the same rows make the same digest.

    Args:
        folder: where it appears.
        persona_folder: the persona as it is now.
        general: the sets that all personas share.
        base: the configured base.
        base_fingerprint: its fingerprint.
        recipe: the name of one.
        seed: of everything that is drawn.
        reference: the adapter that votes improve; None trains a new one on the written corpus alone.
        reference_name: its model name.
        first: the adapter the persona began with, by which lengths are judged.
        champion: what the new version is held against; None where that is the reference.
        guards: held-out sets that the adapter is measured by.
        votes: the rows of the vote files, by file name; a file that is not named is empty.
    """
    staging = folder.with_name(f".part-{folder.name}")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    for name in VOTE_FILES:
        lines = [json.dumps(row, ensure_ascii=False, sort_keys=True) + "\n" for row in votes.get(name, ())]
        (staging / name).write_text("".join(lines), encoding="utf-8")
    shutil.copytree(persona_folder, staging / "persona", ignore=shutil.ignore_patterns(*LEFT_OUT))
    for name, adapter in (("reference", reference), ("first", first), ("champion", champion)):
        (staging / name).mkdir()
        for path in () if adapter is None else sorted(adapter.iterdir()):
            shutil.copyfile(path, staging / name / path.name)
    shutil.copyfile(persona_folder / "dialogues.jsonl", staging / "replay_persona.jsonl")
    with (staging / "replay_general.jsonl").open("w", encoding="utf-8") as out:
        for path in general:
            out.write(path.read_text(encoding="utf-8"))
    (staging / "guards").mkdir()
    for path in guards:
        shutil.copyfile(path, staging / "guards" / path.name)
    snapshot = Snapshot(
        persona=persona_folder.name,
        base=base,
        base_fingerprint=base_fingerprint,
        recipe=recipe,
        seed=seed,
        reference=reference_name,
        version=VERSION,
        digest=_digest(staging),
    )
    (staging / "snapshot.json").write_text(json.dumps(asdict(snapshot), indent=2) + "\n", encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    staging.replace(folder)
    return snapshot


def read_snapshot(folder: Path) -> Snapshot:
    """Reads and checks a snapshot.

    Raises:
        SnapshotError: a file is missing or was changed after the snapshot was written.
    """
    try:
        values = json.loads((folder / "snapshot.json").read_text(encoding="utf-8"))
        snapshot = Snapshot(**values)
    except (OSError, ValueError, TypeError) as error:
        raise SnapshotError(f"{folder} holds no readable snapshot.json: {error}.") from error
    if snapshot.version != VERSION:
        raise SnapshotError(f"{folder} has version {snapshot.version}; this program reads {VERSION}.")
    if _digest(folder) != snapshot.digest:
        raise SnapshotError(f"{folder} was changed after it was written; make a new snapshot.")
    return snapshot


def _digest(folder: Path) -> str:
    whole = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != "snapshot.json":
            name = path.relative_to(folder).as_posix()
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            whole.update(f"{name}\0{content}\n".encode())
    return whole.hexdigest()
