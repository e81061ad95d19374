"""The starter base: a Qwen3-shaped model of about 7M parameters, trained from nothing on the project's text.

It learns to talk plainly as nobody in particular, to do small sums and translate words, to use the lore and
memory lines of a prompt on made-up characters, and what the cast says under its cards: a base that had not
read it could not be made into them by an adapter of this size (docs/starter.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from personas.loader import Persona
from personas.prompt import budget_for
from training.corpus import Row, chats, split_rows
from training.course import Course, Curve, train
from training.dataset import Batches, Example, batches, chat_example, persona_epoch
from training.invention import vary
from training.recipes import BaseRecipe
from training.tokenizer import train_tokenizer

__all__ = ["Corpora", "build_base", "corpus_texts"]


@dataclass(frozen=True, slots=True)
class Corpora:
    """What the base is made from: general rows, rows whose answer copies from the prompt, and the cast's."""

    general: tuple[Row, ...]
    copying: tuple[Row, ...]
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
    groups: list[list[Example]] = []
    for epoch in range(recipe.epochs):
        examples = _epoch(tokenizer, corpora, recipe, seed=seed + epoch)
        groups += batches(examples, size=recipe.rows_per_step, seed=seed + epoch)
    course = Course(work, recipe.learning_rate, recipe.warmup, seed, progress=progress)
    curve = train(model, Batches(groups, padding=tokenizer.pad_token_id), course)
    model.to(torch.bfloat16)
    model.save_pretrained(out)
    return curve


def corpus_texts(corpora: Corpora) -> list[str]:
    """Every text the starter may ever read or say: what its tokenizer is trained on."""
    texts = list(_documents(corpora))
    for row in (*corpora.general, *corpora.copying):
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
    """One pass over everything, dealt and varied anew."""
    budget = budget_for(recipe.context)
    _, general = split_rows(corpora.general, share=recipe.general_share, seed=seed)
    plain = [*general, *vary(corpora.copying, times=recipe.copies, seed=seed)]
    examples = [
        _general_example(tokenizer, dealt, budget)
        for dealt in chats(plain, share=recipe.joined, longest=recipe.longest, seed=seed)
    ]
    for persona, rows in corpora.cast:
        examples += persona_epoch(
            tokenizer,
            persona,
            rows,
            budget=budget,
            joined=recipe.joined,
            longest=recipe.longest,
            lore_share=recipe.lore_share,
            invented_share=recipe.invented_share,
            seed=seed,
        )
    return examples


def _general_example(tokenizer: Any, dealt: Sequence[Row], budget: Any) -> Example:
    last = dealt[-1]
    turns = [turn for row in dealt for turn in row.turns]
    return chat_example(tokenizer, last.card, turns, budget=budget, facts=last.facts, memory=last.memory)
