"""Who looks at the page: a random cookie, and the language that they read.

The store and the logs know a visitor by a digest of the cookie: who reads them cannot take a session over.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from functools import cached_property

from starlette.requests import Request
from starlette.responses import Response

from bot.platform import Place
from data.script import LANGS, Lang, lang_of

__all__ = ["Visitor", "is_from_elsewhere", "remember", "remember_lang", "visitor_of"]

SESSION_COOKIE = "troupe_session"
LANG_COOKIE = "troupe_lang"
HALF_A_YEAR_S = 180 * 24 * 3600
TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")


@dataclass(frozen=True)
class Visitor:
    """``is_known`` is false for somebody whose cookie is only being set."""

    token: str
    lang: Lang
    is_known: bool

    @cached_property
    def session(self) -> str:
        """The visitor's id, in the store too."""
        return hashlib.sha256(f"session:{self.token}".encode()).hexdigest()[:32]

    @cached_property
    def csrf(self) -> str:
        return hmac.new(self.token.encode(), b"csrf", hashlib.sha256).hexdigest()

    def place(self, persona: str) -> Place:
        return Place("web", self.session, thread=persona)

    def sent(self, request: Request) -> bool:
        """Whether the request comes from a page of ours that this visitor opened."""
        origin = request.headers.get("origin")
        host = request.headers.get("host", "")
        if origin is not None and origin.partition("://")[2] != host:
            return False
        token = request.headers.get("x-csrf-token", "")
        return self.is_known and hmac.compare_digest(token.encode(), self.csrf.encode())


def visitor_of(request: Request) -> Visitor:
    token = request.cookies.get(SESSION_COOKIE, "")
    known = TOKEN.fullmatch(token) is not None
    return Visitor(token if known else secrets.token_urlsafe(32), _lang(request), known)


def remember(visitor: Visitor, request: Request, response: Response) -> None:
    """Sets the session's cookie, again on each page so that it does not run out in use."""
    _cookie(response, request, SESSION_COOKIE, visitor.token)


def remember_lang(lang: Lang, request: Request, response: Response) -> None:
    _cookie(response, request, LANG_COOKIE, lang)


def is_from_elsewhere(request: Request) -> bool:
    """Whether a link on another site led here: the browser then holds a strict cookie back."""
    return request.headers.get("sec-fetch-site") == "cross-site"


def _cookie(response: Response, request: Request, name: str, value: str) -> None:
    response.set_cookie(
        name,
        value,
        max_age=HALF_A_YEAR_S,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )


def _lang(request: Request) -> Lang:
    chosen = request.cookies.get(LANG_COOKIE)
    for lang in LANGS:
        if chosen == lang:
            return lang
    return _accepted(request.headers.get("accept-language", ""))


def _accepted(header: str) -> Lang:
    """The first of our languages that the browser asks for; English where it asks for none of them."""
    wishes = []
    for entry in header.split(",")[:20]:
        tag, _, weight = entry.partition(";q=")
        wishes.append((-_weight(weight), tag.strip().lower()))
    for _, tag in sorted(wishes, key=lambda wish: wish[0]):
        if tag.split("-")[0] in {"en", "zh", "yue", "cmn"}:
            return lang_of(tag) or "en"
    return "en"


def _weight(text: str) -> float:
    try:
        return float(text) if text else 1.0
    except ValueError:
        return 0.0
