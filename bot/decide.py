"""Whether a message is for the bot; pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bot.platform import Incoming

__all__ = ["Decision", "decide"]


@dataclass(frozen=True, slots=True)
class Decision:
    answer: bool
    why: Literal["bot", "edited", "direct", "mentioned", "replied", "for_others", "not_addressed"]


def decide(incoming: Incoming) -> Decision:
    """Direct messages, mentions and replies are answered; never bots, and not when somebody else is named."""
    rules: tuple[tuple[bool, Decision], ...] = (
        (incoming.is_bot, Decision(answer=False, why="bot")),
        (incoming.is_edit, Decision(answer=False, why="edited")),
        (incoming.is_direct, Decision(answer=True, why="direct")),
        (incoming.mentions_bot, Decision(answer=True, why="mentioned")),
        (incoming.mentions_others, Decision(answer=False, why="for_others")),
        (incoming.replies_to_bot, Decision(answer=True, why="replied")),
    )
    return next((decision for holds, decision in rules if holds), Decision(answer=False, why="not_addressed"))
