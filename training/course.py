"""One course of optimisation over prepared batches, by `transformers.Trainer`."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import Trainer, TrainingArguments
from transformers.trainer_utils import get_last_checkpoint

from training.attention import NAME, register
from training.dataset import IGNORED, Batches
from training.optimizer import WEIGHT_DECAY, MuonWithAdamW

__all__ = ["Course", "Curve", "train"]

# Learnt places of a step come in multiples of this.
ROUND = 256
# The beginning of a reply counts so many times: there it is settled which of many replies is meant, and in a
# mean over all tokens that hardly shows.
START_WEIGHT = 3

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Course:
    """Settings of one optimisation; ``work`` keeps checkpoints, so that a killed run resumes.

    ``from_nothing``: the weights are random, and Muon moves their matrices; else AdamW moves all.
    """

    work: Path
    learning_rate: float
    warmup: float
    seed: int
    from_nothing: bool = False
    log_every: int = 20
    save_every: int = 500
    progress: bool = True


@dataclass(frozen=True, slots=True)
class Curve:
    """(step, loss) as logged, and the validation loss at the end where there was a set."""

    losses: tuple[tuple[int, float], ...]
    validation: float | None
    seconds: float


def train(model: Any, data: Batches, course: Course, *, validation: Batches | None = None) -> Curve:
    """Runs every batch of ``data`` once, in order; resumes from the newest checkpoint in ``work``."""
    cuda = torch.cuda.is_available()
    arguments = TrainingArguments(
        output_dir=str(course.work),
        max_steps=len(data),
        per_device_train_batch_size=1,
        per_device_eval_batch_size=1,
        train_sampling_strategy="sequential",
        learning_rate=course.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=int(len(data) * course.warmup),
        max_grad_norm=1.0,
        weight_decay=WEIGHT_DECAY,
        # bf16 autocast over fp32 weights: 1.5 to 1.7 times fp32 on a CPU that has it.
        bf16=True,
        use_cpu=not cuda,
        seed=course.seed,
        logging_steps=max(1, min(course.log_every, len(data) // 8)),
        save_steps=course.save_every,
        save_total_limit=1,
        report_to=[],
        disable_tqdm=not course.progress,
        remove_unused_columns=False,
        dataloader_pin_memory=cuda,
    )
    if not cuda:
        register()
        _causal(model).set_attn_implementation(NAME)
    trainer = _LabelledOnly(
        model=model,
        args=arguments,
        train_dataset=data,
        eval_dataset=validation,
        data_collator=lambda items: items[0],
        optimizers=(MuonWithAdamW(model, course.learning_rate) if course.from_nothing else None, None),
    )
    course.work.mkdir(parents=True, exist_ok=True)
    checkpoint = get_last_checkpoint(str(course.work))
    if checkpoint:
        _log.info("resuming from %s", Path(checkpoint).name)
    result = trainer.train(resume_from_checkpoint=checkpoint)
    measured = trainer.evaluate() if validation is not None else {}
    return Curve(
        losses=_losses(trainer.state.log_history),
        validation=measured.get("eval_loss"),
        seconds=float(result.metrics["train_runtime"]),
    )


class _LabelledOnly(Trainer):  # type: ignore[misc] # transformers ships no types
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
        causal = _causal(model)
        labels = inputs["labels"]
        places, targets = _learnt(labels, inputs["starts"])
        # The trainer's own autocast wraps the model's forward, which is not called here.
        with torch.autocast(labels.device.type, torch.bfloat16):
            hidden = causal.get_decoder()(inputs["input_ids"], use_cache=False).last_hidden_state
            logits = causal.get_output_embeddings()(hidden.flatten(0, 1)[places])
        loss = torch.nn.functional.cross_entropy(logits.float(), targets, ignore_index=IGNORED)
        return (loss, {"loss": loss}) if return_outputs else loss


def _learnt(labels: torch.Tensor, starts: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Places in the flattened batch where something is learnt, and what; filled up to a round number.

    oneDNN keeps what it prepares for every shape: free numbers grew the process to 8 GB.
    """
    flat = labels.flatten()
    places = torch.cat([(flat != IGNORED).nonzero().squeeze(-1), starts.repeat(START_WEIGHT - 1)])
    missing = -len(places) % ROUND
    filled = torch.cat([places, places.new_zeros(missing)])
    targets = torch.cat([flat[places], flat.new_full((missing,), IGNORED)])
    return filled, targets


def _causal(model: Any) -> Any:
    """The language model itself, also where peft is wrapped around it."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def _losses(history: Sequence[dict[str, Any]]) -> tuple[tuple[int, float], ...]:
    return tuple((int(entry["step"]), float(entry["loss"])) for entry in history if "loss" in entry)
