"""The starter base: a Qwen3-shaped model of about 7M parameters, trained from nothing on the project's text.

It learns to talk plainly as nobody in particular, to do small sums and translate words, and to use the
lore and memory lines of a prompt on made-up characters. The cast's own text it reads only as running text:
a last cycle lets it talk under their cards, and each persona's adapter makes it that persona.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_model, save_model
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from personas.loader import Persona
from personas.prompt import budget_for
from training.corpus import Row, chats, split_rows
from training.course import Course, Curve, joined, train
from training.dataset import (
    Batches,
    Example,
    batches,
    chat_example,
    document_examples,
    persona_epoch,
)
from training.recipes import BaseRecipe
from training.tokenizer import train_tokenizer

__all__ = ["Corpora", "build_base", "corpus_texts"]

# Of the general rows that need nothing before them, this share is dealt into chats of 2..4 rows.
JOINED = 0.3
LONGEST = 4


@dataclass(frozen=True, slots=True)
class Corpora:
    """What the base is made from: general rows, and the cast's rows and lore as running text."""

    general: tuple[Row, ...]
    cast: tuple[tuple[Persona, tuple[Row, ...]], ...]


def build_base(
    corpora: Corpora, recipe: BaseRecipe, *, out: Path, work: Path, seed: int, progress: bool
) -> Curve:
    """Trains tokenizer and model and saves both to ``out`` in bf16."""
    tokenizer = train_tokenizer(
        corpus_texts(corpora), size=recipe.vocabulary, context=recipe.context, out=out
    )
    torch.manual_seed(seed)
    model = Qwen3ForCausalLM(_config(recipe, tokenizer))
    plans = [partial(_text_epochs, tokenizer, corpora, recipe, cycle, seed) for cycle in range(recipe.cycles)]
    plans.append(partial(_cast_epochs, tokenizer, corpora, recipe, seed))
    curves = [
        _cycle(model, tokenizer, plan, recipe, cycle, work=work, seed=seed, progress=progress)
        for cycle, plan in enumerate(plans)
    ]
    model.to(torch.bfloat16)
    model.save_pretrained(out)
    return joined(curves)


def _cycle(
    model: Any,
    tokenizer: PreTrainedTokenizerFast,
    groups_of: Callable[[], list[list[Example]]],
    recipe: BaseRecipe,
    cycle: int,
    *,
    work: Path,
    seed: int,
    progress: bool,
) -> Curve:
    """One warm-up and cool-down over the text; a finished cycle is kept in ``work`` and not repeated."""
    kept, curve_file = work / f"cycle-{cycle}.safetensors", work / f"cycle-{cycle}.json"
    if curve_file.is_file():
        load_model(model, str(kept))
        return Curve(**json.loads(curve_file.read_text(encoding="utf-8")))
    groups = groups_of()
    course = Course(work / f"cycle-{cycle}", recipe.learning_rate, recipe.warmup, seed, progress=progress)
    curve = train(model, Batches(groups, padding=tokenizer.pad_token_id), course)
    save_model(model, str(kept))
    curve_file.write_text(json.dumps(asdict(curve)), encoding="utf-8")
    return curve


def _text_epochs(
    tokenizer: PreTrainedTokenizerFast, corpora: Corpora, recipe: BaseRecipe, cycle: int, seed: int
) -> list[list[Example]]:
    groups: list[list[Example]] = []
    for epoch in range(cycle * recipe.epochs, (cycle + 1) * recipe.epochs):
        examples = _epoch(tokenizer, corpora, recipe, seed=seed + epoch)
        groups += batches(examples, size=recipe.rows_per_step, seed=seed + epoch)
    return groups


def _cast_epochs(
    tokenizer: PreTrainedTokenizerFast, corpora: Corpora, recipe: BaseRecipe, seed: int
) -> list[list[Example]]:
    budget = budget_for(recipe.context)
    groups: list[list[Example]] = []
    for epoch in range(recipe.cast_epochs):
        examples: list[Example] = []
        for persona, rows in corpora.cast:
            examples += persona_epoch(
                tokenizer,
                persona,
                rows,
                budget=budget,
                joined=recipe.cast_joined,
                longest=recipe.cast_longest,
                lore_share=recipe.cast_lore,
                seed=seed + epoch,
            )
        _, general = split_rows(corpora.general, share=recipe.cast_general, seed=seed + epoch)
        examples += [
            _general_example(tokenizer, dealt, budget)
            for dealt in chats(general, share=JOINED, longest=LONGEST, seed=seed + epoch)
        ]
        groups += batches(examples, size=recipe.rows_per_step, seed=seed + epoch)
    return groups


def corpus_texts(corpora: Corpora) -> list[str]:
    """Every text the starter may ever read or say: what its tokenizer is trained on."""
    texts = list(_documents(corpora))
    for row in corpora.general:
        texts += [row.card, *row.facts, *row.memory]
        texts += [text for turn in row.turns for text in (turn.user, turn.assistant)]
    texts += [persona.prompt_text for persona, _ in corpora.cast]
    return texts


def _documents(corpora: Corpora) -> Iterable[str]:
    for persona, rows in corpora.cast:
        for section in persona.lore.sections:
            for lang in ("zh-CN", "zh-TW", "en"):
                yield section.text(lang)
        for row in rows:
            yield "\n".join(f"{turn.user}\n{turn.assistant}" for turn in row.turns)


def _config(recipe: BaseRecipe, tokenizer: PreTrainedTokenizerFast) -> Qwen3Config:
    return Qwen3Config(
        vocab_size=recipe.vocabulary,
        hidden_size=recipe.hidden,
        intermediate_size=recipe.feed_forward,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        num_key_value_heads=recipe.key_value_heads,
        head_dim=recipe.head_size,
        max_position_embeddings=recipe.context,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def _epoch(
    tokenizer: PreTrainedTokenizerFast, corpora: Corpora, recipe: BaseRecipe, *, seed: int
) -> list[Example]:
    budget = budget_for(recipe.context)
    examples = [
        _general_example(tokenizer, dealt, budget)
        for dealt in chats(corpora.general, share=JOINED, longest=LONGEST, seed=seed)
    ]
    examples += document_examples(
        tokenizer, _shuffled(_documents(corpora), seed), length=recipe.document_length
    )
    return examples


def _general_example(tokenizer: Any, dealt: Sequence[Row], budget: Any) -> Example:
    last = dealt[-1]
    turns = [turn for row in dealt for turn in row.turns]
    return chat_example(tokenizer, last.card, turns, budget=budget, facts=last.facts, memory=last.memory)


def _shuffled(texts: Iterable[str], seed: int) -> list[str]:
    order = torch.randperm(len(every := list(texts)), generator=torch.Generator().manual_seed(seed))
    return [every[index] for index in order.tolist()]
