"""Who moderates: people and roles that the operator names. Their thumbs settle what a reply was worth."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal

from bot.platform import Press

__all__ = ["FORM", "Moderators"]

# A person as the platform numbers them, or a role of a Discord server.
FORM = re.compile(r"(?:discord|telegram|web|terminal):[^\s:]+|discord-role:[0-9]+")


class Moderators:
    """Tells a moderator's press from others by ``discord:ID``, ``telegram:ID`` or ``discord-role:ID``."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._names = frozenset(names)

    def role_of(self, press: Press) -> Literal["user", "moderator"]:
        """What the press counts as."""
        platform = press.place.platform
        held = {f"{platform}:{press.user}", *(f"{platform}-role:{role}" for role in press.roles)}
        return "moderator" if held & self._names else "user"
