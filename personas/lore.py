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
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast

from data.search import Bm25, tokens
from data.stopwords import FUNCTION, NUMERALS, STOP, is_sum
from personas.errors import PersonaBroken

__all__ = ["Fact", "FactKind", "Lore", "Section", "parse_lore", "read_lore"]

FactKind = Literal["year", "number", "name", "place"]

KINDS = ("year", "number", "name", "place")
LANGS = ("zh-CN", "zh-TW", "en")
NEVER_WRONG = "never-wrong"
SLUG = r"[a-z][a-z0-9_]*"
# A key says more of a section than a word in its text.
KEY_WEIGHT = 2
# A section with many keys is long because it is well described, not because it is about much.
LENGTH_WEIGHT = 0.2
# In units of what the rarest word scores: a key of the question's own words passes the floor alone …
KEY_BONUS = 1.1
# Numbers of sums find nothing; a year may.
YEAR_DIGITS = 4
# … and one word shared with the running text does not. Set by questions of our own, not by any probe.
FLOOR = 1.06
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

    def nearest(self, question: str, lang: str, *, limit: int = 2, before: str = "") -> tuple[Section, ...]:
        """The sections that a question is about, best first; none for small talk.

        Args:
            question: as the person wrote it.
            lang: the language it will be shown in; every section has all three.
            limit: at most so many.
            before: what was said before, where it counts as much as the question.
        """
        del lang  # every script is indexed, and every section has every language
        if is_sum(question):
            return ()
        text = f"{question}\n{before}"
        query = [token for token in _telling(tokens(text)) if token not in self._common]
        scores = self._index.scores(query)
        asked = text.lower()
        unit = self._index.rarity()
        for index, section in enumerate(self.sections):
            scores[index] = scores.get(index, 0.0) + unit * self._key_bonus(section, asked)
        best = sorted(scores.items(), key=lambda entry: (-entry[1], entry[0]))[:limit]
        floor = max(FLOOR * unit, SECOND_SHARE * best[0][1]) if best else 0.0
        return tuple(self.sections[index] for index, score in best if score >= floor)

    def section(self, slug: str) -> Section | None:
        return next((section for section in self.sections if section.slug == slug), None)

    def _key_bonus(self, section: Section, asked: str) -> float:
        """What the longest key adds that stands in the question: a name says more than its pieces."""
        lengths = [self._key_length(key) for key in section.keys if _contains(asked, key.lower())]
        return KEY_BONUS * max(lengths, default=0)

    def _key_length(self, key: str) -> int:
        terms = tokens(key)
        if self._common.issuperset(terms):
            return 0  # the persona's own name, by which it is addressed
        return max(1, len(_telling(terms)))


def read_lore(path: Path) -> Lore:
    """Reads a persona's ``lore.md``.

    Raises:
        PersonaBroken: naming file, line and remedy.
    """
    try:
        return parse_lore(path.read_text(encoding="utf-8"), path.name)
    except FileNotFoundError as error:
        raise PersonaBroken(f"{path.parent} has no {path.name}; add it, if only an empty one.") from error
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
            draft = _Draft(_slug(line.removeprefix("## ").strip(), f"{name}, line {number}"), number)
        elif draft is None and line.startswith("common:"):
            common += tokens(line.removeprefix("common:"))
        elif not line or line.startswith("# "):
            continue
        elif draft is None:
            raise PersonaBroken(
                f"{name}, line {number}: {line!r} is in no section; begin one with '## slug'."
            )
        else:
            draft.take(line, f"{name}, line {number}")
    if draft is not None:
        sections.append(draft.finish(name))
    _unique(name, "sections", [section.slug for section in sections])
    _unique(name, "facts", [fact.id for section in sections for fact in section.facts])
    index = Bm25((_terms(section) for section in sections), b=LENGTH_WEIGHT)
    return Lore(tuple(sections), frozenset(common), index)


def _slug(text: str, where: str) -> str:
    if not re.fullmatch(SLUG, text):
        raise PersonaBroken(
            f"{where}: {text!r} cannot name a section; use lower-case letters, digits and _, a letter first."
        )
    return text


def _unique(name: str, what: str, names: Sequence[str]) -> None:
    twice = next((one for one, times in Counter(names).items() if times > 1), None)
    if twice is not None:
        raise PersonaBroken(f"{name} has two {what} called {twice}; rename one.")


def _contains(text: str, key: str) -> bool:
    # Han text has no word borders; between Latin letters there must be one ("ron" is not in "wrong").
    if key not in text or not key.isascii():
        return key in text
    return re.search(rf"(?<![a-z0-9]){re.escape(key)}(?![a-z0-9])", text) is not None


def _telling(terms: Iterable[str]) -> list[str]:
    """Without words of small talk, Han pairs with a grammatical character, and numbers of sums."""
    return [
        term
        for term in terms
        if term not in STOP
        and not FUNCTION.intersection(term)
        and not NUMERALS.issuperset(term)
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
        if (head == "keys" and self.keys) or head in self.texts:
            raise PersonaBroken(f"{where}: section {self.slug} has a second {head!r} line; join the two.")
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
