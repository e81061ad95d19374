"""The moderators' page: replies judged one after the other, by keyboard, at the machine itself.

Whoever sits there is the operator and moderates; for anybody else there is no such page. "There" means that
the server listens on loopback alone, that the request came over it and under its name (which a page of
another site cannot fake), and that no proxy says it passed something on.
"""

from __future__ import annotations

import ipaddress
import re
import secrets
from typing import Any
from urllib.parse import urlsplit

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse, Response

from bot.moderators import OPERATOR
from bot.platform import Command, Core, Place, Press
from bot.web.page import Pages
from bot.web.routes import Refusal
from bot.web.visitor import Visitor, is_from_elsewhere, remember, visitor_of

__all__ = ["ReviewPage", "is_operator"]

PLACE = Place("web", "review")
PRESS = re.compile(r"review:\w{1,40}:[a-z]{1,10}(?::\w{1,40})?|consent:(?:yes|no|vote)", re.ASCII)
LONGEST_REWRITE = 4000
LONGEST_NAME = 80
# Any of them means that somebody else asked, elsewhere.
PASSED_ON = (
    "forwarded",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-real-ip",
    "cf-connecting-ip",
)


class ReviewPage:
    """The routes over one core; ``host`` is the address that the server listens on."""

    def __init__(self, core: Core, pages: Pages, host: str) -> None:
        self._core = core
        self._pages = pages
        self._host = host

    def router(self) -> APIRouter:
        router = APIRouter(dependencies=[Depends(self.by_operator)])
        router.get("/review", response_class=HTMLResponse)(self.show)
        router.post("/review/press", dependencies=[Depends(self.sent_by_us)])(self.press)
        return router

    def by_operator(self, request: Request) -> None:
        if not is_operator(request, self._host):
            raise Refusal(404, "no_page")

    def sent_by_us(self, request: Request) -> None:
        if not visitor_of(request).sent(request):
            raise Refusal(403, "stale")

    async def show(self, request: Request, persona: str = "") -> Response:
        """The page; ``persona`` names one whose replies alone are wanted."""
        visitor = visitor_of(request)
        if is_from_elsewhere(request):
            return HTMLResponse(self._pages.entering(visitor.lang))
        asked = Command(name="review", message_id=_id(), argument=persona[:LONGEST_NAME], **_who(visitor))
        html = self._pages.review(visitor, await self._core.command(asked))
        answer = HTMLResponse(html, headers={"Vary": "Accept-Language, Cookie"})
        remember(visitor, request, answer)
        return answer

    async def press(self, request: Request) -> Response:
        visitor = visitor_of(request)
        form = await request.form()
        data, text = str(form.get("data", "")), str(form.get("text", ""))[:LONGEST_REWRITE]
        if not PRESS.fullmatch(data):
            raise Refusal(400, "wrong_press")
        outcome = await self._core.press(Press(data=data, press_id=_id(), text=text, **_who(visitor)))
        if data.startswith("consent:"):
            return HTMLResponse(self._pages.thanks(visitor.lang, outcome.text))
        if outcome.ask is not None:
            # The same words again are no rewrite: the card stays.
            headers = {"HX-Retarget": "#notice", "HX-Reswap": "innerHTML"}
            return HTMLResponse(self._pages.notice(visitor.lang, outcome.text), headers=headers)
        return HTMLResponse(self._pages.reviewed(visitor.lang, outcome))


def is_operator(request: Request, host: str) -> bool:
    """Whether who asks sits at the machine that listens on ``host``."""
    client = "" if request.client is None else request.client.host
    # Not the request's own address, which is the server's where no name was asked for.
    name = urlsplit(f"//{request.headers.get('host', '')}").hostname or ""
    is_near = all(map(_is_loopback, (host, client, name)))
    return is_near and not any(header in request.headers for header in PASSED_ON)


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _who(visitor: Visitor) -> dict[str, Any]:
    return {
        "place": PLACE,
        "user": OPERATOR,
        "is_direct": True,
        "lang_hint": visitor.lang,
        "roles": (OPERATOR,),
    }


def _id() -> str:
    return secrets.token_urlsafe(12)
