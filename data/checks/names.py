"""Names in answers that nobody told the persona: capitalised words, 《titles》, names with a point; pure.

A name is known when the persona's own text (card, lore, aliases) holds it, when a row about another topic
does, or when the row was told it. One that the question brought up may be repeated by an answer which says
that it is not known. Chinese names without a point are not seen: nothing marks them.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator

from data.checks.rows import Row

__all__ = ["Known", "unknown_names"]

TITLE = re.compile("《([^《》]{1,30})》")
POINTED = re.compile("[\u4e00-\u9fff]{1,6}(?:[·・•][\u4e00-\u9fff]{1,6}){1,3}")
POINT = re.compile("[·・•]")
# So far back a sentence's end is looked for.
CLOSE = 6
WORD = re.compile(r"[A-Za-z][A-Za-z'’-]*")
SENTENCE_START = re.compile(r"(?:^|[.!?:…\"“”‘(\n—]|\s['’])\s*$")
NOT_KNOWN = re.compile(
    r"\b(?:never (?:heard|met|read|seen|wrote|knew)|don['’]t (?:know|recall|think|recogni[sz]e)"
    r"|no|not (?:know|one|mine|any)|nobody|means nothing|can['’]t (?:place|say|tell)|unknown"
    r"|(?:does|is|was|did)n['’]t)\b"
    "|不认识|不認識|不知|没听|沒聽|没有|沒有|未曾|不曾|没见|沒見|未闻|未聞|陌生|不记得|不記得|不是|没这|沒這"
    "|未听|未聽|没写|沒寫|哪有|编|編|不熟|不识|不識|没读|沒讀|没印象|沒印象|并无|並無|没去|沒去|无此|無此",
    re.IGNORECASE,
)
SHORTEST_STEM = 4
# Whoever speaks of themselves brings names that the persona may take up.
INTRODUCES = re.compile(r"\b(?:I|I['’]?m|my|me|we|our|name|named|called)\b|我|在下|叫做", re.IGNORECASE)
POSSESSIVE = re.compile(r"['’](?:s|ll|d|re|ve|m|t)?$")


class Known:
    """What is known: the persona's text, and by name the topics whose rows hold it."""

    def __init__(self, text: str, rows: Iterable[Row]) -> None:
        self._text = text.casefold()
        self._words = {_plain(word) for word in WORD.findall(text)}
        self._topics: defaultdict[str, set[str]] = defaultdict(set)
        for row in rows:
            said = f"{row.asked}\n{row.replies}"
            for word in WORD.findall(said):
                self._topics[_plain(word)].add(row.topic)
                if word.islower():
                    self._words.add(_plain(word))
            for name in _marked(said):
                self._topics[name].add(row.topic)

    def has_word(self, word: str, topic: str | None) -> bool:
        word = _plain(word)
        if word in self._words or self._is_elsewhere(word, topic):
            return True
        return "-" in word and all(self.has_word(part, topic) for part in word.split("-") if part)

    def has_name(self, name: str, topic: str | None) -> bool:
        return name.casefold() in self._text or self._is_elsewhere(name, topic)

    def _is_elsewhere(self, name: str, topic: str | None) -> bool:
        """Whether a row of the project holds it, of another topic than ``topic``."""
        return bool(self._topics.get(name, set()) - {topic})


def unknown_names(row: Row, known: Known, *, is_ours: bool) -> list[str]:
    """The names in a row's answers that are known from nowhere.

    Args:
        row: the row.
        known: what is known.
        is_ours: the row is one of the project's, so that its own topic vouches for nothing.
    """
    topic = row.topic if is_ours else None
    found = [name for name in _marked(row.replies) if not known.has_name(name, topic)]
    found += [word for word in _capitalised(row.replies) if not known.has_word(word, topic)]
    told = row.told.casefold()
    says_unknown = NOT_KNOWN.search(row.replies) is not None
    asked = "\n".join(
        question for question, _ in row.turns if says_unknown or INTRODUCES.search(question)
    ).casefold()
    return [name for name in dict.fromkeys(found) if _plain(name) not in told and _plain(name) not in asked]


def _marked(text: str) -> Iterator[str]:
    """《Titles》 and names with a point, as they stand."""
    yield from (found[1].strip() for found in TITLE.finditer(text))
    for found in POINTED.finditer(TITLE.sub(" ", text)):
        left, right = POINT.split(found[0])[:2]
        # Where the name begins and ends in running text nothing says: two characters each side tell it.
        yield f"{left[-2:]}·{right[:2]}"


def _capitalised(text: str) -> Iterator[str]:
    """Capitalised words that do not stand at the start of a sentence, where every word is one."""
    for found in WORD.finditer(text):
        word = POSSESSIVE.sub("", found[0])
        before = text[max(0, found.start() - CLOSE) : found.start()]
        if len(word) > 1 and word[0].isupper() and not SENTENCE_START.search(before):
            yield word


def _plain(word: str) -> str:
    word = POSSESSIVE.sub("", word).casefold()
    return word[:-1] if len(word) >= SHORTEST_STEM and word.endswith("s") else word
