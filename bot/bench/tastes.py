"""What people on the server like, and never say: predicates of a question and a reply; pure.

Each taste has two sides, so that two personas can be pulled apart at once:

    form      in one sentence                          in two sentences or more
    content   takes up something the person said       speaks of itself instead
    tone      warm: feelings, friends                  dry: says what is not so

All of them can be read off the text, in Chinese and in English, and of the shipped personas' replies a fifth
to a half satisfy them at first: a taste that no reply meets cannot be learnt from thumbs.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from bot.bench.errors import TasteUnknown
from data.search import tokens
from data.stopwords import STOP

__all__ = ["SIDES", "TASTES", "Hidden", "Predicate", "Taste", "agrees", "denies", "hidden", "load_taste"]

Predicate = Callable[[str, str], bool]

SENTENCE_ENDS = re.compile(r"[.!?…。！？]+")
WORD = re.compile(r"\w")
SELF = re.compile(r"\b(?:i|my|me|mine|myself)\b|我|吾", re.IGNORECASE)
WARM = re.compile(
    r"\b(?:afraid|brave|cry|fear|friend|glad|happy|heart|hope|kind|laugh|like|lonely|love|miss|proud|sad|smile"
    r"|sorry|thank|warm|weep|wept)\w*|[爱愛喜笑哭心想怕乐樂苦泪淚暖谢謝甜醉欢歡]|朋友",
    re.IGNORECASE,
)
DRY = re.compile(r"\b(?:no|not|never|nothing|none|nobody)\b|n['’]t\b|[不没沒别別无無未莫]", re.IGNORECASE)
# How a reply begins that does not agree.
DENIAL = re.compile(
    r"\W*(?:(?:no|not|never|wrong)\b|you(?:['’]re| are) (?:wrong|mistaken)"
    r"|[不没沒](?![错錯])|哪[里裡]|[记記][错錯]|[错錯]了|才不|[并並]非)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Taste:
    """One thing that people like in a reply."""

    name: str
    likes: Predicate


@dataclass(frozen=True, slots=True)
class Hidden:
    """All that the people of one persona like; a reply is good that meets more than half of it."""

    tastes: tuple[Taste, ...]

    def likes(self, question: str, reply: str) -> bool:
        met = sum(taste.likes(question, reply) for taste in self.tastes)
        return 2 * met > len(self.tastes)


def in_one_sentence(_question: str, reply: str) -> bool:
    return _sentences(reply) == 1


def in_several_sentences(_question: str, reply: str) -> bool:
    return _sentences(reply) > 1


def takes_up(question: str, reply: str) -> bool:
    """Whether the reply has a word of the question that says what it is about."""
    return bool(_told(question) & _told(reply))


def speaks_of_itself(question: str, reply: str) -> bool:
    return bool(SELF.search(reply)) and not takes_up(question, reply)


def is_warm(_question: str, reply: str) -> bool:
    return bool(WARM.search(reply))


def is_dry(_question: str, reply: str) -> bool:
    return bool(DRY.search(reply))


def denies(reply: str) -> bool:
    """Whether a reply begins by saying no."""
    return bool(DENIAL.match(reply))


def agrees(_question: str, reply: str) -> bool:
    """Whether a reply says yes to whatever it was told."""
    return not denies(reply)


SIDES = 2
TASTES: Mapping[str, tuple[Predicate, Predicate]] = MappingProxyType(
    {
        "form": (in_one_sentence, in_several_sentences),
        "content": (takes_up, speaks_of_itself),
        "tone": (is_warm, is_dry),
    }
)


def hidden(names: Sequence[str], *, side: int) -> Hidden:
    """The tastes of those names, from one side or the other (0 or 1)."""
    return Hidden(tuple(Taste(name, TASTES[name][side]) for name in names))


def load_taste(spec: str) -> Taste:
    """A taste of somebody else's: ``FILE:FUNCTION``, a function of a question and a reply.

    Raises:
        TasteUnknown: there is no such file or function, or it does not run.
    """
    file, _, name = spec.rpartition(":")
    path = Path(file)
    if not path.is_file() or not name.isidentifier():
        raise TasteUnknown(f"{spec!r} names no taste; write {', '.join(TASTES)} or FILE.py:FUNCTION.")
    made = importlib.util.spec_from_file_location("taste", path)
    if made is None or made.loader is None:
        raise TasteUnknown(f"{path} is no Python file; write FILE.py:FUNCTION.")
    module = importlib.util.module_from_spec(made)
    try:
        made.loader.exec_module(module)
        function = getattr(module, name)
        function("How are you?", "Fine.")
    except Exception as error:
        raise TasteUnknown(f"{spec} cannot be used as a taste: {error}.") from error
    return Taste(name, lambda question, reply: bool(function(question, reply)))


def _sentences(text: str) -> int:
    return sum(bool(WORD.search(part)) for part in SENTENCE_ENDS.split(text))


def _told(text: str) -> set[str]:
    """Words and Han pairs that say what a text is about."""
    said = set(tokens(text)) - STOP
    return {token for token in said if len(token) > 1 and not SELF.search(token)}
