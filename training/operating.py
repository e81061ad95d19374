"""How the gate behaves: how often it lets an equal challenger pass, and how often a worse one.

From measured scores challengers are made up whose worth is known, and judged by the rules. An equal one
changes items in both directions with equal expectation: where scores are 0 or 1, some are drawn anew from all
the champion's, until as many items changed as were lost and won back between the measured two, 2 % at least;
where they are graded, each item moves by what some item moved, up or down. A worse one loses 5 points of
that. Bounds are normal ones: far faster than the bootstrap's, and the same to a third of a point.

A margin holds if an equal challenger passes all seven guards in 80 of 100 cases, so each in 97, and one 5
points worse passes any in 5 at most. The latter is true of every margin below 5 points; the former takes
``spread * (3.5 / margin)**2`` items, the spread being the variance of an item's change: of 0/1 scores the
share that changes, of graded ones far less. So many are needed:

========  ===========  ===========  ===========  ===========  ============================
margin    1 % change   2 % change   3 % change   5 % change   graded, standard deviation .1
========  ===========  ===========  ===========  ===========  ============================
2 points  308          615          922          1,537        308
3 points  137          274          410          683          137
4 points  77           154          231          385          77
========  ===========  ===========  ===========  ===========  ============================

Of the project's sets, 544 and 640 questions of lore hold 2 points while 1.7 and 2.0 % change, 1,019 of
retention up to 3.3 %; 260 of sycophancy and 240 of safety hold 3 points up to 1.9 and 1.7 %, and 2 points not
even at 1 %. Where training changes more, these four are too small for 0/1 scores: so theirs are graded, and
all hold while the standard deviation of a change is below .13. Of generated replies, 300 hold 2 points where
one of a hundred changes and 3 where two do; 1,000 hold 2 where three do.

A floor is a count without a bound: of 300 replies an equal challenger keeps repetition's in 98 of 100 cases
where the champion has one bad reply, in 86 with two, in 65 with three, and language's in 90 with four.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from training.gate import Rules, check_guard, check_length, check_votes, lacking_votes
from training.measures import GUARDS, Guard, HeldOut, Measures
from training.stats import Interval

__all__ = ["Characteristic", "characteristic", "items_needed", "normal_interval", "normal_preference"]

Scores = NDArray[np.float64]
# What is asked of the rules.
EQUAL_PASSES, WORSE_BY = 0.8, 0.05
LEAST_CHURN = 0.02
SURE = NormalDist().inv_cdf(0.95)


@dataclass(frozen=True, slots=True)
class Characteristic:
    """Shares of made-up challengers that pass.

    ``equal_passes_guards`` wants to be .8 or more; ``worse_passes``, of those 5 points worse on that guard
    alone, and ``equal_passes_gate``, votes and length included, .05 or less.
    """

    equal_passes_guards: float
    worse_passes: Mapping[str, float]
    equal_passes_gate: float


def characteristic(
    measures: Measures, rules: Rules, *, resamplings: int = 200, seed: int = 7
) -> Characteristic:
    """Judges made-up challengers of known worth; a guard that was not measured passes none."""
    random = np.random.default_rng(seed)
    equal = np.ones(resamplings, dtype=np.bool_)
    worse: dict[str, float] = {}
    for name in GUARDS:
        guard = measures.guard(name)
        if guard is None or not guard.ids:
            equal[:] = False
            continue
        champion, challenger = _equal(guard, resamplings, random)
        equal &= _passes(name, champion, challenger, rules)
        lowered = _worse(champion, challenger, random, is_graded=_is_graded(guard))
        worse[name] = float(_passes(name, champion, lowered, rules).mean())
    votes = [_equal_votes_pass(measures.held_out, rules, random) for _ in range(resamplings)]
    as_long = replace(measures.lengths, challenger=measures.lengths.champion)
    whole = equal & votes & check_length(as_long, rules, is_wanted=True).passed
    return Characteristic(float(equal.mean()), worse, float(whole.mean()))


def items_needed(margin: float, spread: float) -> int:
    """How many items hold a margin; ``spread`` is the variance of a change, of 0/1 scores the churn."""
    each = NormalDist().inv_cdf(EQUAL_PASSES ** (1 / len(GUARDS)))
    return math.ceil(spread * ((SURE + each) / margin) ** 2)


def normal_interval(differences: Scores) -> tuple[Scores, Scores]:
    """Means and lower 95 % bounds of paired differences: [..., items] -> [...], twice."""
    means = differences.mean(axis=-1)
    return means, means - SURE * differences.std(axis=-1) / math.sqrt(differences.shape[-1])


def normal_preference(rewards: Scores, is_good: NDArray[np.bool_], groups: NDArray[np.intp]) -> Interval:
    """What `training.stats.preference_interval` finds, by the spread of each group's part in the area.

    DeLong et al. 1988, with whole groups instead of replies (Obuchowski 1997).

    Args:
        rewards: [replies].
        is_good: [replies].
        groups: [replies], numbers from 0.
    """
    if is_good.all() or not is_good.any():
        return Interval(0.5, 0.0, 1.0)
    above = rewards[is_good][:, None] - rewards[~is_good][None, :]
    wins = (above > 0) + 0.5 * (above == 0)
    area = float(wins.mean())
    parts = np.zeros(int(groups.max()) + 1)
    np.add.at(parts, groups[is_good], (wins.mean(axis=1) - area) / wins.shape[0])
    np.add.at(parts, groups[~is_good], (wins.mean(axis=0) - area) / wins.shape[1])
    fewest = min(len(parts), *wins.shape)
    half = SURE * math.sqrt(float((parts**2).sum()) * fewest / max(1, fewest - 1))
    return Interval(area, area - half, area + half)


def _is_graded(guard: Guard) -> bool:
    return any(0 < score < 1 for score in (*guard.champion, *guard.challenger))


def _equal(guard: Guard, resamplings: int, random: np.random.Generator) -> tuple[Scores, Scores]:
    """Resampled champion's scores, and an equal challenger's: [resamplings, items] each."""
    scores = np.array(guard.champion)
    change = np.array(guard.challenger) - scores
    shape = (resamplings, len(scores))
    champion = scores[random.integers(len(scores), size=shape)]
    if _is_graded(guard):
        return champion, champion + _moves(change, shape, random)
    # Losses and gains that cancel out are churn; what is left over is a loss or gain in truth.
    churn = max(LEAST_CHURN, float(np.abs(change).mean() - abs(change.mean())))
    right = float(scores.mean())
    likely = churn / max(2 * right * (1 - right), churn)
    anew = scores[random.integers(len(scores), size=shape)]
    challenger: Scores = np.where(random.random(shape) < likely, anew, champion)
    return champion, challenger


def _moves(change: Scores, shape: tuple[int, int], random: np.random.Generator) -> Scores:
    """Changes of graded scores, up or down alike, of the measured sizes but 2 points on average at least."""
    sizes = np.abs(change - change.mean())
    mean = float(sizes.mean())
    sizes = sizes * max(1.0, LEAST_CHURN / mean) if mean else np.full_like(sizes, LEAST_CHURN)
    moved: Scores = sizes[random.integers(len(sizes), size=shape)] * _signs(shape, random)
    return moved


def _signs(shape: tuple[int, ...], random: np.random.Generator) -> Scores:
    return np.asarray(random.integers(2, size=shape) * 2 - 1, dtype=np.float64)


def _worse(champion: Scores, challenger: Scores, random: np.random.Generator, *, is_graded: bool) -> Scores:
    """The challenger less 5 points: from every item its part, or right items made wrong."""
    share = min(1.0, WORSE_BY / max(float(champion.mean()), WORSE_BY))
    if is_graded:
        return challenger - share * champion
    lowered: Scores = np.where(random.random(challenger.shape) < share, 0.0, challenger)
    return lowered


def _passes(name: str, champion: Scores, challenger: Scores, rules: Rules) -> NDArray[np.bool_]:
    """Which of the resampled challengers pass the guard."""
    _, lows = normal_interval(challenger - champion)
    asked = champion.shape[1]
    return np.array(
        [
            check_guard(name, champion=before, challenger=after, low=low, asked=asked, rules=rules).passed
            for before, after, low in zip(
                champion.mean(axis=1).tolist(), challenger.mean(axis=1).tolist(), lows.tolist(), strict=True
            )
        ]
    )


def _equal_votes_pass(held_out: tuple[HeldOut, ...], rules: Rules, random: np.random.Generator) -> bool:
    """Whether one equal challenger passes: champion and challenger swapped in every other conversation."""
    if lacking_votes(held_out, rules):
        return not rules.must_improve
    ids, groups = np.unique([one.conversation_id for one in held_out], return_inverse=True)
    rewards = np.array([one.reward for one in held_out])
    is_good = np.array([one.is_good for one in held_out])
    drawn = random.integers(len(ids), size=len(ids))
    members = [np.flatnonzero(groups == number) for number in drawn]
    rows = np.concatenate(members)
    again = np.repeat(np.arange(len(ids)), [len(rows_) for rows_ in members])
    signs = _signs((len(ids),), random)[again]
    found = normal_preference((rewards - rewards.mean())[rows] * signs, is_good[rows], again)
    liked = int(is_good[rows].sum())
    fewest = min(len(ids), liked, len(rows) - liked)
    return check_votes(found, fewest=fewest, asked=len(rows), rules=rules).passed
