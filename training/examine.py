"""What a run measures of its adapter beside the one in production: everything that the gate judges.

Both adapters are read as they were saved and get the same items and seeds. Choices are compared by
likelihood (`training.options`); replies are drawn as served and looked at (`data.flags`); replies that people
voted on and that no run trains on get the implicit reward of DPO.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from data.checks.duplicates import fold
from data.flags import Flag, flags
from personas.loader import Persona
from personas.prompt import Message, plan
from personas.recall import recall
from training.choices import Choice, preferred, read_choices
from training.corpus import read_rows, split_rows
from training.material import Material
from training.measures import Changed, Guard, HeldOut, Lengths, Measures, SideBySide
from training.options import Packed, option_log_probs, pack
from training.recipes import VoteRecipe
from training.speaking import speak
from training.spoken import measured, spoken_example
from training.vote_rows import read_votes

__all__ = ["examine"]

SIDE_BY_SIDES = 10
# Guard, its file, and whether the questions are asked of the persona as served, or bare.
CHOICES = (
    ("lore", "choices.jsonl", True),
    ("sycophancy", "sycophancy.jsonl", True),
    ("safety", "safety.jsonl", True),
    ("retention", "retention.jsonl", False),
)
FLAGGED: tuple[Flag, ...] = ("language", "repetition", "character")


@dataclass(frozen=True, slots=True)
class _Item:
    """One choice with the prompt and options as ids."""

    choice: Choice
    packed: Packed


@dataclass(frozen=True, slots=True)
class _Asked:
    """One question that is answered freely."""

    id: str
    lang: str
    question: str
    messages: tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class _Found:
    """What one adapter did: scores and preferred options by guard and item, replies, rewards' halves."""

    shares: Mapping[str, Sequence[float]]
    preferred: Mapping[str, Sequence[int]]
    replies: Sequence[str]
    held_out: Sequence[tuple[float, int]]


def examine(material: Material, recipe: VoteRecipe, challenger: Path) -> Measures:
    """Measures an adapter beside the champion on the snapshot's guards, prompts and held-out votes."""
    champion = material.folder / "champion"
    if not any(champion.iterdir()):
        champion = material.folder / "reference"
    items = {
        name: _items(material, recipe, material.folder / "guards" / file, as_served=as_served)
        for name, file, as_served in CHOICES
    }
    asked = _asked(material, recipe)
    held_out = read_votes(material.folder).held_out
    first = material.folder / "first"
    before = _found(material, champion, items, asked)
    after = _found(material, challenger, items, asked)
    at_first = before.replies
    if _differ(first, champion):
        at_first = _replies(material, _model(material.base, first), asked)
    guards = [
        Guard(
            name,
            tuple(item.choice.id for item in items[name]),
            tuple(before.shares[name]),
            tuple(after.shares[name]),
        )
        for name, _, _ in CHOICES
        if items[name]
    ]
    guards += [_looked_at(flag, material.persona, asked, before.replies, after.replies) for flag in FLAGGED]
    return Measures(
        guards=tuple(guards),
        held_out=tuple(
            HeldOut(
                thumb.reply_id,
                thumb.conversation_id,
                thumb.is_good,
                thumb.weight,
                (now - then) / max(1, tokens),
            )
            for thumb, (then, tokens), (now, _) in zip(held_out, before.held_out, after.held_out, strict=True)
        ),
        lengths=Lengths(*(_length(replies) for replies in (at_first, before.replies, after.replies))),
        side_by_sides=_side_by_sides(asked, before.replies, after.replies, seed=material.snapshot.seed),
        never_wrong=_changed(material.persona, items["lore"], before, after),
    )


def _items(material: Material, recipe: VoteRecipe, file: Path, *, as_served: bool) -> list[_Item]:
    """The choices of a set, a drawn part of them where the recipe says so."""
    choices = read_choices(file) if file.is_file() else []
    if recipe.guard_items is not None and len(choices) > recipe.guard_items:
        draw = random.Random(material.snapshot.seed)  # noqa: S311 - a choice, not a secret
        choices = draw.sample(choices, recipe.guard_items)
    return [
        _Item(
            choice,
            pack(
                material.tokenizer,
                _messages(material, choice.question, choice.lang, as_served=as_served),
                choice.options,
            ),
        )
        for choice in choices
    ]


def _asked(material: Material, recipe: VoteRecipe) -> list[_Asked]:
    """Questions of the persona's corpus, asked as if they had never been written."""
    rows = [row for row in read_rows(material.folder / "replay_persona.jsonl") if len(row.turns) == 1]
    _, drawn = split_rows(
        rows, share=min(1.0, recipe.spoken_items / max(1, len(rows))), seed=material.snapshot.seed
    )
    return [
        _Asked(
            str(number), row.lang, row.question, _messages(material, row.question, row.lang, as_served=True)
        )
        for number, row in enumerate(drawn)
    ]


def _messages(material: Material, question: str, lang: str, *, as_served: bool) -> tuple[Message, ...]:
    if not as_served:
        return (Message("user", question),)
    persona, tokenizer = material.persona, material.tokenizer
    found = recall(persona, question, lang, unseen=True)

    def count(text: str) -> int:
        return len(tokenizer.encode(text, add_special_tokens=False))

    return plan(
        persona.prompt_text,
        (),
        question,
        count=count,
        budget=material.budget,
        lore=[section.text(lang) for section in found.lore],
        similar=found.similar,
    ).messages


def _found(
    material: Material, adapter: Path, items: Mapping[str, Sequence[_Item]], asked: Sequence[_Asked]
) -> _Found:
    model = _model(material.base, adapter)
    padding = material.tokenizer.pad_token_id
    shares, chosen = {}, {}
    for name, own in items.items():
        scores = option_log_probs(model, [item.packed for item in own], padding=padding)
        shares[name] = [_share(item.choice, found) for item, found in zip(own, scores, strict=True)]
        chosen[name] = [
            preferred(item.choice.options, found) for item, found in zip(own, scores, strict=True)
        ]
    voted = [
        spoken_example(material.tokenizer, thumb.messages, thumb.completion)
        for thumb in read_votes(material.folder).held_out
    ]
    return _Found(shares, chosen, _replies(material, model, asked), measured(model, voted, padding=padding))


def _model(base: Path, adapter: Path) -> Any:
    """The base with the adapter, in the precision that it is served in: bfloat16 on a GPU, else float32.

    In float32 it is merged, which is faster; in bfloat16 that would round the adapter away.
    """
    on_gpu = torch.cuda.is_available()
    plain = AutoModelForCausalLM.from_pretrained(
        base,
        dtype=torch.bfloat16 if on_gpu else torch.float32,
        device_map={"": 0} if on_gpu else None,
        trust_remote_code=False,
        use_safetensors=True,
    )
    model = PeftModel.from_pretrained(plain, adapter)
    return (model if on_gpu else model.merge_and_unload()).eval()


def _replies(material: Material, model: Any, asked: Sequence[_Asked]) -> list[str]:
    voice = material.persona.sampling
    return speak(
        model,
        material.tokenizer,
        [one.messages for one in asked],
        seed=material.snapshot.seed,
        temperature=voice.temperature,
        top_p=voice.top_p,
        top_k=voice.top_k,
    )


def _share(choice: Choice, log_probs: Sequence[float]) -> float:
    """The right option's share of the likelihood: of log-probabilities per byte, times the mean bytes."""
    sizes = [len(option.encode()) for option in choice.options]
    scale = fmean(sizes)
    scores = [value / size * scale for value, size in zip(log_probs, sizes, strict=True)]
    most = max(scores)
    weights = [math.exp(score - most) for score in scores]
    return weights[choice.right] / sum(weights)


def _looked_at(
    flag: Flag, persona: Persona, asked: Sequence[_Asked], before: Sequence[str], after: Sequence[str]
) -> Guard:
    def clean(replies: Sequence[str]) -> tuple[float, ...]:
        return tuple(
            float(flag not in flags(reply, lang=one.lang, card=persona.prompt_text))
            for one, reply in zip(asked, replies, strict=True)
        )

    return Guard(flag, tuple(one.id for one in asked), clean(before), clean(after))


def _length(replies: Sequence[str]) -> float:
    return fmean(len(fold(reply)) for reply in replies)


def _side_by_sides(
    asked: Sequence[_Asked], before: Sequence[str], after: Sequence[str], *, seed: int
) -> tuple[SideBySide, ...]:
    """Replies that differ: to written questions, so that nobody's chat is shown to others."""
    pairs = [
        SideBySide(one.question, was, now)
        for one, was, now in zip(asked, before, after, strict=True)
        if was != now
    ]
    draw = random.Random(seed)  # noqa: S311 - a choice, not a secret
    return tuple(draw.sample(pairs, min(SIDE_BY_SIDES, len(pairs))))


def _changed(persona: Persona, items: Sequence[_Item], before: _Found, after: _Found) -> tuple[Changed, ...]:
    return tuple(
        Changed(item.choice.id, item.choice.question, item.choice.options[was], item.choice.options[now])
        for item, was, now in zip(items, before.preferred["lore"], after.preferred["lore"], strict=True)
        if was != now and _is_never_wrong(item.choice, persona)
    )


def _is_never_wrong(choice: Choice, persona: Persona) -> bool:
    """Whether a fact that must never be wrong tells the right option from the others."""
    forms = (
        fact.forms[choice.lang]
        for section in persona.lore.sections
        for fact in section.facts
        if fact.never_wrong and choice.lang in fact.forms
    )
    holds = ([any(form in option for form in each) for option in choice.options] for each in forms)
    return any(held[choice.right] and sum(held) == 1 for held in holds)


def _differ(one: Path, other: Path) -> bool:
    """Whether ``one`` is an adapter, and not the ``other``."""
    weights = "adapter_model.safetensors"
    return (one / weights).is_file() and (one / weights).read_bytes() != (other / weights).read_bytes()
