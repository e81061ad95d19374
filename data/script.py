"""Which of the three languages a text is in: by letters, and by what only one Chinese script has; pure."""

from __future__ import annotations

import re
from typing import Literal

__all__ = ["LANGS", "Lang", "characters_of_one_script", "lang_of", "script_of"]

Lang = Literal["en", "zh-CN", "zh-TW"]
LANGS: tuple[Lang, ...] = ("en", "zh-CN", "zh-TW")

HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
# Names stay out: "Harry Potter 是谁" is Chinese.
PLAIN_WORD = re.compile(r"(?<![^\W\d_])[a-z][a-z'’]*", re.ASCII)
LATIN_WORD = re.compile(r"[A-Za-z][A-Za-z'’]*")
# A word says about as much as one and a half characters.
WORD_WEIGHT = 1.5
# What no sentence of a language does without: they tell a quoted name from the language of the question.
ENGLISH_GLUE = re.compile(
    r"\b(?:a|about|an|and|are|can|did|do|does|for|from|how|in|is|mean|means|me|my|of|on|tell|that|the|this|to|was"
    r"|were|what|when|where|which|who|why|with|would|you|your)\b",
    re.IGNORECASE | re.ASCII,
)
CHINESE_GLUE = frozenset("的了是吗嗎呢吧么麼什谁誰哪几幾怎为為我你他她您在有没沒不和跟把给給這这那个個请請")
# Traditional characters that GB 2312 lists all the same (as surnames or rare words), or that Big5 lacks.
TRADITIONAL_TOO = frozenset("後於麼裏峯羣啲嘅咗喺")


def lang_of(tag: str | None) -> Lang | None:
    """The language that a platform's tag (``zh-Hant-HK``, ``en_GB``) means to us; None without a tag."""
    if not tag:
        return None
    parts = tag.lower().replace("_", "-").split("-")
    if parts[0] not in {"zh", "yue", "cmn"}:
        return "en"
    traditional = {"tw", "hk", "mo", "hant"} & set(parts[1:]) or parts[0] == "yue"
    return "zh-TW" if traditional else "zh-CN"


def script_of(text: str, hint: str | None = None) -> Lang:
    """The language to answer a text in.

    Args:
        text: what the person wrote.
        hint: a language tag that decides where the text does not (no letters, or only characters that
            both Chinese scripts share).
    """
    hinted = lang_of(hint)
    han = HAN.findall(text)
    if not han:
        return "en" if LATIN_WORD.search(text) or hinted is None else hinted
    if _is_english(text, han):
        return "en"
    simplified = sum(_is_simplified(character) for character in han)
    traditional = sum(_is_traditional(character) for character in han)
    if simplified != traditional:
        return "zh-CN" if simplified > traditional else "zh-TW"
    return hinted if hinted in {"zh-CN", "zh-TW"} else "zh-CN"


def characters_of_one_script(text: str) -> tuple[str, str]:
    """The characters that only Simplified text has, and those that only Traditional text has."""
    han = HAN.findall(text)
    simplified = "".join(character for character in han if _is_simplified(character))
    return simplified, "".join(character for character in han if _is_traditional(character))


def _is_english(text: str, han: list[str]) -> bool:
    """Whether a text with both letters and Han characters is an English sentence."""
    english, chinese = bool(ENGLISH_GLUE.search(text)), not CHINESE_GLUE.isdisjoint(han)
    if english != chinese:
        return english
    return WORD_WEIGHT * len(PLAIN_WORD.findall(text)) > len(han)


def _is_simplified(character: str) -> bool:
    return _encodes(character, "gb2312") and not _encodes(character, "big5")


def _is_traditional(character: str) -> bool:
    if character in TRADITIONAL_TOO:
        return True
    return _encodes(character, "big5") and not _encodes(character, "gb2312")


def _encodes(character: str, standard: str) -> bool:
    """GB 2312 and Big5 list the characters that each script's readers write."""
    try:
        character.encode(standard)
    except UnicodeEncodeError:
        return False
    return True
