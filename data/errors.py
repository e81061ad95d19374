"""What can go wrong with the store, its folder and corpora.

DataError
├── CorpusUnreadable   a file to be checked holds no rows
├── Forgotten          whoever asked was forgotten meanwhile
├── StoreLocked        another process owns the store
├── StoreNewer         the store was written by a newer version of this program
├── StoreUnavailable   a write could not be committed: whether it happened is unknown
├── StoreBusy          too many writes wait
└── VotesGone          a run's votes were withdrawn, changed or learnt meanwhile
"""

from __future__ import annotations

__all__ = [
    "CorpusUnreadable", "DataError", "Forgotten", "StoreBusy", "StoreLocked", "StoreNewer",
    "StoreUnavailable", "VotesGone",
]  # fmt: skip


class DataError(Exception):
    """Something is wrong with the stored data."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").strip())


class CorpusUnreadable(DataError):
    """The file holds no rows with questions and answers."""


class Forgotten(DataError):
    """Whoever asked was forgotten meanwhile: nothing of it is stored."""


class StoreLocked(DataError):
    """Another troupe process uses this store; stop it or set another TROUPE_HOME."""


class StoreNewer(DataError):
    """The store was written by a newer version of troupe; use that version."""


class StoreUnavailable(DataError):
    """The store cannot write at the moment; look at the free disk space."""


class StoreBusy(DataError):
    """Too many writes wait for the store."""


class VotesGone(DataError):
    """Votes of this run were withdrawn, changed or taken by another run meanwhile; read them anew."""
