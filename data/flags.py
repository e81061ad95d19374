"""What is wrong with a reply at first sight: counted on every one of them, in canaries and at the gate; pure.

Precise rather than complete (reference: the gate's table of metrics): a flag is hardly ever wrong, and a
paraphrase gets by.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Literal

from data.script import script_of

__all__ = ["FLAGS", "Flag", "flags"]

Flag = Literal["language", "repetition", "character", "empty", "too_long"]
FLAGS: tuple[Flag, ...] = ("language", "repetition", "character", "empty", "too_long")

# Share of stretches of four words or letters that came before in the same reply.
MOST_REPEATED = 0.3
STRETCH = 4
# Shorter replies repeat a word by chance.
LEAST_UNITS = 16
SAME_LINES = 3
LONGEST = 1200
# So many words or Han characters of the card in a row are read out, not said.
LEAKED = 8
WORDS = re.compile(r"[^\W\d_㐀-鿿]+(?:['’][^\W\d_㐀-鿿]+)?|\d+|[㐀-鿿]")
BREAKS = re.compile(
    r"as an ai\b|\bi(?:'|’| a)m an ai (?:language )?model|language model|openai|chatgpt|\bqwen\b|anthropic"
    r"|[作身][为為](?:一?[个個名位款种種])?\s?(?:ai(?![a-z])|人工智[能慧])"
    r"|我只?是(?:一?[个個名位款种種])?\s?(?:ai|人工智[能慧])(?:助手|助理|模型)|[语語]言模型|通[义義]千[问問]"
)


def flags(reply: str, *, lang: str, card: str = "", end: str = "stop") -> tuple[Flag, ...]:
    """The reply's flags, in the order of ``FLAGS``.

    Args:
        reply: as people see it.
        lang: the language it should be in.
        card: the persona's constant text, which must not be read out.
        end: the engine's finish reason; ``length`` was cut off, ``repetition`` went in circles.
    """
    plain = unicodedata.normalize("NFKC", reply).casefold()
    units = WORDS.findall(plain)
    found = {
        "language": bool(units) and script_of(reply, lang) != lang,
        "repetition": end == "repetition" or _repeats(reply, units),
        "character": bool(BREAKS.search(plain)) or _leaks(units, card),
        "empty": not reply.strip(),
        "too_long": end == "length" or len(reply) > LONGEST,
    }
    return tuple(name for name in FLAGS if found[name])


def _repeats(reply: str, units: Sequence[str]) -> bool:
    lines = [line.strip() for line in reply.splitlines() if line.strip()]
    if any(lines.count(line) >= SAME_LINES for line in lines):
        return True
    if len(units) < LEAST_UNITS:
        return False
    stretches = list(_stretches(units, STRETCH))
    return 1 - len(set(stretches)) / len(stretches) > MOST_REPEATED


def _leaks(units: Sequence[str], card: str) -> bool:
    said = set(_stretches(units, LEAKED))
    read = _stretches(WORDS.findall(unicodedata.normalize("NFKC", card).casefold()), LEAKED)
    return any(stretch in said for stretch in read)


def _stretches(units: Sequence[str], width: int) -> Iterator[tuple[str, ...]]:
    return (tuple(units[start : start + width]) for start in range(len(units) - width + 1))
