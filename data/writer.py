"""The one writer of the store: many small units of work, one commit.

```
submit ──► bounded queue ──► BEGIN IMMEDIATE
                             SAVEPOINT · unit · RELEASE     (a failing unit: ROLLBACK TO, alone)
                             …up to 64
                             COMMIT ──► futures resolved
```
A future is resolved only after the commit. A caller that is cancelled leaves its unit in the queue: whether
it happened is unknown to him, and idempotent keys settle it. `purge` has its turn between two commits.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import aiosqlite
import structlog

from data.errors import StoreBusy, StoreUnavailable
from data.statements import Session

__all__ = ["Unit", "Writer"]

_log = structlog.get_logger(__name__)

T = TypeVar("T")
Unit = Callable[[Session], Awaitable[T]]
# One commit of 64 units costs what one of a single unit does: an fsync.
MOST_UNITS = 64
MOST_WAITING = 4096
# `secure_delete` overwrites what is deleted where it lay, but not the copies that moving cells between pages
# leaves behind: of 900 erased rows among 3,000 up to five could be read. VACUUM writes into the log.
PURGE = ("VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)")


class _Job:
    __slots__ = ("error", "future", "result", "unit")

    def __init__(self, unit: Unit[Any]) -> None:
        self.unit = unit
        self.future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.result: Any = None
        self.error: Exception | None = None

    def resolve(self, failure: Exception | None = None) -> None:
        if self.future.done():  # the caller was cancelled
            return
        error = failure or self.error
        if error is None:
            self.future.set_result(self.result)
        else:
            self.future.set_exception(error)


class Writer:
    """Runs units on the only connection that writes, in the order they came."""

    def __init__(self, connection: aiosqlite.Connection, session: Session) -> None:
        self._connection = connection
        self._session = session
        self._queue: asyncio.Queue[_Job | None] = asyncio.Queue(MOST_WAITING)
        self._closed = False
        self._turn = asyncio.Lock()
        self._commits = 0
        self._purged = -1

    async def submit(self, unit: Unit[T]) -> T:
        """Runs the unit and returns its result after the commit.

        Raises:
            StoreBusy: too many units wait.
            StoreUnavailable: the commit failed, or the store is closed.
        """
        if self._closed:
            raise StoreUnavailable("The store is closed.")
        job = _Job(unit)
        try:
            self._queue.put_nowait(job)
        except asyncio.QueueFull as error:
            raise StoreBusy from error
        result: T = await job.future
        return result

    async def purge(self) -> None:
        """Rewrites the file without what was deleted before this call, and empties the write-ahead log.

        Raises:
            StoreUnavailable: the disk is full, a reader is in the way, or the store is closed.
        """
        wanted = self._commits
        async with self._turn:
            if self._purged >= wanted:
                return  # who waited beside us did it
            if self._closed:
                raise StoreUnavailable("The store is closed.")
            began = self._commits
            try:
                for statement in PURGE:
                    rows = await self._connection.execute_fetchall(statement)
            except (sqlite3.Error, ValueError) as error:  # ValueError: the connection was closed meanwhile
                raise StoreUnavailable(f"The store's file cannot be rewritten: {error}.") from error
            if any(row[0] for row in rows):
                raise StoreUnavailable("Somebody reads the store, so its log cannot be emptied yet.")
            self._purged = began

    def close(self) -> None:
        """Lets `run` end after the units that wait; the place for the end mark is made if need be."""
        self._closed = True
        if self._queue.full():
            dropped = self._queue.get_nowait()
            if dropped is not None:
                dropped.resolve(StoreBusy())
        self._queue.put_nowait(None)

    async def run(self) -> None:
        """Commits batches until closed."""
        ending = False
        while not ending:
            first = await self._queue.get()
            if first is None:
                return
            batch, ending = self._batch(first)
            await self._commit(batch)

    def _batch(self, first: _Job) -> tuple[list[_Job], bool]:
        batch = [first]
        while len(batch) < MOST_UNITS and not self._queue.empty():
            job = self._queue.get_nowait()
            if job is None:
                return batch, True
            batch.append(job)
        return batch, False

    async def _commit(self, batch: list[_Job]) -> None:
        async with self._turn:
            self._commits += 1
            await self._committed(batch)

    async def _committed(self, batch: list[_Job]) -> None:
        try:
            await self._connection.execute_fetchall("BEGIN IMMEDIATE")
            for job in batch:
                await self._unit(job)
            await self._connection.execute_fetchall("COMMIT")
        except sqlite3.Error as error:
            _log.exception("store.commit_failed", units=len(batch))
            await self._abandon()
            failure = StoreUnavailable(f"The store cannot write at the moment: {error}.")
            for job in batch:
                job.resolve(failure)
            return
        for job in batch:
            job.resolve()

    async def _unit(self, job: _Job) -> None:
        await self._connection.execute_fetchall("SAVEPOINT unit")
        try:
            job.result = await job.unit(self._session)
        except Exception as error:  # noqa: BLE001 - goes to the caller; its neighbours are committed
            job.error = _as_data_error(error)
            # A full disk ends the whole transaction, and then there is no savepoint to go back to.
            await self._connection.execute_fetchall("ROLLBACK TO unit")
        await self._connection.execute_fetchall("RELEASE unit")

    async def _abandon(self) -> None:
        if self._connection.in_transaction:
            try:
                await self._connection.execute_fetchall("ROLLBACK")
            except sqlite3.Error:
                _log.exception("store.rollback_failed")


def _as_data_error(error: Exception) -> Exception:
    """A full disk or a lost file is the store's state; everything else is the unit's own mistake."""
    if not isinstance(error, sqlite3.OperationalError):
        return error
    away = StoreUnavailable(f"The store cannot write at the moment: {error}.")
    away.__cause__ = error
    return away
