"""One training run: a snapshot folder in, an adapter folder out.

```
snapshot ─┬─ with a reference: votes ─► continued adapter ─► measured beside the reference ─┬─► adapter folder
          └─ without: the corpus ─────► new adapter ─────────────────────────────────────────┘
```
The adapter folder appears whole or not at all: it is written under a staging name, checked by loading it
again, and renamed.
"""

from __future__ import annotations

import importlib.metadata
import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import torch
from transformers import AutoConfig, AutoTokenizer

from data.manifest import base_fingerprint, write_manifest
from data.snapshot import Snapshot, SnapshotError, read_snapshot
from personas.loader import load_persona
from personas.prompt import budget_for
from training.corpus_run import learn_from_corpus
from training.errors import BaseMismatch, SnapshotBroken
from training.examine import examine
from training.material import Learnt, Material
from training.measures import MEASURES, write_measures
from training.policy import change_made, save_adapter
from training.recipes import RECIPES, VOTE_RECIPES
from training.report import draw_loss, write_report
from training.vote_run import learn_from_votes

__all__ = ["run"]

RecipeT = TypeVar("RecipeT")
SMALLEST_CONTEXT = 1024


def run(folder: Path, *, base: Path, out: Path, work: Path, progress: bool = True) -> Path:
    """Trains the adapter that the snapshot asks for and returns its folder, ``out``.

    Args:
        folder: the snapshot.
        base: the base model's folder; its fingerprint must be the snapshot's.
        out: where the adapter folder appears.
        work: checkpoints; a run that was killed goes on from there.
        progress: a bar on standard error.

    Raises:
        SnapshotBroken, BaseMismatch, RunFailed.
    """
    started = time.monotonic()
    material = _material(folder, base, work, progress=progress)
    snapshot = material.snapshot
    if snapshot.reference is None:
        learnt = learn_from_corpus(material, _recipe(snapshot, RECIPES))
    else:
        learnt = learn_from_votes(material, _recipe(snapshot, VOTE_RECIPES))
    staging = out.with_name(f".part-{out.name}")
    save_adapter(learnt.model, staging)
    values = {
        **_values(snapshot, learnt),
        "change_in_log_probability": change_made(base, staging, learnt.reference, learnt.example),
    }
    if learnt.reference is not None:
        write_measures(staging / MEASURES, examine(material, learnt.recipe, staging))
    values["seconds_in_all"] = round(time.monotonic() - started, 1)
    draw_loss({snapshot.persona: learnt.curve.losses}, staging / "loss.svg")
    source = "the corpus" if snapshot.reference is None else "votes"
    write_report(staging, f"{snapshot.persona}: adapter from {source}", values)
    write_manifest(staging, base_fingerprint=snapshot.base_fingerprint, details=_details(snapshot, learnt))
    shutil.rmtree(out, ignore_errors=True)
    staging.replace(out)
    shutil.rmtree(work, ignore_errors=True)
    return out


def _material(folder: Path, base: Path, work: Path, *, progress: bool) -> Material:
    try:
        snapshot = read_snapshot(folder)
    except SnapshotError as error:
        raise SnapshotBroken(str(error)) from error
    fingerprint = base_fingerprint(base)
    if fingerprint != snapshot.base_fingerprint:
        raise BaseMismatch(
            f"The snapshot was made for base {snapshot.base_fingerprint[:12]}, but {base} is "
            f"{fingerprint[:12]}; make a new snapshot or configure the old base."
        )
    tokenizer = AutoTokenizer.from_pretrained(base, trust_remote_code=False)
    if tokenizer.pad_token_id is None:  # as Llama's: padding has no label, so any token does
        tokenizer.pad_token = tokenizer.eos_token
    return Material(
        folder,
        snapshot,
        load_persona(folder / "persona", slug=snapshot.persona),
        base,
        tokenizer,
        budget_for(_context(base)),
        # A checkpoint of another snapshot is nothing to go on from.
        work / snapshot.digest[:16],
        progress,
    )


def _context(base: Path) -> int:
    config = AutoConfig.from_pretrained(base, trust_remote_code=False)
    return int(getattr(config, "max_position_embeddings", SMALLEST_CONTEXT))


def _recipe(snapshot: Snapshot, recipes: Mapping[str, RecipeT]) -> RecipeT:
    if snapshot.recipe not in recipes:
        raise SnapshotBroken(
            f"No recipe is called {snapshot.recipe}; known are {', '.join(sorted(recipes))}."
        )
    return recipes[snapshot.recipe]


def _details(snapshot: Snapshot, learnt: Learnt) -> dict[str, Any]:
    return {
        "persona": snapshot.persona,
        "parent": snapshot.reference,
        "snapshot": snapshot.digest,
        "config": learnt.config,
        "seed": snapshot.seed,
        "code_version": importlib.metadata.version("troupe"),
        "metrics": {
            "loss": learnt.curve.losses[-1][1] if learnt.curve.losses else None,
            "validation_loss": learnt.curve.validation,
        },
    }


def _values(snapshot: Snapshot, learnt: Learnt) -> dict[str, Any]:
    curve = learnt.curve
    return {
        "persona": snapshot.persona,
        "base": snapshot.base,
        "base_fingerprint": snapshot.base_fingerprint,
        "snapshot": snapshot.digest,
        "recipe": asdict(learnt.recipe),
        **learnt.values,
        "first_loss": curve.losses[0][1] if curve.losses else None,
        "last_loss": curve.losses[-1][1] if curve.losses else None,
        "validation_loss": curve.validation,
        "seconds_training": round(curve.seconds, 1),
        "threads": torch.get_num_threads(),
    }
