"""A persona's lore: short sections of facts, found for a question by BM25.

``lore.md``::

    common: Hogwarts, 霍格沃茨

    ## wand
    keys: wand, 魔杖
    zh-CN: 我的魔杖是冬青木的……
    zh-TW: 我的魔杖是冬青木的……
    en: My wand is holly …
    fact: wand.wood | name | zh-CN: 冬青; zh-TW: 冬青; en: holly | never-wrong

``common`` are words of the whole world, which say nothing of one section. A fact's accepted forms are
divided by ``/``. A section is found by its keys and its text in any script,
so that a question in Traditional characters finds what is keyed in Simplified ones; it is shown in the asked.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast

from data.search import Bm25, tokens
from personas.errors import PersonaBroken

__all__ = ["Fact", "FactKind", "Lore", "Section", "parse_lore", "read_lore"]

FactKind = Literal["year", "number", "name", "place"]

KINDS = ("year", "number", "name", "place")
LANGS = ("zh-CN", "zh-TW", "en")
NEVER_WRONG = "never-wrong"
# Words of questions and small talk: they find nothing, and must not.
ENGLISH_STOP = (
    "good later see "
    "a about and any are at be by can could did do does for from had has have hello hey hi how i in is it "
    "know like me mean more much my of ok on one or our please really say so tell than thank thanks that the "
    "their them then there they thing think this time to too u up us very was we well were what whats when "
    "where which who whos why will with would yeah yes you your im dont its id ll ve re s t d name called"
)
CHINESE_STOP = (
    "什么 甚麼 什麼 是谁 是誰 你的 你是 我的 我是 我想 知道 "
    "怎么 怎麼 为什 為什 告诉 告訴 诉我 訴我 一下 可以 请问 "
    "請問 哪里 哪裡 多少 几个 幾個 一个 一個 有没 有沒 没有 "
    "沒有 说说 說說 这个 這個 那个 那個 是不 不是 你好 谢谢 "
    "謝謝 再见 再見 晚安 今天 现在 現在 觉得 覺得 喜欢 喜歡 "
    "么样 麼樣 叫什 是什 了吗 了嗎 的吗 的嗎 你觉 你覺 你喜 "
    "你知 你会 你會 会不 會不 能不 不能 讲讲 講講 介绍 介紹 "
    "绍一 紹一 讲一 說一 说一 跟我 给我 "
)
STOP = frozenset(f"{ENGLISH_STOP} {CHINESE_STOP}".split())
# Characters of grammar: a pair with one of them was cut across two words.
FUNCTION = frozenset("的了吗呢吧呀啊么是你我他她它们在有和与跟很都也就还不没嗎麼們與還沒這那这")
# A key says more of a section than a word in its text.
KEY_WEIGHT = 2
# A section with many keys is long because it is well described, not because it is about much.
LENGTH_WEIGHT = 0.2
KEY_BONUS = 3.0
# Numbers of sums find nothing; a year may.
YEAR_DIGITS = 4
# Below it only a chance word was shared; fitted by eye on questions of our own, not on any probe.
FLOOR = 3.2
# A second section comes along only when it is nearly as good as the first.
SECOND_SHARE = 0.6


@dataclass(frozen=True, slots=True)
class Fact:
    """One checkable fact: ``forms`` are what a reply may call it, per language."""

    id: str
    kind: FactKind
    forms: Mapping[str, tuple[str, ...]]
    never_wrong: bool


@dataclass(frozen=True, slots=True)
class Section:
    slug: str
    keys: tuple[str, ...]
    texts: Mapping[str, str]
    facts: tuple[Fact, ...]

    def text(self, lang: str) -> str:
        return self.texts[lang]


@dataclass(frozen=True, slots=True)
class Lore:
    """All sections of a persona, and the index over them."""

    sections: tuple[Section, ...]
    _common: frozenset[str] = field(repr=False)
    _index: Bm25 = field(repr=False, compare=False)

    def nearest(self, question: str, lang: str, *, limit: int = 2) -> tuple[Section, ...]:
        """The sections that a question is about, best first; none for small talk.

        Args:
            question: as the person wrote it.
            lang: the language it will be shown in; every section has all three.
            limit: at most so many.
        """
        del lang  # every script is indexed, and every section has every language
        query = [token for token in _telling(tokens(question)) if token not in self._common]
        scores = self._index.scores(query)
        asked = question.lower()
        for index, section in enumerate(self.sections):
            scores[index] = scores.get(index, 0.0) + _key_bonus(section, asked)
        best = sorted(scores.items(), key=lambda entry: (-entry[1], entry[0]))[:limit]
        floor = max(FLOOR, SECOND_SHARE * best[0][1]) if best else FLOOR
        return tuple(self.sections[index] for index, score in best if score >= floor)

    def section(self, slug: str) -> Section | None:
        return next((section for section in self.sections if section.slug == slug), None)


def read_lore(path: Path) -> Lore:
    """Reads a persona's ``lore.md``.

    Raises:
        PersonaBroken: naming file, line and remedy.
    """
    try:
        return parse_lore(path.read_text(encoding="utf-8"), path.name)
    except (OSError, UnicodeDecodeError) as error:
        raise PersonaBroken(f"{path} cannot be read: {error}.") from error


def parse_lore(text: str, name: str = "lore.md") -> Lore:
    """Parses the text of a lore file; see the module's docstring for its form."""
    sections: list[Section] = []
    common: list[str] = []
    draft: _Draft | None = None
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if line.startswith("## "):
            if draft is not None:
                sections.append(draft.finish(name))
            draft = _Draft(line.removeprefix("## ").strip(), number)
        elif draft is None and line.startswith("common:"):
            common += tokens(line.removeprefix("common:"))
        elif draft is not None and line and not line.startswith("# "):
            draft.take(line, f"{name}, line {number}")
    if draft is not None:
        sections.append(draft.finish(name))
    slugs = [section.slug for section in sections]
    twice = next((slug for slug in slugs if slugs.count(slug) > 1), None)
    if twice is not None:
        raise PersonaBroken(f"{name} has two sections called {twice}; rename one.")
    return Lore(
        tuple(sections), frozenset(common), Bm25((_terms(section) for section in sections), b=LENGTH_WEIGHT)
    )


def _key_bonus(section: Section, asked: str) -> float:
    """What the longest key adds that stands in the question as it is: a name says more than its pieces."""
    lengths = [len(tokens(key)) for key in section.keys if _contains(asked, key.lower())]
    return KEY_BONUS * max(lengths, default=0)


def _contains(text: str, key: str) -> bool:
    # Han text has no word borders; between Latin letters there must be one ("ron" is not in "wrong").
    if not key.isascii():
        return key in text
    return re.search(rf"(?<![a-z0-9]){re.escape(key)}(?![a-z0-9])", text) is not None


def _telling(terms: Iterable[str]) -> list[str]:
    """Without words of small talk, Han pairs with a grammatical character, and numbers of sums."""
    return [
        term
        for term in terms
        if term not in STOP
        and not FUNCTION.intersection(term)
        and not (term.isdigit() and len(term) < YEAR_DIGITS)
    ]


def _terms(section: Section) -> list[str]:
    keys = [token for key in section.keys for token in tokens(key)] + tokens(section.slug.replace("_", " "))
    texts = [token for lang in LANGS for token in tokens(section.texts[lang])]
    return _telling(keys * KEY_WEIGHT + texts)


@dataclass(slots=True)
class _Draft:
    slug: str
    line: int
    keys: tuple[str, ...] = ()
    texts: dict[str, str] = field(default_factory=dict)
    facts: list[Fact] = field(default_factory=list)

    def take(self, line: str, where: str) -> None:
        head, colon, rest = line.partition(":")
        if not colon or not rest.strip():
            raise PersonaBroken(f"{where}: {line!r} is not 'keys:', a language or 'fact:'; correct the line.")
        if head == "keys":
            self.keys = tuple(key.strip() for key in rest.split(",") if key.strip())
        elif head in LANGS:
            self.texts[head] = rest.strip()
        elif head == "fact":
            self.facts.append(_fact(rest, where))
        else:
            raise PersonaBroken(f"{where}: unknown key {head!r}; use keys, fact or {', '.join(LANGS)}.")

    def finish(self, name: str) -> Section:
        missing = [lang for lang in LANGS if lang not in self.texts]
        if missing:
            raise PersonaBroken(
                f"{name}, line {self.line}: section {self.slug} lacks {', '.join(missing)}; add the line."
            )
        return Section(self.slug, self.keys, self.texts, tuple(self.facts))


def _fact(rest: str, where: str) -> Fact:
    cells: Sequence[str] = [cell.strip() for cell in rest.split("|")]
    least, most = 3, 4
    if not least <= len(cells) <= most or cells[1] not in KINDS or (cells[3:] not in ([], [NEVER_WRONG])):
        raise PersonaBroken(
            f"{where}: a fact is 'id | {'/'.join(KINDS)} | lang: form / form; … | never-wrong'; correct it."
        )
    forms = {}
    for part in cells[2].split(";"):
        lang, _, text = part.partition(":")
        if lang.strip() not in LANGS or not text.strip():
            raise PersonaBroken(f"{where}: {part.strip()!r} must be a language and its forms; correct it.")
        forms[lang.strip()] = tuple(form.strip() for form in text.split("/") if form.strip())
    return Fact(cells[0], cast("FactKind", cells[1]), forms, never_wrong=len(cells) == most)
