"""What a model wrote becomes what people may see, and what is wrong with it is noted; pure."""

from __future__ import annotations

import json
import re

from data.flags import flags
from data.text import clean

__all__ = ["findings", "presentable"]

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


def findings(reply: str, *, lang: str, card: str, end: str) -> str | None:
    """A reply's flags (`data.flags`) as `data.records.Result` keeps them; None where there are none."""
    found = flags(reply, lang=lang, card=card, end=end)
    return json.dumps(found) if found else None


def _possible_tag(text: str) -> int:
    for length in range(min(len(OPEN) - 1, len(text)), 0, -1):
        if OPEN.startswith(text[-length:]):
            return length
    return 0
