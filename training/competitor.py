"""One competitor of `training.bench` at its work: our loops, or TRL's trainers by their public interface.

Everybody starts from the same base and adapter with the same rows, rows a step, number of steps, learning
rate and bfloat16 autocast. What counts is the trainer's run and what goes into the reference's
log-probabilities, wherever that is spent; importing, loading and tokenising do not count.
"""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import torch
from transformers import AutoTokenizer

from training.attention import settle
from training.bench import EPOCHS, ROWS_PER_STEP, SEED, Measured, Task
from training.course import Course, train
from training.dataset import Batches, Example, batches
from training.losses import balance
from training.policy import continued_policy
from training.preference import preferring
from training.random_base import QWEN3_8B, random_policy
from training.recipes import VOTE_RECIPES, VoteRecipe
from training.spoken import causal, measured, spoken_example
from training.stopwatch import Stopwatch
from training.vote_rows import Thumb, Votes, read_votes
from training.vote_steps import Steps, deal, with_references

__all__ = ["compete"]

KIB_PER_MIB = 1024


@dataclass(frozen=True, slots=True)
class _Work:
    """What a competitor has in hand; ``examples`` are the thumbs as ids."""

    task: Task
    model: Any
    tokenizer: Any
    recipe: VoteRecipe
    thumbs: tuple[Thumb, ...]
    examples: Sequence[Example]
    watch: Stopwatch = field(default_factory=Stopwatch)

    @property
    def weights(self) -> tuple[float, float]:
        """Of good and of bad rows."""
        good = sum(thumb.is_good for thumb in self.thumbs)
        return balance(good, len(self.thumbs) - good)

    @property
    def course(self) -> Course:
        recipe = self.recipe
        return Course(self.task.out, recipe.learning_rate, recipe.warmup, SEED, progress=False)


def compete(task: Task) -> Measured:
    """Does the task's training and tells what it took."""
    work = _work(task)
    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    steps = _RUNS[task.loss, task.trainer](work)
    return Measured(
        seconds=work.watch.seconds,
        cpu_seconds=work.watch.cpu_seconds,
        tokens=EPOCHS * sum(len(example.ids) for example in work.examples),
        steps=steps,
        peak_mib=_peak_mib(),
        device=torch.cuda.get_device_name() if cuda else "cpu",
        threads=torch.get_num_threads(),
    )


def _work(task: Task) -> _Work:
    recipe = replace(
        VOTE_RECIPES["large" if task.is_large else "starter"],
        epochs=EPOCHS,
        least_steps=0,
        votes_per_item=ROWS_PER_STEP,
        accumulate=1,
        persona_share=0.0,
        general_share=0.0,
        own_rows=0,
        mismatched=ROWS_PER_STEP,
    )
    if task.is_large:
        model = random_policy(QWEN3_8B, device=0, prepared=task.trainer == "ours", seed=SEED)
    else:
        model = continued_policy(task.base, task.adapter, quantises=False, seed=SEED)
    tokenizer = AutoTokenizer.from_pretrained(task.base, trust_remote_code=False)
    thumbs = read_votes(task.rows).thumbs
    examples = [spoken_example(tokenizer, thumb.messages, thumb.completion) for thumb in thumbs]
    return _Work(task, model, tokenizer, recipe, thumbs, examples)


def _our_kto(work: _Work) -> int:
    """As `training.vote_run` does it."""
    padding = work.tokenizer.pad_token_id
    votes = Votes(thumbs=work.thumbs)
    items = deal(votes, work.tokenizer, work.recipe, persona=(), general=(), seed=SEED)
    settle(causal(work.model))
    examples = list(dict.fromkeys(line.example for lines in items for line in lines))
    with work.watch.running():
        found = measured(work.model, examples, padding=padding)
    references = {example: value for example, (value, _) in zip(examples, found, strict=True)}
    good, bad = work.weights
    train(
        work.model,
        Steps(with_references(items, references), padding=padding),
        work.course,
        trainer_class=preferring(work.recipe, desirable=good, undesirable=bad),
        callbacks=[work.watch],
    )
    return len(items)


def _our_sft(work: _Work) -> int:
    groups = [
        group
        for epoch in range(EPOCHS)
        for group in batches(work.examples, size=ROWS_PER_STEP, seed=SEED + epoch)
    ]
    data = Batches(groups, padding=work.tokenizer.pad_token_id)
    train(work.model, data, work.course, callbacks=[work.watch])
    return len(groups)


def _their_kto(work: _Work, *, precomputes: bool = False) -> int:
    import trl  # noqa: PLC0415 - our own competitors must not carry it

    class _Timed(trl.KTOTrainer):  # type: ignore[misc] # nor does TRL ship them
        def compute_ref_log_probs(self, *arguments: Any, **named: Any) -> Any:
            """Only called where the reference is asked before training."""
            with work.watch.running():
                return super().compute_ref_log_probs(*arguments, **named)

    good, bad = work.weights
    settings = trl.KTOConfig(
        **_their_settings(work),
        beta=work.recipe.beta,
        desirable_weight=good,
        undesirable_weight=bad,
        precompute_ref_log_probs=precomputes,
    )
    return _run_theirs(work, _Timed, settings)


def _their_precomputed_kto(work: _Work) -> int:
    return _their_kto(work, precomputes=True)


def _their_sft(work: _Work) -> int:
    import trl  # noqa: PLC0415 - see above

    return _run_theirs(work, trl.SFTTrainer, trl.SFTConfig(**_their_settings(work)))


def _their_settings(work: _Work) -> Mapping[str, Any]:
    cuda = torch.cuda.is_available()
    return {
        "output_dir": str(work.task.out),
        "num_train_epochs": EPOCHS,
        "per_device_train_batch_size": ROWS_PER_STEP,
        "learning_rate": work.recipe.learning_rate,
        "lr_scheduler_type": "cosine",
        "seed": SEED,
        # Theirs by default; ours has it where the base is quantised.
        "activation_checkpointing": work.task.is_large,
        "max_length": None,
        "bf16": True,
        "use_cpu": not cuda,
        "dataloader_pin_memory": cuda,
        "report_to": [],
        "disable_tqdm": True,
        "save_strategy": "no",
    }


def _run_theirs(work: _Work, trainer_class: Any, settings: Any) -> int:
    import datasets  # noqa: PLC0415 - see above

    rows = [
        {
            "prompt": [{"role": message.role, "content": message.content} for message in thumb.messages],
            "completion": [{"role": "assistant", "content": thumb.completion}],
            "label": thumb.is_good,
        }
        for thumb in work.thumbs
    ]
    trainer = trainer_class(
        model=work.model,
        args=settings,
        train_dataset=datasets.Dataset.from_list(rows),
        processing_class=work.tokenizer,
        callbacks=[work.watch],
    )
    return int(trainer.train().global_step)


def _peak_mib() -> float:
    if torch.cuda.is_available():
        return float(torch.cuda.max_memory_allocated()) / KIB_PER_MIB**2
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # In KiB, but on macOS in bytes.
    return peak / (KIB_PER_MIB**2 if sys.platform == "darwin" else KIB_PER_MIB)


_RUNS: Mapping[tuple[str, str], Callable[[_Work], int]] = MappingProxyType(
    {
        ("kto", "ours"): _our_kto,
        ("kto", "trl"): _their_kto,
        ("kto", "trl_precomputed"): _their_precomputed_kto,
        ("sft", "ours"): _our_sft,
        ("sft", "trl"): _their_sft,
    }
)
