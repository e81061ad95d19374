"""How far a figure may be from what was counted: intervals for one look, and for looking at any time; pure.

For one look: Wilson's score interval (1927), and the bootstrap over items or over whole groups of them
(Efron and Tibshirani 1993). For looking whenever one likes: confidence sequences, which hold at all times
together (Howard et al. 2021, arXiv 1810.08240): by them a canary may be judged after every reply.

The module knows nothing of arms, guards or votes. Where nothing was counted, an interval is the middle of
what is possible with the whole of it around, so that no gate passes on it. The bot looks at sequences
day by day and draws once a run; so what draws imports numpy when it draws.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "Interval",
    "difference_sequence",
    "paired_interval",
    "preference_interval",
    "rate_sequence",
    "wilson",
]

# A bootstrap's bounds are one-sided 95 % bounds, each.
BOUNDS = (5.0, 95.0)
# Kinds of item up to which drawing how many of each kind costs less than drawing the items.
FEW_KINDS = 64
# Draws held at once: 2 million of 8 bytes.
DRAWS_AT_ONCE = 2_000_000
# In votes per arm. The bounds are tightest at seven times as many: what a month may bring.
RHO = 40.0
# What a share is weighed against: odds so many times as high. From 1 to 6 % the odds grow sixfold; the
# smallest is there for small changes on busy servers.
ODDS = (1.25, 2.0, 4.0, 6.0)
# A bound is exact to a millionth.
HALVINGS = 20


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure with what it may be at the least and at the most."""

    mean: float
    low: float
    high: float


def wilson(right: int, asked: int, *, confidence: float = 0.95) -> Interval:
    """The share ``right / asked`` with Wilson's two-sided interval."""
    if not asked:
        return Interval(0.5, 0.0, 1.0)
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share = right / asked
    centre = (share + z * z / (2 * asked)) / (1 + z * z / asked)
    half = z / (1 + z * z / asked) * math.sqrt(share * (1 - share) / asked + z * z / (4 * asked * asked))
    return Interval(share, max(0.0, centre - half), min(1.0, centre + half))


def paired_interval(
    differences: Sequence[float],
    *,
    resamples: int = 10_000,
    seed: int = 7,
    groups: Sequence[str] | None = None,
) -> Interval:
    """The mean of paired differences with one-sided 95 % bounds, by the bootstrap.

    Args:
        differences: challenger minus champion, item by item.
        resamples: how many sets are drawn.
        seed: of the draw; the same seed gives the same bounds.
        groups: each item's group, such as its conversation; whole groups are drawn. One group, or one item
            without groups, says nothing of what another would give.
    """
    import numpy as np  # noqa: PLC0415 - see above

    values = np.asarray(differences, dtype=np.float64)
    members = np.arange(len(values)) if groups is None else _numbered(groups)
    sizes = np.bincount(members)
    if len(sizes) < 2:  # noqa: PLR2004 - a spread needs two
        return Interval(float(values.mean()) if len(values) else 0.0, -math.inf, math.inf)
    units = np.column_stack([np.bincount(members, weights=values), sizes])
    kinds, counts = np.unique(units, axis=0, return_counts=True)
    drawn = np.concatenate([many @ kinds for many in _draws(counts, resamples, np.random.default_rng(seed))])
    low, high = np.percentile(drawn[:, 0] / drawn[:, 1], BOUNDS)
    return Interval(float(values.mean()), float(low), float(high))


def preference_interval(
    rewards: Sequence[float],
    is_good: Sequence[bool],
    groups: Sequence[str],
    *,
    resamples: int = 10_000,
    seed: int = 7,
) -> Interval:
    """How likely a good reply's reward exceeds a bad one's, with one-sided 95 % bounds over whole groups.

    This is the area under the ROC curve (Hanley and McNeil 1982); a tie counts half. Sets drawn without a
    good or without a bad reply say nothing and are left out.
    """
    import numpy as np  # noqa: PLC0415 - see above

    unknown = Interval(0.5, 0.0, 1.0)
    reward, good = np.asarray(rewards, dtype=np.float64), np.asarray(is_good, dtype=np.bool_)
    if good.all() or not good.any():
        return unknown
    members = _numbered(groups)
    sizes = np.bincount(members)
    # How often the good of one group win against the bad of another: a set drawn is then one product.
    above = reward[good][:, None] - reward[~good][None, :]
    wins = np.zeros((len(sizes), len(sizes)))
    np.add.at(wins, (members[good][:, None], members[~good][None, :]), (above > 0) + 0.5 * (above == 0))
    goods, bads = (np.bincount(members[which], minlength=len(sizes)) for which in (good, ~good))
    mean = float(wins.sum() / (goods.sum() * bads.sum()))
    shares: list[NDArray[np.float64]] = []
    for many in _draws(np.ones_like(sizes), resamples, np.random.default_rng(seed)):
        pairs = (many @ goods) * (many @ bads)
        won = ((many @ wins) * many).sum(axis=1)
        shares.append(won[pairs > 0] / pairs[pairs > 0])
    drawn = np.concatenate(shares)
    if len(sizes) < 2 or not len(drawn):  # noqa: PLR2004 - a spread needs two
        return Interval(mean, unknown.low, unknown.high)
    low, high = np.percentile(drawn, BOUNDS)
    return Interval(mean, float(low), float(high))


def difference_sequence(
    right_a: int, n_a: int, right_b: int, n_b: int, *, confidence: float = 0.95, rho: float = RHO
) -> Interval:
    """The share of ``b`` minus that of ``a``, within bounds that hold at every look.

    The two-sided normal mixture (Robbins 1970; Howard et al. 2021, conjugate mixtures) with the variance that
    was counted, which makes it asymptotic (Waudby-Smith et al. 2021, arXiv 2103.06476). Meant for shares such
    as votes have; of rare things it says little, and ``rate_sequence`` more.

    Args:
        right_a: how many of ``n_a``.
        n_a: how many were asked so far.
        right_b: how many of ``n_b``.
        n_b: how many were asked so far.
        confidence: that the bounds hold at all looks together, both sides.
        rho: of the mixture, in votes per arm; the bounds are tightest at about seven times as many.
    """
    if not (n_a and n_b):
        return Interval(0.0, -1.0, 1.0)
    difference = right_b / n_b - right_a / n_a
    # Arms of unlike size know as much as two of this one.
    alike = 2 * n_a * n_b / (n_a + n_b)
    spread = _spread(right_a, n_a) + _spread(right_b, n_b)
    reach = (alike + rho) / alike * math.log((alike + rho) / (rho * (1 - confidence) ** 2))
    half = math.sqrt(spread * reach)
    return Interval(difference, max(-1.0, difference - half), min(1.0, difference + half))


def rate_sequence(bad: int, n: int, *, confidence: float = 0.95) -> Interval:
    """The share ``bad / n`` within bounds that hold at every look, exactly and for shares of any size.

    A share is ruled out once a mixture of higher odds (of lower ones, for ``high``) explains the count
    ``2 / (1 - confidence)`` times as well: by Ville's inequality the true share hardly ever is (Robbins 1970;
    Howard et al. 2021, discrete mixtures). Each side errs with half of ``1 - confidence``. With few odds in
    the mixture it is quick to see a share multiply, and however much is counted stays about a tenth of the
    share wide on either side.
    """
    if not n:
        return Interval(0.5, 0.0, 1.0)
    enough = math.log(2 / (1 - confidence))
    low = _least(lambda share: _evidence(bad, n, share) < enough) if bad else 0.0
    high = 1 - _least(lambda share: _evidence(n - bad, n, share) < enough) if bad < n else 1.0
    return Interval(bad / n, low, high)


def _spread(right: int, n: int) -> float:
    """Variance of a share; half a count on either side, lest the first few alike look certain."""
    share = (right + 0.5) / (n + 1)
    return share * (1 - share) / n


def _evidence(bad: int, n: int, share: float) -> float:
    """Log of how much better higher odds explain the count than ``share`` does; falls as ``share`` grows."""
    terms = [bad * math.log(odds) - n * math.log1p(share * (odds - 1)) for odds in ODDS]
    largest = max(terms)
    return largest + math.log(sum(math.exp(term - largest) for term in terms) / len(terms))


def _least(is_possible: Callable[[float], bool]) -> float:
    """The smallest share that is possible; all above it are."""
    low, high = 0.0, 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if is_possible(middle) else (middle, high)
    return low


def _numbered(groups: Sequence[str]) -> NDArray[np.intp]:
    import numpy as np  # noqa: PLC0415 - see above

    return np.unique(np.asarray(groups, dtype=np.str_), return_inverse=True)[1]


def _draws(
    counts: NDArray[np.intp], resamples: int, generator: np.random.Generator
) -> Iterator[NDArray[np.float64]]:
    """How often each kind is drawn, in portions of [rows, kinds]; every row adds up to all there are."""
    import numpy as np  # noqa: PLC0415 - see above

    total, kinds = int(counts.sum()), len(counts)
    at_once = max(1, DRAWS_AT_ONCE // (kinds if kinds <= FEW_KINDS else total))
    kind_of = np.repeat(np.arange(kinds), counts)
    for start in range(0, resamples, at_once):
        rows = min(at_once, resamples - start)
        if kinds <= FEW_KINDS:
            yield generator.multinomial(total, counts / total, size=rows).astype(np.float64)
            continue
        drawn = kind_of[generator.integers(0, total, size=(rows, total), dtype=np.int32)]
        drawn += np.arange(rows)[:, None] * kinds
        yield np.bincount(drawn.ravel(), minlength=rows * kinds).reshape(rows, kinds).astype(np.float64)
