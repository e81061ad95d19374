"""Rows for a bench: written dialogues of the cast as serving renders them, judged by a seeded coin.

Real prompts have real lengths; what the coin says matters to no measurement of speed.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer

from personas.loader import Persona, load_persona
from personas.prompt import Budget, budget_for, plan
from personas.recall import recall
from training.corpus import Row, read_rows
from training.vote_rows import Thumb

__all__ = ["drawn_thumbs"]


def drawn_thumbs(personas: Sequence[Path], base: Path, *, rows: int, seed: int) -> list[Thumb]:
    """So many replies in random order, about as many of each persona.

    Args:
        personas: their folders.
        base: the folder of the base whose tokenizer counts what fits.
        rows: how many.
        seed: of the draw and of the coin.

    Raises:
        CorpusBroken, PersonaError: a folder cannot be read.
    """
    generator = random.Random(seed)  # noqa: S311 - a draw, not a secret
    tokenizer = Tokenizer.from_file(str(base / "tokenizer.json"))
    config = json.loads((base / "config.json").read_text(encoding="utf-8"))
    budget = budget_for(config["max_position_embeddings"])
    thumbs: list[Thumb] = []
    for number, folder in enumerate(personas):
        persona = load_persona(folder)
        share = (rows - len(thumbs)) // (len(personas) - number)
        drawn = generator.sample(read_rows(folder / "dialogues.jsonl"), share)
        thumbs += [
            _thumb(persona, row, tokenizer, budget, is_good=generator.random() < 1 / 2) for row in drawn
        ]
    generator.shuffle(thumbs)
    return thumbs


def _thumb(persona: Persona, row: Row, tokenizer: Tokenizer, budget: Budget, *, is_good: bool) -> Thumb:
    *earlier, last = row.turns
    before = f"{earlier[-1].user}\n{earlier[-1].assistant}" if earlier else ""
    # A row is among the exchanges it is looked up in: serving meets questions that are not.
    found = recall(persona, row.question, row.lang, before=before, unseen=True)
    planned = plan(
        persona.prompt_text,
        earlier,
        last.user,
        count=lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids),
        budget=budget,
        lore=[section.text(row.lang) for section in found.lore],
        similar=found.similar,
    )
    return Thumb(
        reply_id="",
        conversation_id="",
        messages=planned.messages,
        completion=last.assistant,
        is_good=is_good,
        weight=1.0,
    )
