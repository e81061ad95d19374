"""What becomes of each vote: a training row, a held-out one, or nothing yet, and why; pure.

A reply is a row only where the rater agreed and everybody whose words stand in its prompt did. Who chose
"only the vote" is counted in what is believed of a reply, and never becomes a row; who has not answered is
not counted.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from data.records import CastPair, CastRewrite, CastThumb
from training.aggregate import Beliefs, Judgement, aggregate, capped

__all__ = [
    "ENOUGH_ROWS",
    "LACKING",
    "USABLE",
    "Fate",
    "Verdict",
    "decide",
    "is_held_out",
    "lacking",
    "may_train",
]

Fate = Literal[
    "trains",
    "held_out",
    "counts_only",
    "unasked",
    "refused",
    "consumed",
    "others_unasked",
    "flagged",
    "wrong_fact",
    "disputed",
    "unsure",
    "outvoted",
    "over_cap",
    "dismissed",
    "tired",
]

# Of these a row is made.
USABLE: tuple[Fate, ...] = ("trains", "held_out")
SURE = 0.85
MODERATOR = "moderator"
# Who has hardly talked here weighs half: accounts that only vote are cheap to make.
FEW_MESSAGES = 3
NEWCOMER_WEIGHT = 0.5
HELD_OUT_SHARE = 0.15
# After so many runs that were rejected or rolled back it may be the vote: people look before it trains again.
MOST_TRIES = 2
# A run from votes starts with so much …
ENOUGH_ROWS = 50
ENOUGH_OF_EACH = 15
ENOUGH_RATERS = 5
# … and is judged on so much, which adds up over the runs.
ENOUGH_HELD_OUT = 40
# What `lacking` counts, in words.
LACKING = {
    "rows": "usable replies",
    "ups": "good ones among them",
    "downs": "bad ones among them",
    "raters": "raters",
    "held_out": "replies kept for measuring",
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """``good`` is how likely the reply was good, after all votes on it."""

    thumb: CastThumb
    fate: Fate
    good: float


def decide(thumbs: Sequence[CastThumb], *, sure: float = SURE) -> list[Verdict]:
    """Every thumb's fate, in the order given; beliefs are formed over the same persona's thumbs together."""
    given = {one.id: _judgement(one) for one in thumbs if _counts(one)}
    kept, over = capped(list(given.values()))
    beliefs = aggregate(kept)
    surplus = set(over)
    return [
        Verdict(
            one,
            _fate(one, beliefs, sure, is_over_cap=given.get(one.id) in surplus),
            beliefs.good.get(one.reply_id, beliefs.base_rate),
        )
        for one in thumbs
    ]


def may_train(one: CastPair | CastRewrite) -> bool:
    """Whether a comparison or a rewrite becomes a row: everybody agreed, and no run has learnt or lost it.

    What it prefers must not be a reply that a guard flagged. A rewrite counts only from a moderator.
    """
    if one.consent != "yes" or one.silent_others or one.consumed or one.tries >= MOST_TRIES:
        return False
    if is_held_out(one.conversation_id):
        return False
    if isinstance(one, CastRewrite):
        return one.role == MODERATOR
    return one.value != 0 and not (one.guard if one.value > 0 else one.other_guard)


def is_held_out(conversation_id: str) -> bool:
    """Whether a conversation is for measuring, for ever: by a hash, so that no run decides it anew."""
    drawn = int.from_bytes(hashlib.sha256(f"held out\0{conversation_id}".encode()).digest()[:8])
    return drawn < HELD_OUT_SHARE * 2**64


def lacking(verdicts: Iterable[Verdict], *, least_rows: int = ENOUGH_ROWS) -> dict[str, int]:
    """How much is missing for the next run, by what; empty where it can start."""
    fates: dict[str, list[Verdict]] = {"trains": [], "held_out": []}
    for verdict in verdicts:
        if verdict.fate in fates:
            fates[verdict.fate].append(verdict)
    rows = {one.thumb.reply_id: one for one in fates["trains"]}
    held = {one.thumb.reply_id for one in fates["held_out"]}
    labels = Counter(one.good > 0.5 for one in rows.values())  # noqa: PLR2004 - likelier good than not
    found = {
        "rows": least_rows - len(rows),
        "ups": ENOUGH_OF_EACH - labels[True],
        "downs": ENOUGH_OF_EACH - labels[False],
        "raters": ENOUGH_RATERS - len({one.thumb.rater_hash for one in fates["trains"]}),
        "held_out": ENOUGH_HELD_OUT - len(held),
    }
    return {name: many for name, many in found.items() if many > 0}


def _counts(one: CastThumb) -> bool:
    """Whether it is heard at all: who has not answered is not; a moderator is, unless they say no."""
    return one.consent in ("yes", "vote") or (one.role == MODERATOR and one.consent == "unasked")


def _judgement(one: CastThumb) -> Judgement:
    weight = 1.0 if one.messages >= FEW_MESSAGES else NEWCOMER_WEIGHT
    return Judgement(one.reply_id, one.rater_hash, one.value > 0, weight, is_gold=one.role == MODERATOR)


def _fate(one: CastThumb, beliefs: Beliefs, sure: float, *, is_over_cap: bool) -> Fate:
    """The first reason that applies: what the person said, then what the others think."""
    good = beliefs.good.get(one.reply_id, beliefs.base_rate)
    reasons: tuple[tuple[Fate, bool], ...] = (
        ("refused", one.consent == "no"),
        ("consumed", one.consumed),
        ("over_cap", is_over_cap),
        ("dismissed", one.rater_hash in beliefs.dismissed),
        ("wrong_fact", one.reason == "wrong_fact"),
        ("counts_only", one.consent == "vote"),
        ("unasked", one.consent == "unasked"),
        ("others_unasked", one.silent_others > 0),
        ("disputed", one.reply_id in beliefs.disputed),
        ("unsure", max(good, 1 - good) <= sure),
        ("outvoted", (good > sure) != (one.value > 0)),
        ("flagged", bool(one.guard) and one.value > 0),
        ("held_out", is_held_out(one.conversation_id)),
        ("tired", one.tries >= MOST_TRIES),
    )
    return next((fate for fate, applies in reasons if applies), "trains")
