"""Who is answered next: users in turn, four waiting messages each, one turn at a time per conversation."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

__all__ = ["FairQueue", "QueueFull", "Waiting"]

T = TypeVar("T")
MOST_PER_USER = 4
MOST_IN_ALL = 256


class QueueFull(Exception):
    """This person, or everybody together, has too much waiting."""


@dataclass(frozen=True, slots=True)
class Waiting(Generic[T]):
    user: Hashable
    conversation: Hashable
    value: T


class FairQueue(Generic[T]):
    """A round robin over users, so that nobody waits behind a flood.

    Within a conversation order is kept: its oldest message is taken first, and the next one only after
    `done`.
    """

    def __init__(self, *, per_user: int = MOST_PER_USER, in_all: int = MOST_IN_ALL) -> None:
        self._per_user = per_user
        self._in_all = in_all
        self._users: OrderedDict[Hashable, deque[Waiting[T]]] = OrderedDict()
        self._lines: dict[Hashable, deque[Waiting[T]]] = {}
        self._busy: set[Hashable] = set()
        self._count = 0
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        return self._count

    def put(self, waiting: Waiting[T]) -> None:
        """Adds at the end of the user's own line.

        Raises:
            QueueFull: the person's share or the whole queue is used up.
        """
        own = self._users.get(waiting.user, ())
        if len(own) >= self._per_user or self._count >= self._in_all:
            raise QueueFull
        self._users.setdefault(waiting.user, deque()).append(waiting)
        self._lines.setdefault(waiting.conversation, deque()).append(waiting)
        self._count += 1
        self._changed.set()

    async def get(self) -> Waiting[T]:
        """The next message; its conversation is busy until `done`."""
        while True:
            found = self._next()
            if found is not None:
                return found
            self._changed.clear()
            await self._changed.wait()

    def give_back(self, waiting: Waiting[T]) -> None:
        """Takes back what could not be begun, instead of `done`: it is its conversation's next again."""
        self._users.setdefault(waiting.user, deque()).appendleft(waiting)
        self._lines.setdefault(waiting.conversation, deque()).appendleft(waiting)
        self._count += 1
        self.done(waiting)

    def done(self, waiting: Waiting[T]) -> None:
        self._busy.discard(waiting.conversation)
        self._changed.set()

    def _next(self) -> Waiting[T] | None:
        for own in self._users.values():
            for waiting in own:
                line = self._lines[waiting.conversation]
                if waiting.conversation not in self._busy and line[0] is waiting:
                    self._take(waiting)
                    return waiting
        return None

    def _take(self, waiting: Waiting[T]) -> None:
        own, line = self._users[waiting.user], self._lines[waiting.conversation]
        own.remove(waiting)
        line.popleft()
        if own:
            self._users.move_to_end(waiting.user)
        else:
            del self._users[waiting.user]
        if not line:
            del self._lines[waiting.conversation]
        self._busy.add(waiting.conversation)
        self._count -= 1
