"""Ids made here: short, url-safe, sorted by the millisecond they were made in."""

from __future__ import annotations

import secrets

__all__ = ["new_id"]

# Crockford's base 32 in lower case: no letter that is read as a digit.
ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
TIME_CHARACTERS, RANDOM_CHARACTERS = 9, 9


def new_id(now: float) -> str:
    """18 characters: 45 bits of milliseconds, then 45 random bits.

    Short enough for a Discord nonce (25) and, with a reason, for Telegram's 64 bytes of callback data.
    """
    stamp = _encode(int(now * 1000), TIME_CHARACTERS)
    return stamp + _encode(secrets.randbits(5 * RANDOM_CHARACTERS), RANDOM_CHARACTERS)


def _encode(number: int, length: int) -> str:
    return "".join(ALPHABET[number >> 5 * place & 31] for place in reversed(range(length)))
