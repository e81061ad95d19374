"""What people typed of themselves and no model may learn: addresses, numbers, links with keys; pure.

Each finding becomes a placeholder that says what stood there, so that a sentence keeps its form. Numbers with
a check digit are only taken where it fits: a long number in a story stays.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial

__all__ = ["scrub"]

DIGITS = re.compile(r"\D")
IDENTITY_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
IDENTITY_CHECKS = "10X98765432"
CARD_LENGTHS = range(13, 20)
DOUBLED_MOST = 9


def _is_card(text: str) -> bool:
    """Luhn's check over 13 to 19 digits (ISO/IEC 7812-1, annex B)."""
    digits = [int(digit) for digit in DIGITS.sub("", text)]
    if len(digits) not in CARD_LENGTHS or len(set(digits)) == 1:
        return False
    doubled = [digit * 2 - DOUBLED_MOST * (digit * 2 > DOUBLED_MOST) for digit in digits[-2::-2]]
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def _is_identity(text: str) -> bool:
    """The check character of a resident identity number (GB 11643)."""
    total = sum(weight * int(digit) for weight, digit in zip(IDENTITY_WEIGHTS, text[:17], strict=True))
    return IDENTITY_CHECKS[total % 11] == text[17].upper()


def _is_address(text: str) -> bool:
    return all(int(part) <= 255 for part in text.split("."))  # noqa: PLR2004 - an octet


def _always(_: str) -> bool:
    return True


def _pattern(text: str) -> re.Pattern[str]:
    """ASCII, so that Han characters beside it are no part of a word."""
    return re.compile(text, re.ASCII | re.IGNORECASE)


# Most telling first: a link may hold an address, and a telephone number may pass a card's check.
FINDERS: tuple[tuple[str, re.Pattern[str], Callable[[str], bool]], ...] = (
    ("[link]", _pattern(r"\b(?:https?://|www\.)[!#-&(-;=?-~]+"), _always),
    ("[invite]", _pattern(r"\b(?:discord\.gg/|t\.me/(?:joinchat/|\+))[\w+/-]+"), _always),
    ("[e-mail]", _pattern(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+"), _always),
    ("[mention]", _pattern(r"<(?:@[!&]?|#)\d{5,}>|(?<![\w@])@\w{3,}"), _always),
    (
        "[token]",
        _pattern(r"\b(?:sk|pk|ghp|gho|xox[bp])[-_][\w-]{16,}|\b\d{8,10}:[\w-]{35}(?![\w-])"),
        _always,
    ),
    (
        "[phone]",
        _pattern(
            r"(?<![\d+])(?:(?:\+?86[ -]?)?1[3-9]\d(?:[ -]?\d{4}){2}|(?:\+886[ -]?|0)9\d{2}(?:[ -]?\d{3}){2}|"
            r"\+[1-9]\d{0,2}(?:[ .()-]{0,2}\d){7,12})(?!\d)"
        ),
        _always,
    ),
    ("[identity]", _pattern(r"(?<!\d)\d{17}[\dx](?!\d)"), _is_identity),
    ("[card]", _pattern(r"(?<!\d)(?:\d[ -]?){12,18}\d(?!\d)"), _is_card),
    ("[address]", _pattern(r"(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?!\.?\d)"), _is_address),
)


def scrub(text: str) -> str:
    """The text with what must not be learnt replaced by typed placeholders; again, it changes nothing."""
    while (cleaned := _once(text)) != text:
        text = cleaned
    return text


def _once(text: str) -> str:
    for placeholder, pattern, is_one in FINDERS:
        text = pattern.sub(partial(_replaced, placeholder, is_one), text)
    return text


def _replaced(placeholder: str, is_one: Callable[[str], bool], found: re.Match[str]) -> str:
    return placeholder if is_one(found[0]) else found[0]
