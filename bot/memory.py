"""The history of a conversation as the prompt wants it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from data.records import Utterance
from data.store import Store
from personas.prompt import Turn

__all__ = ["history", "merged", "turns_of"]

# More than any context of ours holds; the prompt plan drops what does not fit.
MOST_MESSAGES = 200


async def history(store: Store, conversation_id: str) -> tuple[Turn, ...]:
    return turns_of(await store.history(conversation_id, most=MOST_MESSAGES))


def turns_of(utterances: Sequence[Utterance]) -> tuple[Turn, ...]:
    """Finished exchanges, oldest first; one that the window cut in two is left out."""
    turns = []
    for _, group in groupby(utterances, key=lambda one: one.reply_id):
        exchange = list(group)
        asked = [one for one in exchange if one.role == "user"]
        answered = [one.text for one in exchange if one.role == "assistant"]
        if asked and answered:
            turns.append(Turn(merged(asked), answered[-1]))
    return tuple(turns)


def merged(asked: Sequence[Utterance]) -> str:
    """One person's words as they are; several speakers in a row as ``name: text``."""
    if len({one.author_hash for one in asked}) <= 1:
        return "\n".join(one.text for one in asked)
    return "\n".join(f"{one.author_name or '?'}: {one.text}" for one in asked)
