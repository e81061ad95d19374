"""From thumbs to beliefs: how likely each reply was good, and how far each rater can be trusted; pure.

One-coin Dawid-Skene by expectation-maximisation (Dawid and Skene 1979, "Maximum Likelihood Estimation of
Observer Error-Rates"): a rater is right with one probability, whatever the reply. Where a moderator judged,
that alone counts, and anchors the rest. A rater who is wrong more often than right counts for nothing: turned
round, trolls could steer by being wrong on purpose.
"""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

__all__ = ["Beliefs", "Judgement", "aggregate", "capped"]

# A rater before the first vote: right three times of four, as firmly as eight votes.
RIGHT, WRONG = 6.0, 2.0
# Of replies before the first vote, seven of ten are good.
GOOD, BAD = 7.0, 3.0
GOLD_LOG_ODDS = 4.0
# So many votes, more of them wrong than right, and a rater is heard no more.
ENOUGH_TO_DISMISS = 10
DISMISSED_BELOW = 0.5
ROUNDS = 100
SETTLED = 1e-6
# Nobody is trusted without limit: one vote of a perfect rater would outweigh all others.
MOST_TRUSTED = 0.97
# A rater's share of a set.
CAP, CAP_SHARE = 20, 0.1


@dataclass(frozen=True, slots=True)
class Judgement:
    """One live thumb; ``weight`` of a young or idle account is below 1, ``is_gold`` is a moderator's."""

    reply_id: str
    rater: str
    is_good: bool
    weight: float = 1.0
    is_gold: bool = False


@dataclass(frozen=True, slots=True)
class Beliefs:
    """How likely each reply was ``good`` and how far each rater can be trusted, moderators aside.

    ``dismissed`` raters count for nothing; moderators are divided over ``disputed`` replies, which
    belong back into review; ``base_rate`` is how likely a reply is good before any vote on it.
    """

    good: Mapping[str, float]
    reliability: Mapping[str, float]
    dismissed: frozenset[str]
    disputed: frozenset[str]
    base_rate: float


def capped(judgements: Sequence[Judgement]) -> tuple[list[Judgement], list[Judgement]]:
    """What counts, and what is over its rater's cap of 20 or a tenth of the set; moderators have none.

    Which of a rater's votes stay is settled by a hash, so that nobody chooses it and every run agrees.
    """
    most = max(CAP, int(len(judgements) * CAP_SHARE))
    by_rater: dict[str, list[Judgement]] = defaultdict(list)
    kept: list[Judgement] = []
    over: list[Judgement] = []
    for judgement in judgements:
        (kept if judgement.is_gold else by_rater[judgement.rater]).append(judgement)
    for given in by_rater.values():
        given.sort(key=_lot)
        kept += given[:most]
        over += given[most:]
    return kept, over


def aggregate(judgements: Iterable[Judgement]) -> Beliefs:
    """Fits beliefs and reliabilities to all judgements together."""
    votes = list(judgements)
    gold = _gold(votes)
    by_reply: dict[str, list[Judgement]] = defaultdict(list)
    given: dict[str, int] = defaultdict(int)
    for vote in votes:
        by_reply[vote.reply_id].append(vote)
        given[vote.rater] += not vote.is_gold
    reliability = {rater: RIGHT / (RIGHT + WRONG) for rater, many in given.items() if many}
    dismissed: frozenset[str] = frozenset()
    base_rate = GOOD / (GOOD + BAD)
    good: dict[str, float] = {}
    for _ in range(ROUNDS):
        before = good
        good = {
            reply: _sigmoid(
                gold[reply] if reply in gold else _logit(base_rate) + _evidence(here, reliability, dismissed)
            )
            for reply, here in by_reply.items()
        }
        reliability = _reliability(votes, good)
        dismissed = frozenset(
            rater
            for rater, right in reliability.items()
            if right < DISMISSED_BELOW and given[rater] >= ENOUGH_TO_DISMISS
        )
        base_rate = (GOOD + sum(good.values())) / (GOOD + BAD + len(good))
        if before and max(abs(good[reply] - before[reply]) for reply in good) < SETTLED:
            break
    return Beliefs(good, reliability, dismissed, _disputed(votes), base_rate)


def _gold(votes: Iterable[Judgement]) -> dict[str, float]:
    odds: dict[str, float] = defaultdict(float)
    for vote in votes:
        if vote.is_gold:
            odds[vote.reply_id] += GOLD_LOG_ODDS if vote.is_good else -GOLD_LOG_ODDS
    return odds


def _disputed(votes: Iterable[Judgement]) -> frozenset[str]:
    """As many moderators say one thing as the other; a third one settles it."""
    balance: dict[str, int] = defaultdict(int)
    for vote in votes:
        if vote.is_gold:
            balance[vote.reply_id] += 1 if vote.is_good else -1
    return frozenset(reply for reply, more in balance.items() if not more)


def _evidence(
    here: Iterable[Judgement], reliability: Mapping[str, float], dismissed: frozenset[str]
) -> float:
    """Log-odds that the raters' votes on one reply add."""
    return sum(
        (1 if vote.is_good else -1) * vote.weight * _logit(min(reliability[vote.rater], MOST_TRUSTED))
        for vote in here
        if not vote.is_gold and vote.rater not in dismissed
    )


def _reliability(votes: Iterable[Judgement], good: Mapping[str, float]) -> dict[str, float]:
    right: dict[str, float] = defaultdict(lambda: RIGHT)
    heard: dict[str, float] = defaultdict(lambda: RIGHT + WRONG)
    for vote in votes:
        if not vote.is_gold:
            believed = good[vote.reply_id]
            right[vote.rater] += vote.weight * (believed if vote.is_good else 1 - believed)
            heard[vote.rater] += vote.weight
    return {rater: right[rater] / heard[rater] for rater in heard}


def _lot(judgement: Judgement) -> bytes:
    return hashlib.sha256(f"{judgement.rater}\0{judgement.reply_id}".encode()).digest()


def _logit(share: float) -> float:
    return math.log(share / (1 - share))


def _sigmoid(odds: float) -> float:
    return 1 / (1 + math.exp(-odds))
