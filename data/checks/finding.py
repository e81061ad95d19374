"""What one check found in a corpus, and the bound that it may not break."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Bound", "Finding", "Hit"]


@dataclass(frozen=True, slots=True)
class Bound:
    """The least or the most share of the rows."""

    share: float
    is_least: bool = False

    def allows(self, share: float) -> bool:
        return share >= self.share if self.is_least else share <= self.share

    def __str__(self) -> str:
        return f"{'≥' if self.is_least else '≤'} {100 * self.share:g} %"


@dataclass(frozen=True, slots=True)
class Hit:
    """One row worth a look: its place in the file, and what is wrong with it."""

    place: int
    text: str


@dataclass(frozen=True, slots=True)
class Finding:
    """One check's result.

    Attributes:
        check: its name.
        count: of the rows, how many are as the check's name says.
        total: how many it looked at.
        bound: what the share may be; None where the check only tells.
        hits: the rows to look at; for a least share, those that lack it.
    """

    check: str
    count: int
    total: int
    bound: Bound | None
    hits: tuple[Hit, ...]

    @property
    def share(self) -> float:
        return self.count / self.total if self.total else 0.0

    @property
    def is_broken(self) -> bool:
        return self.bound is not None and not self.bound.allows(self.share)
