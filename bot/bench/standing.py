"""Guards at the start and at the end, from what the trainer measured of every run; shares, higher is better.

The start is the first run's champion. The end is the challenger of the run that made the present champion, on
the same items and seeds; where that is the first version still, nothing has changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from training.gate import Rules
from training.measures import GUARDS, Lengths, Measures
from training.verdict import LENGTH

__all__ = ["NAMES", "Span", "pooled", "spans", "within"]

NAMES = (*GUARDS, LENGTH)


@dataclass(frozen=True, slots=True)
class Span:
    """A share at the start and at the end, of ``n`` items."""

    start: float
    end: float
    n: int


def spans(first: Measures | None, live: Measures | None) -> Mapping[str, Span]:
    """One span a guard; none where nothing was measured.

    Args:
        first: of the first run that was measured.
        live: of the run that made the champion; None where that is the one of the start.
    """
    if first is None:
        return {}
    found = {}
    for guard in first.guards:
        now = None if live is None else live.guard(guard.name)
        start = fmean(guard.champion)
        found[guard.name] = Span(start, start if now is None else fmean(now.challenger), len(guard.ids))
    start = within(first.lengths, first.lengths.champion)
    end = start if live is None else within(live.lengths, live.lengths.challenger)
    spoken = first.guard("language")
    found[LENGTH] = Span(start, end, 0 if spoken is None else len(spoken.ids))
    return {name: found[name] for name in NAMES if name in found}


def within(lengths: Lengths, length: float) -> float:
    """How far a mean length is inside the band around the first version's: 1 there, less outside."""
    least, most = (share * lengths.first for share in Rules().length_band)
    return min(1.0, length / least, most / length) if length > 0 else 0.0


def pooled(each: Iterable[Mapping[str, Span]]) -> Mapping[str, Span]:
    """The personas' spans together, each by its number of items."""
    everybody: Sequence[Mapping[str, Span]] = list(each)
    found = {}
    for name in NAMES:
        own = [spans[name] for spans in everybody if name in spans]
        items = sum(span.n for span in own)
        if items:
            start = sum(span.start * span.n for span in own) / items
            found[name] = Span(start, sum(span.end * span.n for span in own) / items, items)
    return found
