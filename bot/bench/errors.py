"""What can go wrong in the loop's bench.

BotError
└── BenchError        the bench cannot go on
    ├── TasteUnknown  there is no such taste
    └── AttackUnknown there is no such attack
"""

from __future__ import annotations

from bot.errors import BotError

__all__ = ["AttackUnknown", "BenchError", "TasteUnknown"]


class BenchError(BotError):
    """The bench cannot go on."""


class TasteUnknown(BenchError):
    """There is no such taste."""


class AttackUnknown(BenchError):
    """There is no such attack."""
