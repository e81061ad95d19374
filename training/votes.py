"""Votes as training rows: one for each reply, with what is believed of it, in the shapes of other trainers.

TRL's "unpaired preference" (`KTOTrainer`, conversational) and LLaMA-Factory's sharegpt rows with ``kto_tag``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from personas.prompt import Message
from training.eligibility import USABLE, Verdict

__all__ = ["SHAPES", "Spoken", "VoteRow", "rows_of"]

Rewrite = Callable[[str], str]
# LLaMA-Factory's names for who speaks.
SPEAKERS = {"user": "human", "assistant": "gpt"}
HALF = 0.5


@dataclass(frozen=True, slots=True)
class Spoken:
    """A reply as it was given: the messages of its prompt and its text."""

    messages: tuple[Message, ...]
    text: str


@dataclass(frozen=True, slots=True)
class VoteRow:
    """``weight``: how sure the label is, 0.5 to 1."""

    reply_id: str
    conversation_id: str
    messages: tuple[Message, ...]
    completion: str
    is_good: bool
    weight: float
    vote_ids: tuple[int, ...]
    is_held_out: bool


def rows_of(verdicts: Iterable[Verdict], spoken: Mapping[str, Spoken], rewrite: Rewrite) -> list[VoteRow]:
    """A row for every reply with at least one vote that trains or measures, in the order of the votes.

    Args:
        verdicts: the fates of one persona's thumbs.
        spoken: the replies by id; one that is missing was erased, and gives no row.
        rewrite: takes out of a text what may not be learnt (`data.scrub.scrub`).
    """
    usable: dict[str, list[Verdict]] = defaultdict(list)
    for verdict in verdicts:
        if verdict.fate in USABLE and verdict.thumb.reply_id in spoken:
            usable[verdict.thumb.reply_id].append(verdict)
    return [_row(votes, spoken[reply_id], rewrite) for reply_id, votes in usable.items()]


def _row(votes: Sequence[Verdict], spoken: Spoken, rewrite: Rewrite) -> VoteRow:
    first = votes[0]
    is_good = first.good > HALF
    return VoteRow(
        reply_id=first.thumb.reply_id,
        conversation_id=first.thumb.conversation_id,
        messages=tuple(Message(message.role, rewrite(message.content)) for message in spoken.messages),
        completion=rewrite(spoken.text),
        is_good=is_good,
        weight=first.good if is_good else 1 - first.good,
        vote_ids=tuple(vote.thumb.id for vote in votes),
        is_held_out=first.fate == "held_out",
    )


def _trl(row: VoteRow) -> Mapping[str, Any]:
    return {
        "prompt": [{"role": message.role, "content": message.content} for message in row.messages],
        "completion": [{"role": "assistant", "content": row.completion}],
        "label": row.is_good,
    }


def _llama_factory(row: VoteRow) -> Mapping[str, Any]:
    system = next((message.content for message in row.messages if message.role == "system"), "")
    said = [
        {"from": SPEAKERS[message.role], "value": message.content}
        for message in row.messages
        if message.role != "system"
    ]
    said.append({"from": "gpt", "value": row.completion})
    return {"conversations": said, "system": system, "kto_tag": row.is_good}


# By the name that `troupe votes export --shape` takes.
SHAPES: Mapping[str, Callable[[VoteRow], Mapping[str, Any]]] = {"trl": _trl, "llamafactory": _llama_factory}
