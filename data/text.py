"""Text from outside made harmless, measured and cut; pure.

`clean` drops what no reader sees and what databases and terminals choke on; `fit` and `split` count in the
platform's own unit and never cut a character, an emoji sequence or a code fence in two.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

__all__ = ["Piece", "Unit", "clean", "fit", "has_open_fence", "split", "units"]

Unit = Literal["utf16", "character"]

# Four marks are more than any script stacks; "zalgo" text uses thousands.
MOST_MARKS = 4
# C0 and C1 except tab and line feed, zero-width space, byte order mark, bidi overrides and isolates.
DROPPED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\ufeff\u202a-\u202e\u2066-\u2069]")
SURROGATE = re.compile("[\ud800-\udfff]")
LINE_END = re.compile("\r\n?|\u2028|\u2029")

# Longer runs than a dozen are ornament; with these bounds a re-opened fence fits into the smallest limit.
FENCE = re.compile(r" {0,3}(`{3,12}(?!`)|~{3,12}(?!~))([^\n]*)")
LONGEST_INFO = 12
# A longer run of joined characters is no emoji and may be cut.
LONGEST_CLUSTER = 64
ZWJ = "\u200d"
REGIONAL = ("\U0001f1e6", "\U0001f1ff")
# Hangul vowels and finals: they belong to the consonant before them.
HANGUL = ("\u1160", "\u11ff")
SKIN = ("\U0001f3fb", "\U0001f3ff")
TAGS = ("\U000e0020", "\U000e007f")
SENTENCE_ENDS = "。!?！？.…;；"


@dataclass(frozen=True, slots=True)
class Piece:
    """One part of a split text: ``body`` is the text's own, head and tail re-open and close a fence."""

    body: str
    head: str = ""
    tail: str = ""

    @property
    def text(self) -> str:
        return f"{self.head}{self.body}{self.tail}"


def clean(text: str) -> str:
    """Drops invisible and dangerous characters, then normalises to NFC; idempotent.

    Dropping comes first: the other way round a dropped character between a letter and its accent makes
    the second pass differ. Never NFKC, which turns full-width letters into real control tokens.
    """
    text = LINE_END.sub("\n", SURROGATE.sub("\ufffd", text))
    text = _fewer_marks(DROPPED.sub("", text))
    # Decomposing a letter that NFC excludes from composition can add a mark.
    return _fewer_marks(unicodedata.normalize("NFC", text))


def _fewer_marks(text: str) -> str:
    if text.isascii():
        return text
    kept: list[str] = []
    marks = 0
    for character in text:
        marks = marks + 1 if unicodedata.category(character)[0] == "M" else 0
        if marks <= MOST_MARKS:
            kept.append(character)
    return "".join(kept)


def units(text: str, unit: Unit) -> int:
    """The text's length as the platform counts it."""
    if unit == "character":
        return len(text)
    return len(text) + sum(character > "\uffff" for character in text)


def fit(text: str, limit: int, unit: Unit = "character") -> str:
    """The text, or its beginning with an ellipsis, within ``limit`` units."""
    if units(text, unit) <= limit:
        return text
    end = _furthest(text, 0, limit - 1, unit)
    while end > 0 and not _is_boundary(text, end):
        end -= 1
    return text[:end] + "…" if limit > 0 else ""


def split(text: str, limit: int, unit: Unit = "character") -> list[Piece]:
    """Cuts a text into pieces of at most ``limit`` units each; the bodies joined are the text.

    A piece before the last does not change when the text grows, so that a streamed reply can be shown
    while it is written. ``limit`` is at least 64.
    """
    pieces: list[Piece] = []
    start, head = 0, ""
    while start < len(text) or not pieces:
        end, fence = _cut(text, start, head, limit, unit)
        tail = "" if fence is None else _closing(text[start:end], fence[0])
        pieces.append(Piece(text[start:end], head, tail))
        start = end
        head = "" if fence is None else f"{fence[0]}{fence[1]}\n"
    last = pieces[-1]
    pieces[-1] = Piece(last.body, last.head)
    return pieces


def has_open_fence(text: str) -> bool:
    return _open_fence(text) is not None


def _cut(text: str, start: int, head: str, limit: int, unit: Unit) -> tuple[int, tuple[str, str] | None]:
    """Where the piece from ``start`` ends, and the fence (marker, info) that is open there."""
    room = limit - units(head, unit)
    if units(text[start : start + room + 1], unit) <= room:
        return len(text), _open_fence(head + text[start:])
    furthest = _furthest(text, start, room, unit)
    end = _best_end(text, start, furthest)
    fence = _open_fence(head + text[start:end])
    if fence is not None:
        reserve = len(fence[0]) + 1
        furthest = _furthest(text, start, room - reserve, unit)
        end = _best_end(text, start, furthest)
        fence = _open_fence(head + text[start:end])
        if fence is not None and len(fence[0]) + 1 > reserve:
            end = _best_end(text, start, furthest - len(fence[0]))
            fence = _open_fence(head + text[start:end])
    return end, fence


def _furthest(text: str, start: int, room: int, unit: Unit) -> int:
    """The largest end so that text[start:end] has at most ``room`` units."""
    end = min(len(text), start + max(room, 0))
    if unit == "utf16":
        while units(text[start:end], unit) > room:
            end -= max(1, (units(text[start:end], unit) - room) // 2)
    return end


def _best_end(text: str, start: int, furthest: int) -> int:
    """A paragraph's end, else a line's, a sentence's, a word's, else any whole character."""
    middle = start + (furthest - start) // 2
    window = text[middle:furthest]
    for mark in ("\n\n", "\n"):
        found = window.rfind(mark)
        if found >= 0 and _is_boundary(text, middle + found + len(mark)):
            return middle + found + len(mark)
    for marks in (SENTENCE_ENDS, " \t　，,、"):
        for end in range(furthest, middle, -1):
            if text[end - 1] in marks and _is_boundary(text, end):
                return end
    for end in range(furthest, max(start, furthest - LONGEST_CLUSTER), -1):
        if _is_boundary(text, end):
            return end
    return max(furthest, start + 1)


def _is_boundary(text: str, at: int) -> bool:
    """Whether a reader would see two characters there (a short form of Unicode's UAX 29)."""
    if at <= 0 or at >= len(text):
        return True
    left, right = text[at - 1], text[at]
    if left.isascii() and right.isascii():
        return left not in "`~" or left != right
    if _is_regional(left) and _is_regional(right):
        return _regional_run(text, at) % 2 == 0
    return not (
        ZWJ in (left, right)
        or unicodedata.category(right)[0] == "M"
        or any(first <= right <= last for first, last in (SKIN, TAGS, HANGUL))
    )


def _is_regional(character: str) -> bool:
    return REGIONAL[0] <= character <= REGIONAL[1]


def _regional_run(text: str, at: int) -> int:
    length = 0
    while at - length > 0 and length < LONGEST_CLUSTER and _is_regional(text[at - length - 1]):
        length += 1
    return length


def _closing(body: str, marker: str) -> str:
    return marker if body.endswith("\n") else f"\n{marker}"


def _open_fence(text: str) -> tuple[str, str] | None:
    """The fence (marker, info) that the text leaves open, by CommonMark 0.31, section 4.5."""
    fence: tuple[str, str] | None = None
    for marker, info in _fences(text):
        if fence is None:
            if not (marker[0] == "`" and "`" in info):
                fence = (marker, info.strip()[:LONGEST_INFO])
        elif marker[0] == fence[0][0] and len(marker) >= len(fence[0]) and not info.strip():
            fence = None
    return fence


def _fences(text: str) -> Iterator[tuple[str, str]]:
    for line in text.split("\n"):
        found = FENCE.match(line)
        if found:
            yield found[1], found[2]
