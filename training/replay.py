"""General rows in the base's own words: what it would have said keeps best what it can do.

A model's own samples as replay nearly end forgetting (arXiv 2605.26097); written ones would teach it somebody
else's style beside.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from personas.prompt import Message, Turn
from training.corpus import Row
from training.speaking import speak

__all__ = ["own_words"]

Tokenizer = Any
# What is cut off would teach to break off; a larger base mostly ends within so much.
LONGEST = 256


def own_words(model: Any, tokenizer: Tokenizer, rows: Sequence[Row], *, seed: int) -> list[Row]:
    """The rows of one exchange with a bare prompt, answered by the base without its adapter.

    Those that it does not come to the end of are left out.
    """
    plain = [row for row in rows if len(row.turns) == 1 and not (row.card or row.facts or row.memory)]
    was_training = model.training
    model.eval()
    with model.disable_adapter():
        prompts = [[Message("user", row.question)] for row in plain]
        replies = speak(model, tokenizer, prompts, seed=seed, longest=LONGEST, must_end=True)
    model.train(was_training)
    return [
        replace(row, turns=(Turn(row.question, reply),))
        for row, reply in zip(plain, replies, strict=True)
        if reply
    ]
