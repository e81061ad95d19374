"""Votes become rows: one for each reply with what is believed of it, one for each comparison and rewrite.

Also in the shapes of other trainers: TRL's "unpaired preference" and "preference" (`KTOTrainer`,
`DPOTrainer`, conversational), and LLaMA-Factory's sharegpt rows with ``kto_tag`` or ``chosen`` and
``rejected``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from data.records import CastPair, CastRewrite
from personas.prompt import Message
from training.eligibility import USABLE, Verdict, may_train
from training.vote_rows import Pair, Rewrite, Thumb, Votes

__all__ = ["SHAPES", "Cast", "Spoken", "named", "votes_of"]

Scrub = Callable[[str], str]
# LLaMA-Factory's names for who speaks.
SPEAKERS = {"user": "human", "assistant": "gpt"}
HALF = 0.5


@dataclass(frozen=True, slots=True)
class Spoken:
    """A reply as it was given: the messages of its prompt and its text."""

    messages: tuple[Message, ...]
    text: str


@dataclass(frozen=True, slots=True)
class Cast:
    """Everything that people said of one persona's replies: the fates of thumbs, comparisons, rewrites."""

    verdicts: Sequence[Verdict]
    pairs: Sequence[CastPair] = ()
    rewrites: Sequence[CastRewrite] = ()


def named(cast: Cast) -> list[str]:
    """The ids of the replies that rows may be made of."""
    replies = [one.thumb.reply_id for one in cast.verdicts if one.fate in USABLE]
    for pair in filter(may_train, cast.pairs):
        replies += [pair.reply_id, pair.other_reply_id]
    replies += [one.reply_id for one in cast.rewrites if may_train(one)]
    return list(dict.fromkeys(replies))


def votes_of(cast: Cast, spoken: Mapping[str, Spoken], scrub: Scrub) -> Votes:
    """The rows, in the order of the votes.

    Args:
        cast: what people said.
        spoken: the replies by id; one that is missing was erased, and gives no row.
        scrub: takes out of a text what may not be learnt (`data.scrub.scrub`).
    """
    by_reply: dict[str, list[Verdict]] = defaultdict(list)
    for verdict in cast.verdicts:
        if verdict.fate in USABLE and verdict.thumb.reply_id in spoken:
            by_reply[verdict.thumb.reply_id].append(verdict)
    thumbs = [(given[0].fate, _thumb(given, spoken[reply], scrub)) for reply, given in by_reply.items()]
    return Votes(
        thumbs=tuple(thumb for fate, thumb in thumbs if fate == "trains"),
        pairs=tuple(_pairs(cast.pairs, spoken, scrub)),
        rewrites=tuple(
            _rewrite(one, spoken[one.reply_id], scrub)
            for one in cast.rewrites
            if may_train(one) and one.reply_id in spoken
        ),
        held_out=tuple(thumb for fate, thumb in thumbs if fate == "held_out"),
    )


def _thumb(given: Sequence[Verdict], spoken: Spoken, scrub: Scrub) -> Thumb:
    first = given[0]
    is_good = first.good > HALF
    return Thumb(
        reply_id=first.thumb.reply_id,
        conversation_id=first.thumb.conversation_id,
        messages=_scrubbed(spoken.messages, scrub),
        completion=scrub(spoken.text),
        is_good=is_good,
        weight=first.good if is_good else 1 - first.good,
        vote_ids=tuple(verdict.thumb.id for verdict in given),
    )


def _pairs(pairs: Iterable[CastPair], spoken: Mapping[str, Spoken], scrub: Scrub) -> Iterable[Pair]:
    """One row for two replies, the way most people chose; none where they are divided."""
    by_replies: dict[tuple[str, str], list[CastPair]] = defaultdict(list)
    for pair in pairs:
        if may_train(pair) and pair.reply_id in spoken and pair.other_reply_id in spoken:
            low, high = sorted((pair.reply_id, pair.other_reply_id))
            by_replies[low, high].append(pair)
    for (low, high), given in by_replies.items():
        balance = sum(pair.value if pair.reply_id == low else -pair.value for pair in given)
        if not balance:
            continue
        chosen, rejected = (low, high) if balance > 0 else (high, low)
        yield Pair(
            chosen,
            rejected,
            given[0].conversation_id,
            _scrubbed(spoken[chosen].messages, scrub),
            scrub(spoken[chosen].text),
            scrub(spoken[rejected].text),
            tuple(pair.id for pair in given),
        )


def _rewrite(one: CastRewrite, spoken: Spoken, scrub: Scrub) -> Rewrite:
    messages = _scrubbed(spoken.messages, scrub)
    return Rewrite(
        one.reply_id, one.conversation_id, messages, scrub(one.text), scrub(spoken.text), (one.id,)
    )


def _scrubbed(messages: Iterable[Message], scrub: Scrub) -> tuple[Message, ...]:
    return tuple(Message(message.role, scrub(message.content)) for message in messages)


def _trl(row: Thumb | Pair) -> Mapping[str, Any]:
    prompt = [{"role": message.role, "content": message.content} for message in row.messages]
    if isinstance(row, Thumb):
        return {"prompt": prompt, "completion": [_assistant(row.completion)], "label": row.is_good}
    return {"prompt": prompt, "chosen": [_assistant(row.chosen)], "rejected": [_assistant(row.rejected)]}


def _assistant(text: str) -> Mapping[str, str]:
    return {"role": "assistant", "content": text}


def _llama_factory(row: Thumb | Pair) -> Mapping[str, Any]:
    system = next((message.content for message in row.messages if message.role == "system"), "")
    said = [
        {"from": SPEAKERS[message.role], "value": message.content}
        for message in row.messages
        if message.role != "system"
    ]
    if isinstance(row, Pair):
        chosen, rejected = ({"from": "gpt", "value": text} for text in (row.chosen, row.rejected))
        return {"conversations": said, "system": system, "chosen": chosen, "rejected": rejected}
    said.append({"from": "gpt", "value": row.completion})
    return {"conversations": said, "system": system, "kto_tag": row.is_good}


# By the name that `troupe votes export --shape` takes.
SHAPES: Mapping[str, Callable[[Thumb | Pair], Mapping[str, Any]]] = {
    "trl": _trl,
    "llamafactory": _llama_factory,
}
