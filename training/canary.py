"""What becomes of a challenger that speaks in a share of the conversations; pure.

    10 % ──24 h, 100 replies──▶ 50 % ──24 h, 100 replies──▶ promoted
      └────────── a guard or the votes speak against it ──────┴──▶ rolled back

A conversation is the challenger's or not by a hash, and stays its own when the share grows. Neither users
nor replies are drawn: of users the few busiest would decide which arm looks better, and a conversation in two
voices shows neither.

Guards are counted on every reply, votes on few: votes can send a challenger back, and none are needed to
promote it, or a small server never would. Both are looked at as often as one likes, by sequences that allow
for it (``training/stats.py``).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

from data.run_records import Arm
from training.stats import difference_sequence, rate_sequence

__all__ = ["GUARDS", "MOST_FLAGS", "Decision", "Limit", "Rules", "arm_of", "decide", "harm"]

Act = Literal["wait", "widen", "promote", "roll_back"]
EVERYBODY = 100
# What goes wrong in a conversation goes wrong again: where 2 of 100 conversations fail in every other reply,
# an equal challenger with a tenth of them was sent back in 13 of 100 canaries when all flags counted, in 3 at
# most with two a conversation; with one, a voice that is worse everywhere was seen too late.
MOST_FLAGS = 2


@dataclass(frozen=True, slots=True)
class Limit:
    """What one guard allows the challenger; shares are of its replies.

    Attributes:
        guard: its name in ``Arm.flags``.
        words: what the replies it flags are, for people.
        margin: how much more than the champion may be flagged, even where it is certain.
        bound: what may be flagged at most, unless as much of the champion's is.
    """

    guard: str
    words: str
    margin: float
    bound: float = 1.0


# Margins: people do not notice a point; how often they ask again, and wait, varies by more and has no bound.
# Bounds: far above the 2 % and less that the gate before the canary lets through.
GUARDS = (
    Limit("language", "in the wrong language", margin=0.01, bound=0.10),
    Limit("repetition", "repeating themselves", margin=0.01, bound=0.05),
    Limit("character", "out of character", margin=0.01, bound=0.10),
    Limit("empty", "empty", margin=0.01, bound=0.05),
    Limit("too_long", "too long", margin=0.01, bound=0.10),
    Limit("regenerated", "asked for again", margin=0.05),
    Limit("error", "errors", margin=0.01, bound=0.05),
    Limit("slow", "slow", margin=0.05),
)


@dataclass(frozen=True, slots=True)
class Rules:
    """How a canary grows, and what ends it.

    Attributes:
        shares: percent of conversations, one stage after the other; after the last comes promotion.
        hours: that a stage lasts at least, so that every time of day is in it.
        replies: of the challenger that a stage takes at least.
        guards: what each allows.
        vote_margin: by so much a larger share of down-votes, once it is certain to be larger at all, ends a
            canary at once; by less, where it would have gone on to the next stage.
        confidence: of each sequence, both sides: half the rest is how often one guard sends an equal
            challenger back, at the most, however long one looks.
    """

    shares: tuple[int, ...] = (10, 50)
    hours: float = 24.0
    replies: int = 100
    guards: tuple[Limit, ...] = GUARDS
    vote_margin: float = 0.20
    confidence: float = 0.95


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do, in how many percent of conversations the challenger speaks from now on, and why."""

    act: Act
    share: int
    reason: str


def arm_of(conversation_id: str, experiment_id: str, share: int) -> Literal["champion", "challenger"]:
    """Who speaks in a conversation; ``share`` in percent. Experiments are drawn apart from one another."""
    digest = hashlib.sha256(f"{experiment_id}\0{conversation_id}".encode()).digest()
    return "challenger" if int.from_bytes(digest) % EVERYBODY < share else "champion"


def decide(champion: Arm, challenger: Arm, *, share: int, hours_at_share: float, rules: Rules) -> Decision:
    """What to do at any look: go back, wait, or go on.

    Args:
        champion: its conversations since the share is what it is.
        challenger: its conversations in the same time.
        share: percent of conversations that are the challenger's now.
        hours_at_share: since when.
        rules: of the canary.
    """
    hours_left = max(0.0, rules.hours - hours_at_share)
    replies_left = max(0, rules.replies - challenger.replies)
    is_over = not hours_left and not replies_left
    if found := harm(champion, challenger, rules, is_over=is_over):
        return Decision("roll_back", 0, found)
    if not is_over:
        lacking = [f"{hours_left:.1f} hours"] * bool(hours_left) + [f"{replies_left:,} replies"] * bool(
            replies_left
        )
        to_go = " and ".join(lacking)
        return Decision("wait", share, f"At {share}% nothing speaks against the challenger; {to_go} to go.")
    seen = f"{hours_at_share:.0f} hours and {challenger.replies:,} replies"
    calm = f"At {share}% nothing spoke against the challenger in {seen}"
    wider = min((one for one in rules.shares if one > share), default=EVERYBODY)
    if wider < EVERYBODY:
        return Decision("widen", wider, f"{calm}: it goes on at {wider}%.")
    return Decision("promote", EVERYBODY, f"{calm}: it takes over.")


def harm(champion: Arm, challenger: Arm, rules: Rules, *, is_over: bool = False) -> str | None:
    """The sentence that says why the challenger must go back, or nothing.

    Args:
        champion: who speaks beside it, or spoke before it where it has been promoted.
        challenger: the one on trial.
        rules: of the canary.
        is_over: the stage is; then a smaller difference in votes counts too.
    """
    for limit in rules.guards:
        if found := _crossed(limit, champion, challenger, rules.confidence):
            return found
    return _fewer_liked(champion, challenger, 0.0 if is_over else rules.vote_margin, rules.confidence)


def _crossed(limit: Limit, champion: Arm, challenger: Arm, confidence: float) -> str | None:
    """Why one guard sends the challenger back, if it does.

    If the arms are equal, a flagged reply is the challenger's as often as any reply is. That share is known,
    so one sequence tells; the difference of two small shares, both unknown, would tell far later.
    """
    bad, usual = challenger.flags.get(limit.guard, 0), champion.flags.get(limit.guard, 0)
    rate, usual_rate = _share(bad, challenger.replies), _share(usual, champion.replies)
    expected = _share(challenger.replies, challenger.replies + champion.replies)
    said = f"{bad:,} of the challenger's {challenger.replies:,} replies ({rate:.1%}) were {limit.words}"
    if (
        rate - usual_rate > limit.margin
        and rate_sequence(bad, bad + usual, confidence=confidence).low > expected
    ):
        return f"{said}, and {usual:,} of the champion's {champion.replies:,} ({usual_rate:.1%})."
    if (
        usual_rate < limit.bound < rate
        and rate_sequence(bad, challenger.replies, confidence=confidence).low > limit.bound
    ):
        return f"{said}; at most {limit.bound:.0%} are allowed."
    return None


def _fewer_liked(champion: Arm, challenger: Arm, margin: float, confidence: float) -> str | None:
    found = difference_sequence(
        champion.downs, champion.votes, challenger.downs, challenger.votes, confidence=confidence
    )
    if found.low <= 0 or found.mean < margin:
        return None
    down, usual = _share(challenger.downs, challenger.votes), _share(champion.downs, champion.votes)
    return (
        f"{challenger.downs:,} of the challenger's {challenger.votes:,} votes ({down:.1%}) were down,"
        f" and {champion.downs:,} of the champion's {champion.votes:,} ({usual:.1%})."
    )


def _share(many: int, of: int) -> float:
    return many / of if of else 0.0
