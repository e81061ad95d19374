"""What a model wrote becomes what people may see; pure."""

from __future__ import annotations

import re

from data.text import clean

__all__ = ["presentable"]

THOUGHT = re.compile(r"<think>.*?(?:</think>|\Z)", re.DOTALL)
OPEN = "<think>"


def presentable(text: str, *, final: bool) -> str:
    """The reply without thoughts and unprintable characters.

    Args:
        text: everything the model wrote so far.
        final: nothing follows; before that, a tail that may become ``<think>`` is held back.
    """
    text = THOUGHT.sub("", text).replace("</think>", "")
    if not final:
        text = text[: len(text) - _possible_tag(text)]
    return clean(text).strip()


def _possible_tag(text: str) -> int:
    for length in range(min(len(OPEN) - 1, len(text)), 0, -1):
        if OPEN.startswith(text[-length:]):
            return length
    return 0
