"""Written sums with other numbers: the wording stays, both numbers and every mention of the result change.

A few hundred written sums teach their own results and no reckoning; drawn anew in every pass, each wording
meets every pair. Only rows whose numbers are all understood are changed: two in the question, and in the
reply none but those and the result of one operation. A bare one ("7+8=?") with other numbers may be
somebody's held-out question: it changes only where those are known, and never into one of them.
"""

from __future__ import annotations

import operator
import random
import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from data.checks.duplicates import fold
from data.chinese import simplified
from personas.prompt import Turn
from training.corpus import Row

__all__ = ["redrawn"]

LARGEST = 20
# So many of the products stay within LARGEST; the others are of the table up to ten.
SMALL_PRODUCTS = 0.7
TABLE = 10

UNITS = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
DIGITS = "零一二三四五六七八九"
# In 一下, 一共 and their like it counts nothing.
NUMBER = re.compile(
    rf"(?<![0-9.])[0-9]+(?![0-9.]*[0-9])|(?!一[下个個些共口句声聲定对對样樣点點直起边邊])[{DIGITS}十两兩]+|"
    rf"\b(?:(?:{'|'.join(TENS)})(?:[ -](?:{'|'.join(UNITS[1:10])}))?|{'|'.join(reversed(UNITS))})\b",
    re.IGNORECASE,
)
# A two before what is counted is another character than the numeral.
COUNTED_TWO = re.compile(
    "(?<![十加减減乘])二(?=[个個只隻块塊杯本颗顆条條枚张張根人位壶壺坛壇碗斤次天首句封页頁片朵支枝包盒篮籃袋排组組盏盞])"
)

# So often numbers are drawn for a question that nobody is to be asked.
DRAWS = 8

# Letters beside the numbers; fewer are no wording.
FEWEST_LETTERS = {"han": 7, "latin": 11}

OPERATIONS: tuple[Callable[[int, int], int], ...] = (operator.add, operator.sub, operator.mul)


@dataclass(frozen=True, slots=True)
class _Sum:
    first: int
    second: int
    result: int
    operation: Callable[[int, int], int]


def redrawn(row: Row, generator: random.Random, avoided: frozenset[str] | None = None) -> Row:
    """The row with another sum in it, or as it is where its numbers are not all understood.

    Args:
        row: its last turn asks for the sum.
        generator: draws the numbers.
        avoided: held-out questions, in Simplified characters and folded; None where they are not known, and
            bare sums stay.
    """
    last = row.turns[-1]
    found = None if avoided is None and _is_bare(last.user) else _understood(last)
    if found is None:
        return row
    for _ in range(DRAWS):
        turn = _with(last, found, _drawn(found.operation, generator), row.lang)
        if not avoided or fold(simplified(turn.user)) not in avoided:
            return replace(row, turns=(*row.turns[:-1], turn))
    return row


def _with(turn: Turn, found: _Sum, drawn: _Sum, lang: str) -> Turn:
    names = {found.first: drawn.first, found.second: drawn.second, found.result: drawn.result}

    def swap(text: str) -> str:
        return NUMBER.sub(lambda match: _written(names[_value(match[0])], like=match[0]), text)

    two = "兩" if lang == "zh-TW" else "两"
    return turn.rewritten(lambda text: COUNTED_TWO.sub(two, swap(text)))


def _is_bare(question: str) -> bool:
    wording = NUMBER.sub("", question)
    han = sum("\u4e00" <= letter <= "\u9fff" for letter in wording)
    latin = sum(letter.isascii() and letter.isalpha() for letter in wording)
    return han < FEWEST_LETTERS["han"] and latin < FEWEST_LETTERS["latin"]


def _understood(turn: Turn) -> _Sum | None:
    asked = [_value(text) for text in NUMBER.findall(turn.user)]
    told = [_value(text) for text in NUMBER.findall(turn.assistant)]
    if len(asked) != 2 or not told:  # noqa: PLR2004 - two numbers make a sum
        return None
    first, second = asked
    sums = {
        _Sum(*pair, operation(*pair), operation)
        for pair in ((first, second), (second, first))
        for operation in OPERATIONS
        if operation(*pair) in told and {*told} <= {*pair, operation(*pair)}
    }
    sums = {
        one for one in sums if one.operation is operator.sub or (one.first, one.second) == (first, second)
    }
    # Where two operations explain the reply, or two of the numbers are alike, nobody knows which is which.
    if len(sums) != 1:
        return None
    (only,) = sums
    return only if len({only.first, only.second, only.result}) == 3 else None  # noqa: PLR2004


def _drawn(operation: Callable[[int, int], int], generator: random.Random) -> _Sum:
    if operation is operator.mul:
        most = LARGEST if generator.random() < SMALL_PRODUCTS else TABLE * TABLE
        pairs = [
            (first, second)
            for first in range(1, TABLE + 1)
            for second in range(1, TABLE + 1)
            if first * second <= most
        ]
        first, second = generator.choice(pairs)
        return _Sum(first, second, first * second, operation)
    largest = generator.randint(1, LARGEST)
    part = generator.randint(0, largest)
    if operation is operator.add:
        return _Sum(part, largest - part, largest, operation)
    return _Sum(largest, part, largest - part, operation)


def _value(text: str) -> int:
    if text.isdigit():
        return int(text)
    lower = text.lower()
    if lower.isascii():
        *tens, unit = re.split(r"[ -]", lower)
        whole = (TENS.index(tens[0]) + 2) * 10 if tens else 0
        return whole + (UNITS.index(unit) if unit in UNITS else (TENS.index(unit) + 2) * 10)
    plain = re.sub("[两兩]", "二", text)
    before, ten, after = plain.partition("十")
    if not ten:
        return int("".join(str(DIGITS.index(digit)) for digit in plain))
    return 10 * (DIGITS.index(before[-1]) if before else 1) + (DIGITS.index(after[0]) if after else 0)


def _written(value: int, *, like: str) -> str:
    if like.isdigit():
        return str(value)
    if like.isascii():
        return _in_case(_words(value), like)
    tens, units = divmod(value, 10)
    if value == TABLE * TABLE:
        return "一百"
    if not tens:
        return DIGITS[units]
    return ("" if tens == 1 else DIGITS[tens]) + "十" + (DIGITS[units] if units else "")


def _words(value: int) -> str:
    if value < len(UNITS):
        return UNITS[value]
    if value == TABLE * TABLE:
        return "a hundred"
    tens, units = divmod(value, 10)
    return TENS[tens - 2] + (f"-{UNITS[units]}" if units else "")


def _in_case(word: str, like: str) -> str:
    return word.capitalize() if like[0].isupper() else word
