"""One training run: a snapshot folder in, an adapter folder out.

The adapter folder appears whole or not at all: it is written under a staging name, checked by loading it
again, and renamed.
"""

from __future__ import annotations

import importlib.metadata
import json
import logging
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from data.manifest import base_fingerprint, write_manifest
from data.snapshot import Snapshot, SnapshotError, read_snapshot
from personas.loader import Persona, load_persona
from personas.prompt import Budget, budget_for
from training.corpus import Row, chats, read_rows, split_rows
from training.course import Course, Curve, train
from training.dataset import Batches, Example, batches, chat_example, dealt_example, persona_epoch
from training.errors import BaseMismatch, RunFailed, SnapshotBroken
from training.invention import vary
from training.recipes import RECIPES, Recipe, digest
from training.report import draw_loss, write_report

__all__ = ["run"]

_log = logging.getLogger(__name__)

SMALLEST_CHANGE = 1e-4


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
    snapshot, recipe = _read(folder)
    fingerprint = base_fingerprint(base)
    if fingerprint != snapshot.base_fingerprint:
        raise BaseMismatch(
            f"The snapshot was made for base {snapshot.base_fingerprint[:12]}, but {base} is "
            f"{fingerprint[:12]}; make a new snapshot or configure the old base."
        )
    persona = load_persona(folder / "persona", slug=snapshot.persona)
    tokenizer = AutoTokenizer.from_pretrained(base, trust_remote_code=False)
    model = _model(base, recipe, seed=snapshot.seed)
    context = int(getattr(model.config, "max_position_embeddings", 1024))
    written = read_rows(folder / "replay_persona.jsonl")
    rows, held = split_rows(
        [row for row in written if recipe.variants or not row.is_variant],
        share=recipe.validation,
        seed=snapshot.seed,
    )
    rows = rows[: recipe.most_rows]
    general = read_rows(folder / "replay_general.jsonl")
    budget = budget_for(context)
    groups = _groups(tokenizer, persona, rows, general, recipe, budget=budget, seed=snapshot.seed)
    validation = [chat_example(tokenizer, persona.prompt_text, row.turns, budget=budget) for row in held]
    curve = train(
        model,
        Batches(groups, padding=tokenizer.pad_token_id),
        Course(work, recipe.learning_rate, recipe.warmup, snapshot.seed, progress=progress),
        validation=Batches(
            batches(validation, size=recipe.rows_per_step, seed=0), padding=tokenizer.pad_token_id
        ),
    )
    staging = out.with_name(f".part-{out.name}")
    _save(model, staging)
    change = _changed(base, staging, groups[0][0])
    values = _values(snapshot, recipe, curve, rows=len(rows), change=change, started=started)
    draw_loss({snapshot.persona: curve.losses}, staging / "loss.svg")
    write_report(staging, f"{snapshot.persona}: adapter from {snapshot.recipe}", values)
    write_manifest(staging, base_fingerprint=fingerprint, details=_details(snapshot, recipe, curve))
    shutil.rmtree(out, ignore_errors=True)
    staging.replace(out)
    shutil.rmtree(work, ignore_errors=True)
    return out


def _read(folder: Path) -> tuple[Snapshot, Recipe]:
    try:
        snapshot = read_snapshot(folder)
    except SnapshotError as error:
        raise SnapshotBroken(str(error)) from error
    if snapshot.recipe not in RECIPES:
        raise SnapshotBroken(
            f"No recipe is called {snapshot.recipe}; known are {', '.join(sorted(RECIPES))}."
        )
    return snapshot, RECIPES[snapshot.recipe]


def _model(base: Path, recipe: Recipe, *, seed: int) -> Any:
    torch.manual_seed(seed)
    # float32 even where the file is bf16: autocast keeps the speed, and small steps are not rounded away.
    model = AutoModelForCausalLM.from_pretrained(
        base, dtype=torch.float32, trust_remote_code=False, use_safetensors=True
    )
    config = LoraConfig(
        r=recipe.rank,
        lora_alpha=recipe.alpha,
        lora_dropout=recipe.dropout,
        target_modules=list(recipe.targets),
        task_type="CAUSAL_LM",
    )
    return get_peft_model(model, config)


def _groups(
    tokenizer: Any,
    persona: Persona,
    rows: Sequence[Row],
    general: Sequence[Row],
    recipe: Recipe,
    *,
    budget: Budget,
    seed: int,
) -> list[list[Example]]:
    groups: list[list[Example]] = []
    for epoch in range(recipe.epochs):
        examples = persona_epoch(tokenizer, persona, rows, recipe.mixture, budget=budget, seed=seed + epoch)
        count = int(len(examples) * recipe.general_share)
        replay, _ = split_rows(general, share=1 - count / max(1, len(general)), seed=seed + epoch)
        replay = vary(replay, times=1, seed=seed + epoch, cards=[persona.prompt_text])
        examples += [
            dealt_example(tokenizer, "", dealt, budget=budget)
            for dealt in chats(replay, share=0, longest=2, seed=seed + epoch)
        ]
        groups += batches(examples, size=recipe.rows_per_step, seed=seed + epoch)
    return groups


def _save(model: Any, staging: Path) -> None:
    shutil.rmtree(staging, ignore_errors=True)
    model.save_pretrained(staging, safe_serialization=True)
    (staging / "README.md").unlink(missing_ok=True)
    config = staging / "adapter_config.json"
    values = json.loads(config.read_text(encoding="utf-8"))
    # peft keeps them in a set: in any other order the same run would get another digest.
    values["target_modules"] = sorted(values["target_modules"])
    # The base is known by its fingerprint, not by where it lay on this machine.
    values["base_model_name_or_path"] = None
    config.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    weights = staging / "adapter_model.safetensors"
    tensors = {name: tensor.to(torch.bfloat16).contiguous() for name, tensor in load_file(weights).items()}
    if not tensors:
        raise RunFailed("The run saved an adapter without tensors; nothing was published.")
    save_file(tensors, weights, metadata={"format": "pt"})


def _changed(base: Path, staging: Path, example: Example) -> float:
    """The mean change in log-probability that the saved adapter makes; proves that what was saved loads."""
    plain = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, trust_remote_code=False)
    ids = torch.tensor([example.ids])
    with torch.inference_mode():
        before = plain(ids).logits.log_softmax(-1)
        after = PeftModel.from_pretrained(plain, staging)(ids).logits.log_softmax(-1)
    change = float((after - before).abs().mean())
    if not change > SMALLEST_CHANGE:
        raise RunFailed("The saved adapter says the same as the base; nothing was published.")
    return change


def _details(snapshot: Snapshot, recipe: Recipe, curve: Curve) -> dict[str, Any]:
    return {
        "persona": snapshot.persona,
        "parent": snapshot.reference,
        "snapshot": snapshot.digest,
        "config": digest(recipe),
        "seed": snapshot.seed,
        "code_version": importlib.metadata.version("troupe"),
        "metrics": {
            "loss": curve.losses[-1][1] if curve.losses else None,
            "validation_loss": curve.validation,
        },
    }


def _values(
    snapshot: Snapshot, recipe: Recipe, curve: Curve, *, rows: int, change: float, started: float
) -> dict[str, Any]:
    return {
        "persona": snapshot.persona,
        "base": snapshot.base,
        "base_fingerprint": snapshot.base_fingerprint,
        "snapshot": snapshot.digest,
        "recipe": asdict(recipe),
        "rows": rows,
        "first_loss": curve.losses[0][1] if curve.losses else None,
        "last_loss": curve.losses[-1][1] if curve.losses else None,
        "validation_loss": curve.validation,
        "change_in_log_probability": change,
        "seconds_training": round(curve.seconds, 1),
        "seconds_in_all": round(time.monotonic() - started, 1),
        "threads": torch.get_num_threads(),
    }
