"""`make starter`: from the project's text to the shipped model and one adapter per persona.

Steps that finished are kept in the work folder and not repeated, so that a killed run goes on; nothing in
`data/starter` changes until the base is whole.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from data.checks.duplicates import fold
from data.chinese import simplified
from data.manifest import base_fingerprint
from data.snapshot import write_snapshot
from personas.loader import load_cast
from training.base import Corpora, build_base
from training.choices import read_choices
from training.corpus import Row, read_rows
from training.evaluate import read_probes
from training.recipes import STARTER_BASE, BaseRecipe, digest
from training.report import draw_loss, write_report
from training.run import run

__all__ = ["build_starter"]

_log = logging.getLogger(__name__)

# A quick build reads every so many-th row.
QUICK_STRIDE = 80
# The sets that train the base; personas' own dialogues come from their folders.
GENERAL_SET = "general.jsonl"
COPYING_SETS = ("lore_use.jsonl", "memory_use.jsonl")
# Held out, of all personas and of each.
HELD_OUT_SETS = ("retention.jsonl", "safety.jsonl")
OWN_HELD_OUT = "sycophancy.jsonl"


def build_starter(
    *,
    personas: Path,
    sets: Path,
    out: Path,
    work: Path,
    seed: int,
    quick: bool = False,
    progress: bool = True,
) -> Path:
    """Builds base and adapters below ``out``; ``quick`` is one short epoch of everything."""
    cast = load_cast([personas])
    general, copying = sets / GENERAL_SET, [sets / name for name in COPYING_SETS]
    stride = QUICK_STRIDE if quick else 1
    corpora = Corpora(
        general=tuple(read_rows(general)[::stride]),
        copying=tuple(row for path in copying for row in read_rows(path))[::stride],
        cast=tuple((persona, tuple(_rows(persona.folder)[::stride])) for persona in cast.personas.values()),
        avoided=_held_out([persona.folder for persona in cast.personas.values()], sets),
    )
    recipe = replace(STARTER_BASE, readings=1, epochs=1) if quick else STARTER_BASE
    _base(corpora, recipe, out=out, work=work, seed=seed, progress=progress)
    for persona in cast.personas.values():
        name = "quick" if quick else "starter"
        _adapter(
            persona.folder, [general, *copying], out=out, work=work, recipe=name, seed=seed, progress=progress
        )
    return out


def _rows(folder: Path) -> list[Row]:
    return [row for row in read_rows(folder / "dialogues.jsonl") if not row.is_variant]


def _held_out(folders: Sequence[Path], sets: Path) -> frozenset[str]:
    """The questions that no row may become, in Simplified characters and folded."""
    probes = [folder / "probes.jsonl" for folder in folders]
    asked = [turn for path in probes if path.is_file() for probe in read_probes(path) for turn in probe.turns]
    choices = [*(sets / name for name in HELD_OUT_SETS), *(folder / OWN_HELD_OUT for folder in folders)]
    asked += [choice.question for path in choices if path.is_file() for choice in read_choices(path)]
    return frozenset(fold(simplified(question)) for question in asked)


def _base(corpora: Corpora, recipe: BaseRecipe, *, out: Path, work: Path, seed: int, progress: bool) -> None:
    finished = work / "base.json"
    if finished.is_file() and json.loads(finished.read_text(encoding="utf-8")) == digest(recipe):
        _log.info("the base is there already; remove %s to train it again", work)
        return
    staging = work / "base"
    staging.mkdir(parents=True, exist_ok=True)
    curve = build_base(corpora, recipe, out=staging, work=work / "base-run", seed=seed, progress=progress)
    draw_loss({"base": curve.losses}, staging / "loss.svg")
    write_report(
        staging,
        "The starter base",
        {
            "recipe": asdict(recipe),
            "seed": seed,
            "general_rows": len(corpora.general) + len(corpora.copying),
            "cast_rows": {persona.slug: len(rows) for persona, rows in corpora.cast},
            "first_loss": curve.losses[0][1] if curve.losses else None,
            "last_loss": curve.losses[-1][1] if curve.losses else None,
            "losses": {str(step): loss for step, loss in curve.losses},
            "seconds_training": round(curve.seconds, 1),
            "fingerprint": base_fingerprint(staging),
        },
    )
    # Adapters of another base would be refused anyway.
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(staging, out)
    shutil.rmtree(work / "base-run", ignore_errors=True)
    finished.write_text(json.dumps(digest(recipe)), encoding="utf-8")


def _adapter(
    folder: Path, general: list[Path], *, out: Path, work: Path, recipe: str, seed: int, progress: bool
) -> None:
    target = out / "adapters" / folder.name / "v0"
    if target.is_dir():
        _log.info("the adapter of %s is there already", folder.name)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    snapshot = work / f"snapshot-{folder.name}"
    write_snapshot(
        snapshot,
        persona_folder=folder,
        general=general,
        base="starter",
        base_fingerprint=base_fingerprint(out),
        recipe=recipe,
        seed=seed,
    )
    run(snapshot, base=out, out=target, work=work / f"run-{folder.name}", progress=progress)
