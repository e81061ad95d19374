"""What can stop a training run.

TrainingError
├── SnapshotBroken     the snapshot folder does not hold what a run needs
├── CorpusBroken       a row of a corpus is not a row
├── BaseMismatch       the base at hand is not the one the snapshot names
├── MeasuresBroken     what was measured of an adapter cannot be judged
├── PeerMissing        what a bench compares with is not installed
└── RunFailed          the run ended without a usable adapter
"""

from __future__ import annotations

__all__ = [
    "BaseMismatch", "CorpusBroken", "MeasuresBroken", "PeerMissing", "RunFailed", "SnapshotBroken",
    "TrainingError",
]  # fmt: skip


class TrainingError(Exception):
    """The training run could not go on."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").strip())


class SnapshotBroken(TrainingError):
    """The snapshot folder does not hold what a run needs."""


class CorpusBroken(TrainingError):
    """The corpus holds a row that cannot be read."""


class BaseMismatch(TrainingError):
    """The base model is not the one this snapshot was made for."""


class MeasuresBroken(TrainingError):
    """What was measured of the adapter cannot be judged; evaluate it again."""


class PeerMissing(TrainingError):
    """TRL, which the bench compares with, is not installed; pip install 'troupe[bench]' brings it."""


class RunFailed(TrainingError):
    """The run ended without a usable adapter."""
