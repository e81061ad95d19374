"""One Chinese script into the other, by OpenCC's tables: phrases, then characters."""

from __future__ import annotations

from functools import cache

from opencc import OpenCC

__all__ = ["simplified", "traditional"]


def simplified(text: str) -> str:
    """The text in Simplified characters; whatever is not Traditional Chinese stays as it is."""
    return str(_converter("t2s").convert(text))


def traditional(text: str) -> str:
    """The text in the characters and words of Taiwan."""
    return str(_converter("s2twp").convert(text))


@cache
def _converter(tables: str) -> OpenCC:
    return OpenCC(tables)
