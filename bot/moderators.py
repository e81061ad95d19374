"""Who moderates: people and roles that the operator names. Their thumbs settle what a reply was worth."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal

from bot.platform import Command, Press

__all__ = ["FORM", "OPERATOR", "Moderators"]

# A person as the platform numbers them, or a role of a Discord server.
FORM = re.compile(r"(?:discord|telegram|web|terminal):[^\s:]+|discord-role:[0-9]+")
# What the page calls whoever sits at the machine itself; nobody can be named so in the settings.
OPERATOR = "operator"


class Moderators:
    """Tells a moderator's doing from others' by ``discord:ID``, ``telegram:ID`` or ``discord-role:ID``."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._names = frozenset(names) | {f"web-role:{OPERATOR}"}

    def role_of(self, doing: Press | Command) -> Literal["user", "moderator"]:
        """What the press or the command counts as."""
        platform = doing.place.platform
        held = {f"{platform}:{doing.user}", *(f"{platform}-role:{role}" for role in doing.roles)}
        return "moderator" if held & self._names else "user"
