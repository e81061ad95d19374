"""From tokens to what people may see, piece by piece; torch-free.

```
token ids ─► Detokenizer ─► ThinkFilter ─► StopStrings ─► delta
             whole           no <think>     nothing at or
             characters      …</think>      after a stop string
```

Each stage holds back only what the next token could still change, and lets go of it in ``finish``.
"""

from __future__ import annotations

from collections.abc import Sequence

from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream

__all__ = ["Detokenizer", "ReplyStream", "StopStrings", "ThinkFilter", "held_suffix"]

OPEN, CLOSE = "<think>", "</think>"
REPLACEMENT = "\ufffd"


class Detokenizer:
    """Token ids to whole characters; half a character at the end is dropped."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._stream = DecodeStream(skip_special_tokens=True)

    def push(self, token: int) -> str:
        # Bytes that never became a character are no text either.
        return (self._stream.step(self._tokenizer, token) or "").replace(REPLACEMENT, "")


class ThinkFilter:
    """Takes ``<think>…</think>`` out, however it is cut into pieces; an unclosed one hides the rest."""

    def __init__(self, *, inside: bool = False) -> None:
        self._inside = inside
        self._held = ""
        self._shown = False

    def push(self, text: str) -> str:
        self._held += text
        visible = ""
        while True:
            tag = CLOSE if self._inside else OPEN
            before, found, after = self._held.partition(tag)
            if not found:
                break
            visible += "" if self._inside else self._show(before)
            self._held, self._inside = after, not self._inside
        keep = held_suffix(self._held, (tag, CLOSE))
        ready, self._held = self._held[: len(self._held) - keep], self._held[len(self._held) - keep :]
        return visible + ("" if self._inside else self._show(ready))

    def finish(self) -> str:
        rest, self._held = self._held, ""
        return "" if self._inside else self._show(rest)

    def _show(self, text: str) -> str:
        text = text.replace(CLOSE, "")  # a close without an open
        text = text if self._shown else text.lstrip()
        self._shown = self._shown or bool(text)
        return text


class StopStrings:
    """Ends a text before the first stop string, as ``text.find`` on the whole would."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stop for stop in stops if stop)
        self._held = ""
        self.stopped = False

    def push(self, text: str) -> str:
        if self.stopped:
            return ""
        self._held += text
        places = [place for stop in self._stops if (place := self._held.find(stop)) >= 0]
        if places:
            self.stopped = True
            visible, self._held = self._held[: min(places)], ""
            return visible
        keep = held_suffix(self._held, self._stops)
        visible, self._held = self._held[: len(self._held) - keep], self._held[len(self._held) - keep :]
        return visible

    def finish(self) -> str:
        rest, self._held = self._held, ""
        return rest


class ReplyStream:
    """The three stages of one reply."""

    def __init__(self, tokenizer: Tokenizer, *, stops: Sequence[str] = (), thinking: bool = False) -> None:
        self._detokenizer = Detokenizer(tokenizer)
        self._think = ThinkFilter(inside=thinking)
        self._stops = StopStrings(stops)

    @property
    def stopped(self) -> bool:
        """A stop string was met; nothing comes any more."""
        return self._stops.stopped

    def push(self, token: int) -> str:
        return self._stops.push(self._think.push(self._detokenizer.push(token)))

    def finish(self) -> str:
        return self._stops.push(self._think.finish()) + self._stops.finish()


def held_suffix(text: str, targets: Sequence[str]) -> int:
    """The length of the longest end of ``text`` that one of the targets begins with and goes beyond."""
    longest = max((len(target) for target in targets), default=0)
    for size in range(min(longest - 1, len(text)), 0, -1):
        if any(len(target) > size and target.startswith(text[-size:]) for target in targets):
            return size
    return 0
