"""Events as rows of the inbox and back."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from bot.platform import Command, Event, Incoming, Place, Press
from data.home import rater_hash
from data.records import InboxItem, InboxKind

__all__ = ["event_of", "item_of"]

_KINDS: dict[InboxKind, type[Incoming | Command | Press]] = {
    "message": Incoming,
    "command": Command,
    "press": Press,
}


def item_of(event: Event, secret: bytes) -> InboxItem:
    """The row for an event; presses have ids of their own, which may look like a message's."""
    if isinstance(event, Press):
        kind: InboxKind = "press"
        message_id = f"press:{event.press_id}"
    else:
        kind = "command" if isinstance(event, Command) else "message"
        message_id = event.message_id
    place = event.place
    return InboxItem(
        platform=place.platform,
        chat=place.chat,
        thread=place.thread,
        message_id=message_id,
        user_hash=rater_hash(secret, place.platform, event.user),
        kind=kind,
        payload=_dumped(asdict(event)),
    )


def event_of(item: InboxItem) -> Event:
    values: dict[str, Any] = json.loads(item.payload)
    place = Place(**values.pop("place"))
    if "roles" in values:
        values["roles"] = tuple(values["roles"])
    return _KINDS[item.kind](place=place, **values)


def _dumped(value: Any) -> str:
    """JSON that every database takes: a lone surrogate in a name or a text is no UTF-8."""
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "replace").decode()
