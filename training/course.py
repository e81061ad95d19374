"""One course of optimisation over prepared batches, by `transformers.Trainer`."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Sequence, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from training.attention import settle
from training.dataset import IGNORED, Batches
from training.optimizer import WEIGHT_DECAY, MuonWithAdamW
from training.spoken import causal, logits_at, rounded

__all__ = ["Course", "Curve", "LabelledOnly", "train"]

# The beginning of a reply counts so many times: there it is settled which of many replies is meant, and in a
# mean over all tokens that hardly shows.
START_WEIGHT = 3

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Course:
    """Settings of one optimisation; ``work`` keeps checkpoints, so that a killed run resumes.

    ``from_nothing``: the weights are random, and Muon moves their matrices; else AdamW moves all. So many
    items as ``accumulate`` says make one step.
    """

    work: Path
    learning_rate: float
    warmup: float
    seed: int
    from_nothing: bool = False
    accumulate: int = 1
    log_every: int = 20
    save_every: int = 500
    progress: bool = True


@dataclass(frozen=True, slots=True)
class Curve:
    """(step, loss) as logged, and the validation loss at the end where there was a set."""

    losses: tuple[tuple[int, float], ...]
    validation: float | None
    seconds: float


def train(
    model: Any,
    data: Sized,
    course: Course,
    *,
    validation: Batches | None = None,
    trainer_class: type[Trainer] | None = None,
    callbacks: Sequence[TrainerCallback] = (),
) -> Curve:
    """Runs every item of ``data`` once, in order; resumes from the newest checkpoint in ``work``.

    Args:
        model: what is trained.
        data: one prepared batch each.
        course: the settings.
        validation: measured at the end.
        trainer_class: computes the loss; `LabelledOnly` where nothing else is said.
        callbacks: told of every step.
    """
    cuda = torch.cuda.is_available()
    steps = len(data) // course.accumulate
    arguments = TrainingArguments(
        output_dir=str(course.work),
        max_steps=steps,
        gradient_accumulation_steps=course.accumulate,
        per_device_train_batch_size=1,
        per_device_eval_batch_size=1,
        train_sampling_strategy="sequential",
        learning_rate=course.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=int(steps * course.warmup),
        max_grad_norm=1.0,
        weight_decay=WEIGHT_DECAY,
        # bf16 autocast over fp32 weights: 1.5 to 1.7 times fp32 on a CPU that has it.
        bf16=True,
        use_cpu=not cuda,
        seed=course.seed,
        logging_steps=max(1, min(course.log_every, steps // 8)),
        save_steps=course.save_every,
        save_total_limit=1,
        report_to=[],
        disable_tqdm=not course.progress,
        remove_unused_columns=False,
        dataloader_pin_memory=cuda,
    )
    settle(causal(model))
    trainer = (trainer_class or LabelledOnly)(
        model=model,
        args=arguments,
        train_dataset=data,
        eval_dataset=validation,
        data_collator=lambda items: items[0],
        optimizers=(MuonWithAdamW(model, course.learning_rate) if course.from_nothing else None, None),
        callbacks=list(callbacks),
    )
    # Else several items' losses would be added up to a step's instead of averaged: ours are means already.
    trainer.model_accepts_loss_kwargs = False
    # It prints what is in the log and the curve anyway, on standard output.
    trainer.remove_callback(PrinterCallback)
    course.work.mkdir(parents=True, exist_ok=True)
    checkpoint = _newest_whole(course.work)
    if checkpoint is not None:
        _log.info("resuming from %s", checkpoint.name)
    result = trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    measured = trainer.evaluate() if validation is not None else {}
    return Curve(
        losses=_losses(trainer.state.log_history),
        validation=measured.get("eval_loss"),
        seconds=float(result.metrics["train_runtime"]),
    )


def _newest_whole(work: Path) -> Path | None:
    """The newest checkpoint, after those are gone that a killed process left half written.

    The trainer cannot go on from one without its state, however often it is tried.
    """
    found = sorted(work.glob("checkpoint-*"), key=lambda folder: int(folder.name.split("-")[1]))
    while found and not _is_whole(found[-1]):
        shutil.rmtree(found.pop())
    return found[-1] if found else None


def _is_whole(checkpoint: Path) -> bool:
    """Whether its state can be read, which the trainer writes last."""
    try:
        json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return True


class LabelledOnly(Trainer):  # type: ignore[misc] # transformers ships no types
    """Computes logits only where something is learnt: in an adapter's run a fifth of the positions.

    Overriding ``compute_loss`` is the trainer's own seam for this.
    """

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,  # noqa: FBT001, FBT002 - the trainer's signature
        num_items_in_batch: Any = None,
    ) -> Any:
        del num_items_in_batch  # one batch is one step
        places, targets = _learnt(inputs["labels"], inputs["starts"])
        logits = logits_at(model, inputs["input_ids"], places)
        loss = torch.nn.functional.cross_entropy(logits.float(), targets, ignore_index=IGNORED)
        return (loss, {"loss": loss}) if return_outputs else loss


def _learnt(labels: torch.Tensor, starts: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Places in the flattened batch where something is learnt, and what; filled up to a round number."""
    flat = labels.flatten()
    return rounded(
        flat, torch.cat([(flat != IGNORED).nonzero().squeeze(-1), starts.repeat(START_WEIGHT - 1)])
    )


def _losses(history: Sequence[dict[str, Any]]) -> tuple[tuple[int, float], ...]:
    return tuple((int(entry["step"]), float(entry["loss"])) for entry in history if "loss" in entry)
