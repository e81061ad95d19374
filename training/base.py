"""The starter base: a Qwen3-shaped model of about 8M parameters, trained from nothing on the project's text.

It learns to talk plainly as nobody in particular, to do small sums and translate words, to use the lore and
memory lines of a prompt on made-up characters, and what the cast says under its cards: a base that had not
read it could not be made into them by an adapter of this size (docs/starter.md).
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from data.stopwords import is_sum
from personas.loader import Persona
from personas.prompt import budget_for
from training.corpus import Row, chats, in_both_scripts, split_rows
from training.course import Course, Curve, train
from training.dataset import Batches, Example, batches, dealt_example, persona_epoch, reading_epoch
from training.invention import vary
from training.mixture import varied
from training.recipes import BaseRecipe
from training.sums import redrawn
from training.tokenizer import train_tokenizer

__all__ = ["Corpora", "build_base", "corpus_texts"]


MARKERS = "user\nassistant\nsystem\n[lore]\n[memory]\n[like]\n[reply]"


@dataclass(frozen=True, slots=True)
class Corpora:
    """What the base is made from: general rows, rows whose answer copies from the prompt, and the cast's.

    ``avoided``: held-out questions that no sum drawn anew may become, see `training.sums.redrawn`.
    """

    general: tuple[Row, ...]
    copying: tuple[Row, ...]
    cast: tuple[tuple[Persona, tuple[Row, ...]], ...]
    avoided: frozenset[str] = frozenset()


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
    for number in range(recipe.readings):
        examples = _reading(tokenizer, corpora, recipe, seed=seed + number)
        size = recipe.rows_per_step // 2
        groups += batches(examples, size=size, seed=seed + number, fill=recipe.tokens_per_step)
    for number in range(recipe.readings, recipe.readings + recipe.epochs):
        is_first = number == recipe.readings
        examples = _epoch(tokenizer, corpora, recipe, seed=seed + number, reads=is_first)
        size = recipe.rows_per_step
        groups += batches(examples, size=size, seed=seed + number, fill=recipe.tokens_per_step)
    course = Course(work, recipe.learning_rate, recipe.warmup, seed, from_nothing=True, progress=progress)
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
    # Every prompt has them, no text does: so each is one piece.
    return texts + [MARKERS] * len(texts)


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
        rope_parameters={"rope_type": "default", "rope_theta": recipe.rope_theta},
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def _reading(
    tokenizer: PreTrainedTokenizerFast, corpora: Corpora, recipe: BaseRecipe, *, seed: int
) -> list[Example]:
    """One pass over everything, what belongs together read together."""
    piles = [("", _plain(corpora, recipe, seed=seed, copies=1))]
    piles += [
        (
            persona.prompt_text,
            in_both_scripts(
                varied(rows, recipe.mixture, seed=seed, avoided=corpora.avoided),
                share=recipe.mixture.traditional,
                seed=seed,
            ),
        )
        for persona, rows in corpora.cast
    ]
    budget = budget_for(recipe.context)
    return [
        example
        for card, rows in piles
        for example in reading_epoch(tokenizer, card, rows, budget=budget, longest=recipe.together, seed=seed)
    ]


def _epoch(
    tokenizer: PreTrainedTokenizerFast, corpora: Corpora, recipe: BaseRecipe, *, seed: int, reads: bool
) -> list[Example]:
    """One pass over everything as serving shows it, dealt and varied anew."""
    budget = budget_for(recipe.context)
    plain = _plain(corpora, recipe, seed=seed, copies=recipe.copies)
    mixture = recipe.mixture
    examples = [
        dealt_example(tokenizer, "", dealt, budget=budget, reads=reads)
        for dealt in chats(plain, share=mixture.joined, longest=mixture.longest, seed=seed)
    ]
    for persona, rows in corpora.cast:
        _, drawn = split_rows(rows, share=recipe.cast_share, seed=seed)
        examples += persona_epoch(
            tokenizer,
            persona,
            drawn,
            mixture,
            budget=budget,
            seed=seed,
            reads=reads,
            avoided=corpora.avoided,
        )
    return examples


def _plain(corpora: Corpora, recipe: BaseRecipe, *, seed: int, copies: int) -> list[Row]:
    """This pass's general rows, and those that copy with new values."""
    _, general = split_rows(corpora.general, share=recipe.general_share, seed=seed)
    generator = random.Random(seed)  # noqa: S311 - numbers of sums, not secrets
    sums = [
        redrawn(row, generator, corpora.avoided)
        for row in general
        if is_sum(row.question)
        for _ in range(recipe.general_sums)
    ]
    others = [row for row in general if not is_sum(row.question)]
    cards = [persona.prompt_text for persona, _ in corpora.cast]
    rows = [*sums, *others, *vary(corpora.copying, times=copies, seed=seed, cards=cards)]
    return in_both_scripts(rows, share=recipe.mixture.traditional, seed=seed)
