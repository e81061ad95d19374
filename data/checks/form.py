"""The form of an answer: its language and script, loops, ends and brackets; pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from data.checks.rows import Row
from data.script import characters_of_one_script, lang_of, script_of

__all__ = ["are_cut", "loop", "other_language", "other_script", "unbalanced"]

# A question that speaks of a language or asks for a translation may be answered in another one.
LANGUAGE_ASKED = re.compile(
    r"\b(?:chinese|mandarin|english|translat\w*|word for|characters?|say|pinyin|language|mean(?:s|ing)?"
    r"|write|written)\b"
    "|中文|汉语|漢語|英文|英语|英語|翻译|翻譯|译|譯|单词|單字|單詞|拼写|拼寫|字母|怎么说|怎麼說|怎么讲|怎麼講|繁体|繁體|简体|簡體",
    re.IGNORECASE,
)
# Characters of names that both scripts write alike and GB 2312 lacks.
IN_NAMES = frozenset("朓璘喆堃")
HAN = re.compile("[\u3400-\u9fff]")
END_MARKS = frozenset(".!?…。！？～~;；:：") | frozenset("\"'”’」』）)】]》*`}>|")
CLOSERS = {"）": "（", ")": "(", "】": "【", "]": "[", "》": "《", "」": "「", "』": "『", "”": "“", "}": "{"}
OPENERS = frozenset(CLOSERS.values())
# "1)" of a list and ":)" of a smile close nothing; code and formulas have rules of their own.
LOOSE = re.compile(
    r"(?:^|(?<=\s))[0-9a-zA-Z一二三四五六七八九十]{1,3}[)）]|[:;=8][-']?[()\[\]DP]|```.*?```|`[^`\n]*`"
    r"|\\[()\[\]{}]",
    re.DOTALL,
)
GRAM = 8
# An 8-gram six times over; source: measured on CamelBell, where it finds 34 answers (reference/seeds.md).
GRAM_TIMES = 6
IN_A_ROW = re.compile(r"(.{2,60}?)\1{3,}", re.DOTALL)
WORD = re.compile(r"[A-Za-z]{2,}")
# A word or a name alone is in no language.
SENTENCE = 3
NEIGHBOURS = 10
# Where fewer of the neighbours end with a mark, marks are not this corpus's way.
MARKED = 0.6


def other_language(row: Row) -> str | None:
    """The language or script of the answer where it is not the label's; without a label, the question's."""
    if LANGUAGE_ASKED.search(row.asked):
        return None
    if not any(character.isalpha() for character in row.answer):
        return None
    label = lang_of(row.lang)
    found = script_of(row.answer, label)
    if found == "en" and len(WORD.findall(row.answer)) < SENTENCE:
        return None
    if label is None:
        # The question may be too short to show its script, and names and code are in Latin letters anywhere.
        return found if bool(HAN.search(row.question)) != bool(HAN.search(row.answer)) else None
    return found if found != label else None


def other_script(row: Row) -> str | None:
    """Characters of the other Chinese script within an answer that is labelled as one of them."""
    if row.lang is None or LANGUAGE_ASKED.search(row.asked):
        return None
    if lang_of(row.lang) == "en":
        return None
    strange = characters_of_one_script(row.replies)[1 if lang_of(row.lang) == "zh-CN" else 0]
    return "".join(character for character in strange if character not in IN_NAMES) or None


def loop(text: str) -> str | None:
    """What an answer repeats: something four times in a row, or eight characters six times in all."""
    for found in IN_A_ROW.finditer(text):
        if any(character.isalpha() for character in found[1]):
            return found[1]
    if len(text) < GRAM * GRAM_TIMES:
        return None
    grams = Counter(text[at : at + GRAM] for at in range(len(text) - GRAM + 1))
    gram, times = grams.most_common(1)[0]
    return gram if times >= GRAM_TIMES and any(character.isalpha() for character in gram) else None


def are_cut(answers: Sequence[str]) -> list[bool]:
    """Which answers end without a mark although the answers around them end with one."""
    marked = [_has_end(answer) for answer in answers]
    totals = [0]
    for value in marked:
        totals.append(totals[-1] + value)
    cut = []
    for at, value in enumerate(marked):
        first, last = max(0, at - NEIGHBOURS), min(len(marked), at + NEIGHBOURS + 1)
        around, ended = last - first - 1, totals[last] - totals[first] - value
        cut.append(not value and around > 0 and ended >= MARKED * around)
    return cut


def unbalanced(text: str) -> str | None:
    """The first bracket or quotation mark that has no partner."""
    text = LOOSE.sub(" ", text)
    opened: list[str] = []
    for character in text:
        if character in OPENERS:
            opened.append(character)
        elif character in CLOSERS and (not opened or opened.pop() != CLOSERS[character]):
            return character
    if opened:
        return opened[-1]
    return '"' if text.count('"') % 2 else None


def _has_end(text: str) -> bool:
    last = text.rstrip()[-1]
    # Emoji and other symbols end a message as well as a mark does.
    return last in END_MARKS or not (last.isalnum() or last in "，,、-—·/")
