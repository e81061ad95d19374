"""Rows whose answer copies a value from the prompt, each time with another value.

A model that meets "143 steps" in every pass learns the number by heart; one that meets a new number each time
can only learn to look. A value is what prompt and answer share and the question does not; it is replaced on
both sides by one of the same kind: digits by digits, Han characters by Han characters, a name by a made-up
name. Rows without such a value stay as they are.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from data.stopwords import STOP
from personas.prompt import Turn
from training.corpus import Row

__all__ = ["invented", "letters_of", "told", "vary"]

HAN = re.compile(r"[\u4e00-\u9fff]+")
PIECE = re.compile(r"[\u4e00-\u9fff]|[0-9]+|[A-Za-z'’-]+")
# Of a shared stretch of Han characters so many at least make a value; one alone is mostly grammar.
SHORTEST_HAN = 2
LONGEST_HAN = 6
# A longer stretch may be a clause: where exchanges are shown, the reply often is one of theirs.
LONGEST_NAME = 4
SHORTEST_WORD = 4
CARDED = 0.5
# Of other rows' lore so many lines at most, and no more in all.
MOST_STRANGE = 2
MOST_LINES = 4
# Characters that hold a clause together are no part of a value.
JOINTS = frozenset("的了是在有叫和与與也就你我他她它您不很一这這那個个")
ONSETS = ("b", "br", "c", "d", "dr", "f", "fl", "g", "gr", "h", "k", "l", "m", "n", "p", "pr", "r", "s", "st")
VOWELS = ("a", "e", "i", "o", "u", "ee", "oa", "ai")
CODAS = ("", "l", "n", "r", "s", "m", "ck", "th", "ng", "rt")


def vary(rows: Sequence[Row], *, times: int, seed: int, cards: Sequence[str] = ()) -> list[Row]:
    """Each row ``times`` over, with new values each time, its lore in new order and among other lines.

    Half of the rows without a card get one of ``cards``: who looks things up is mostly somebody.
    """
    generator = random.Random(seed)  # noqa: S311 - values, not secrets
    letters = letters_of(rows)
    lore: dict[str, list[str]] = {}
    for row in rows:
        lore.setdefault(row.lang, []).extend(row.facts)
    return [
        _varied(
            _dressed(row, lore[row.lang], cards, generator), letters[row.lang], generator, names_only=False
        )
        for row in rows
        for _ in range(times)
    ]


def _dressed(row: Row, lore: Sequence[str], cards: Sequence[str], generator: random.Random) -> Row:
    if not row.facts and not row.memory:
        return row
    if cards and not row.card and generator.random() < CARDED:
        row = replace(row, card=generator.choice(cards))
    if not row.facts:
        return row
    facts = list(row.facts)
    others = [line for line in generator.sample(lore, min(MOST_STRANGE, len(lore))) if line not in facts]
    facts += others[: generator.randint(0, max(0, MOST_LINES - len(facts)))]
    generator.shuffle(facts)
    return replace(row, facts=tuple(facts))


def invented(row: Row, letters: str, generator: random.Random) -> Row:
    """The row with the names and numbers that its prompt and its reply share replaced."""
    return _varied(row, letters, generator, names_only=True)


def told(row: Row, letters: str, generator: random.Random) -> Row:
    """The chat with what its last reply repeats of the person's earlier messages replaced in all of it."""
    *earlier, last = row.turns
    values = _values("\n".join(turn.user for turn in earlier), last.user, last.assistant, names_only=False)
    swap = _swapper(values, letters, generator)
    turns = tuple(turn.rewritten(swap) for turn in row.turns)
    return replace(row, turns=turns)


def letters_of(rows: Sequence[Row]) -> dict[str, str]:
    """Per language, the Han characters that its rows use: what values are made of."""
    texts: dict[str, set[str]] = {}
    for row in rows:
        for turn in row.turns:
            texts.setdefault(row.lang, set()).update(turn.user + turn.assistant)
    return {lang: "".join(sorted(filter(HAN.match, found))) for lang, found in texts.items()}


def _varied(row: Row, letters: str, generator: random.Random, *, names_only: bool) -> Row:
    last = row.turns[-1]
    liked = [text for turn in row.similar for text in (turn.user, turn.assistant)]
    shown = "\n".join([*row.facts, *row.memory, *liked])
    values = _values(shown, last.user, last.assistant, names_only=names_only)
    swap = _swapper(values, letters, generator)
    return replace(
        row,
        turns=(*row.turns[:-1], Turn(last.user, swap(last.assistant))),
        facts=tuple(swap(fact) for fact in row.facts),
        memory=tuple(swap(line) for line in row.memory),
        similar=tuple(turn.rewritten(swap) for turn in row.similar),
    )


def _swapper(values: Sequence[str], letters: str, generator: random.Random) -> Callable[[str], str]:
    swaps = {value: _another(value, letters, generator) for value in values}
    if not swaps:
        return str
    pattern = re.compile("|".join(_bounded(value) for value in sorted(swaps, key=len, reverse=True)))
    return lambda text: pattern.sub(lambda found: swaps[found.group()], text)


def _values(shown: str, question: str, answer: str, *, names_only: bool) -> list[str]:
    """What prompt and answer share and the question does not, longest first."""
    asked = question.lower()
    longest = LONGEST_NAME if names_only else LONGEST_HAN
    values = _shared_han(shown, answer, JOINTS.union(question), longest)
    for piece in PIECE.findall(answer):
        is_number = piece.isdigit()
        is_word = len(piece) >= SHORTEST_WORD and piece.lower() not in STOP
        is_value = is_number or (is_word and (piece[0].isupper() or not names_only))
        if is_value and piece.lower() not in asked and re.search(_bounded(piece), shown):
            values.append(piece)
    return sorted(set(values), key=lambda value: (-len(value), value))


def _shared_han(shown: str, answer: str, joints: frozenset[str], longest: int) -> list[str]:
    """The longest stretches of Han characters of the answer that stand in the prompt too, of 2..longest."""
    found: list[str] = []
    plain = "".join(" " if letter in joints else letter for letter in answer)
    for run in HAN.findall(plain):
        start = 0
        while start < len(run):
            end = start
            while end < len(run) and run[start : end + 1] in shown:
                end += 1
            if SHORTEST_HAN <= end - start <= longest:
                found.append(run[start:end])
            start = max(end, start + 1)
    return found


def _another(value: str, letters: str, generator: random.Random) -> str:
    if value.isdigit():
        first = generator.choice("123456789")
        return first + "".join(generator.choice("0123456789") for _ in value[1:])
    if HAN.fullmatch(value):
        return "".join(generator.choice(letters) for _ in value)
    syllables = generator.choice((1, 2, 2, 3))
    word = "".join(
        generator.choice(ONSETS) + generator.choice(VOWELS) + generator.choice(CODAS)
        for _ in range(syllables)
    )
    return word.capitalize() if value[0].isupper() else word


def _bounded(value: str) -> str:
    """The value as a whole word, where its script has words."""
    escaped = re.escape(value)
    return escaped if HAN.fullmatch(value) else rf"(?<![A-Za-z0-9]){escaped}(?![A-Za-z0-9])"
