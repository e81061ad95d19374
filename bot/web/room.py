"""What a page shows of one conversation, kept so that any number of tabs can follow it.

A room counts its changes. A tab says the last `Mark` it has seen and gets everything newer, so nothing
queues, the newest text wins, and a tab that was away misses nothing. After `clear` and after a restart of
the process the epoch differs and the tab gets the whole room.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from bot.platform import Place, Shown

__all__ = ["Bubble", "Mark", "Room", "Rooms", "Thumb"]

Thumb = Literal["u", "d"]

# What a page can still show well; older messages stay in the store.
MOST_BUBBLES = 200
MOST_ROOMS = 1024


@dataclass(frozen=True, slots=True)
class Mark:
    """How much of a room was seen."""

    epoch: str
    version: int

    def __str__(self) -> str:
        return f"{self.epoch}-{self.version}"

    @classmethod
    def read(cls, text: str) -> Mark:
        """The mark in a text from outside; one that matches no room where it is none."""
        epoch, _, version = text.partition("-")
        digits = version.isascii() and version.isdigit() and len(version) <= 15  # noqa: PLR2004 - a sane number
        return cls(epoch, int(version)) if digits else cls("", 0)


@dataclass(frozen=True, slots=True)
class Bubble:
    """One message on the page; the versions say when it came and when its parts last changed."""

    id: str
    role: Literal["user", "persona"]
    text: str
    reply_id: str | None = None
    thumb: Thumb | None = None
    made: int = 0
    text_changed: int = 0
    thumb_changed: int = 0


class Room:
    """One conversation of one visitor with one persona, as far as pages show it."""

    def __init__(self) -> None:
        self._epoch = secrets.token_hex(4)
        self._version = 0
        self._bubbles: dict[str, Bubble] = {}
        self._gone: frozenset[str] = frozenset()
        self._changed = asyncio.Event()
        self._typing_changed = 0
        self.is_typing = False
        self.is_seeded = False
        self.is_closed = False
        self.followers = 0

    @property
    def mark(self) -> Mark:
        return Mark(self._epoch, self._version)

    @property
    def bubbles(self) -> tuple[Bubble, ...]:
        return tuple(self._bubbles.values())

    def knows(self, mark: Mark) -> bool:
        """Whether news since the mark can be told; otherwise the whole room has to be shown."""
        return mark.epoch == self._epoch and mark.version <= self._version

    def news(self, mark: Mark) -> Iterator[Bubble]:
        """The bubbles that came or changed after the mark, oldest first."""
        for bubble in self._bubbles.values():
            if max(bubble.text_changed, bubble.thumb_changed) > mark.version:
                yield bubble

    def typing_changed_since(self, mark: Mark) -> bool:
        return self._typing_changed > mark.version

    async def wait(self, mark: Mark) -> None:
        """Returns once there is more than the mark, or the room is closed."""
        while not self.is_closed and self.mark == mark:
            await self._changed.wait()

    def seed(self, shown: Sequence[Shown]) -> None:
        """Puts the stored conversation before what came in since the process started."""
        if self.is_seeded:
            return
        self.is_seeded = True
        version = self._next()
        came = {bubble.reply_id for bubble in self._bubbles.values() if bubble.reply_id} | set(self._bubbles)
        before = [
            _bubble(one, version) for one in shown if one.message_id not in came and one.reply_id not in came
        ]
        self._bubbles = {bubble.id: bubble for bubble in before} | self._bubbles
        self._renew()

    def ask(self, message_id: str, text: str) -> bool:
        """The person wrote and the persona thinks; False where the message is there already."""
        if message_id in self._bubbles:
            return False
        self._put(Bubble(message_id, "user", text))
        self._set_typing(typing=True)
        return True

    def withdraw(self, message_id: str) -> None:
        """The message could not be stored, so it was never said."""
        self._bubbles.pop(message_id, None)
        self.is_typing = False
        self._renew()

    def say(self, message_id: str, text: str, reply_id: str | None) -> None:
        """The persona says the text, or now says it differently; a reply with an id can be voted on."""
        if message_id in self._gone:
            return
        known = self._bubbles.get(message_id)
        reply_id = reply_id or (known.reply_id if known else None)
        thumb = known.thumb if known else None
        self._put(Bubble(message_id, "persona", text, reply_id, thumb))
        self._set_typing(typing=False)

    def type(self) -> None:
        self._set_typing(typing=True)

    def reply(self, reply_id: str) -> Bubble | None:
        """The bubble under which the reply's thumbs are."""
        return next((bubble for bubble in self._bubbles.values() if bubble.reply_id == reply_id), None)

    def rate(self, reply_id: str, thumb: Thumb) -> Bubble | None:
        """The bubble with its new thumb; None where the conversation went on without it."""
        bubble = self.reply(reply_id)
        if bubble is None:
            return None
        rated = self._bubbles[bubble.id] = replace(bubble, thumb=thumb, thumb_changed=self._next())
        self._wake()
        return rated

    def clear(self) -> None:
        """A new conversation begins; what still comes for the old one is not shown."""
        self._gone = frozenset(self._bubbles)
        self._bubbles = {}
        self.is_typing = False
        self._renew()

    def close(self) -> None:
        self.is_closed = True
        self._wake()

    def _put(self, bubble: Bubble) -> None:
        version = self._next()
        known = self._bubbles.get(bubble.id)
        if known is None:
            bubble = replace(bubble, made=version, text_changed=version, thumb_changed=version)
        else:
            rated = known.thumb_changed if known.reply_id == bubble.reply_id else version
            bubble = replace(bubble, made=known.made, text_changed=version, thumb_changed=rated)
        self._bubbles[bubble.id] = bubble
        while len(self._bubbles) > MOST_BUBBLES:
            del self._bubbles[next(iter(self._bubbles))]
        self._wake()

    def _set_typing(self, *, typing: bool) -> None:
        if typing or self.is_typing:
            self._typing_changed = self._next()
            self.is_typing = typing
            self._wake()

    def _renew(self) -> None:
        """Makes every tab take the whole room."""
        self._epoch = secrets.token_hex(4)
        self._next()
        self._wake()

    def _next(self) -> int:
        self._version += 1
        return self._version

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


class Rooms:
    """The rooms that were looked at lately; one that is forgotten is filled from the store again."""

    def __init__(self) -> None:
        self._rooms: OrderedDict[Place, Room] = OrderedDict()
        self._closed = False

    def __getitem__(self, place: Place) -> Room:
        room = self._rooms.get(place)
        if room is None:
            room = self._rooms[place] = Room()
            room.is_closed = self._closed
            self._forget()
        self._rooms.move_to_end(place)
        return room

    def open(self) -> None:
        self._closed = False
        for room in self._rooms.values():
            room.is_closed = False

    def close(self) -> None:
        """Ends every stream."""
        self._closed = True
        for room in self._rooms.values():
            room.close()

    def _forget(self) -> None:
        spare = len(self._rooms) - MOST_ROOMS
        idle = [place for place, room in self._rooms.items() if room.followers == 0]
        for place in idle[: max(spare, 0)]:
            del self._rooms[place]


def _bubble(shown: Shown, version: int) -> Bubble:
    role: Literal["user", "persona"] = "user" if shown.role == "user" else "persona"
    id_ = shown.message_id if shown.role == "user" and shown.message_id else f"h{secrets.token_hex(8)}"
    return Bubble(id_, role, shown.text, shown.reply_id, shown.vote, version, version, version)
