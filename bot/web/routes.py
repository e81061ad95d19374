"""The page's routes: who may ask for what, and what the core is told.

A page is rendered once; from then on it follows its room by server-sent events, whose data are HTML
fragments that replace their like by id. Answers to clicks carry only what concerns the clicking tab.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import AsyncIterator

from fastapi import Depends, FastAPI, Request
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, Response
from fastapi.sse import EventSourceResponse, ServerSentEvent
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from bot.platform import Command, Core, Incoming, Press, VoteOutcome
from bot.privacy import TAG
from bot.sentences import REASONS, sentence
from bot.web.metrics import WebMetrics
from bot.web.page import HERE, Pages
from bot.web.room import Mark, Room, Rooms
from bot.web.shield import LARGEST_BODY_BYTES, Shield
from bot.web.visitor import Visitor, is_from_elsewhere, remember, remember_lang, visitor_of
from bot.web.words import words
from data.script import LANGS
from personas.errors import PersonaUnknown
from personas.loader import Cast, Persona

__all__ = ["MOST_CHARACTERS", "Refusal", "Site"]

MOST_CHARACTERS = 8_000
LONGEST_REASON = 500
KEY = re.compile(r"[A-Za-z0-9_-]{8,64}")
VOTE = re.compile(r"vote:(?P<reply>\w{1,40}):(?P<thumb>[ud])", re.ASCII)
WHY = re.compile(rf"why:(?P<reply>\w{{1,40}}):(?:{'|'.join(REASONS)})", re.ASCII)
CONSENT = re.compile(r"consent:(?:yes|no|vote)")
FORGET = re.compile(rf"forget:(?:everything|keep):[0-9a-f]{{{TAG}}}")
# How soon a tab asks again after the connection broke.
COME_BACK_MS = 1000
A_DAY_S = 24 * 3600
A_YEAR_S = 365 * A_DAY_S


class Refusal(Exception):
    """The page will not do that; ``word`` names the sentence that says why."""

    def __init__(self, status: int, word: str) -> None:
        super().__init__(word)
        self.status = status
        self.word = word


class Site:
    """The routes over one core, one cast and the rooms that the port fills."""

    def __init__(self, core: Core, cast: Cast, rooms: Rooms, pages: Pages, metrics: WebMetrics) -> None:
        self._core = core
        self._cast = cast
        self._rooms = rooms
        self._pages = pages
        self._metrics = metrics

    def app(self) -> FastAPI:
        app = FastAPI(
            title="troupe",
            docs_url=None,
            redoc_url=None,
            openapi_url=None,
            max_body_size=LARGEST_BODY_BYTES,
        )
        app.add_middleware(Shield, metrics=self._metrics, too_large=self._too_large)
        app.add_exception_handler(Refusal, self._refused)
        app.add_exception_handler(HTTPException, self._refused)
        app.add_exception_handler(Exception, self._refused)
        app.mount("/static", _Static(directory=HERE / "static"))
        app.get("/", response_class=HTMLResponse)(self.cast)
        app.get("/chat/{slug}", response_class=HTMLResponse)(self.chat)
        app.get(
            "/chat/{slug}/events",
            response_class=EventSourceResponse,
            dependencies=[Depends(self.known), Depends(self.persona)],
        )(self.events)
        writes = [Depends(self.sent_by_us)]
        app.post("/chat/{slug}/messages", dependencies=writes)(self.message)
        app.post("/chat/{slug}/press", dependencies=writes)(self.press)
        app.post("/chat/{slug}/reset", dependencies=writes)(self.reset)
        app.post("/chat/{slug}/privacy", dependencies=writes)(self.privacy)
        app.post("/chat/{slug}/forget", dependencies=writes)(self.forget)
        app.post("/language", dependencies=writes)(self.language)
        app.get("/avatar/{slug}.png")(self.avatar)
        app.get("/health")(self.health)
        app.get("/metrics")(self.scrape)
        return app

    # Who asks.

    def known(self, request: Request) -> Visitor:
        """A visitor whose cookie is there; streams and clicks are for nobody else."""
        visitor = visitor_of(request)
        if not visitor.is_known:
            raise Refusal(403, "stale")
        return visitor

    def sent_by_us(self, request: Request) -> None:
        if not visitor_of(request).sent(request):
            raise Refusal(403, "stale")

    def persona(self, slug: str) -> Persona:
        try:
            return self._cast[slug]
        except PersonaUnknown as error:
            raise Refusal(404, "no_persona") from error

    # What they see.

    async def cast(self, request: Request) -> Response:
        visitor = visitor_of(request)
        if is_from_elsewhere(request):
            return HTMLResponse(self._pages.entering(visitor.lang))
        return self._page(request, visitor, self._pages.cast(visitor))

    async def chat(self, slug: str, request: Request) -> Response:
        visitor, persona = visitor_of(request), self.persona(slug)
        if is_from_elsewhere(request):
            return HTMLResponse(self._pages.entering(visitor.lang))
        room = await self._room(visitor, persona)
        return self._page(request, visitor, self._pages.chat(visitor, persona, room, key=_key()))

    async def events(self, slug: str, request: Request, seen: str = "") -> AsyncIterator[ServerSentEvent]:
        visitor, persona = visitor_of(request), self._cast[slug]
        room = await self._room(visitor, persona)
        mark = Mark.read(request.headers.get("last-event-id", seen))
        room.followers += 1
        try:
            with self._metrics.streams.track_inprogress():
                yield ServerSentEvent(retry=COME_BACK_MS)
                while not room.is_closed:
                    html = self._pages.news(visitor.lang, persona, room, mark)
                    mark = room.mark
                    if html:
                        yield ServerSentEvent(event="news", raw_data=html, id=str(mark))
                    await room.wait(mark)
        finally:
            room.followers -= 1

    async def avatar(self, slug: str) -> Response:
        picture = self.persona(slug).folder / "avatar.png"
        if not picture.is_file():
            raise Refusal(404, "no_page")
        return FileResponse(picture, headers={"Cache-Control": f"public, max-age={A_DAY_S}"})

    async def health(self) -> Response:
        return JSONResponse({"status": "ok"})

    async def scrape(self) -> Response:
        return Response(self._metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    # What they do.

    async def message(self, slug: str, request: Request) -> Response:
        visitor, persona = visitor_of(request), self.persona(slug)
        form = await request.form()
        text, key = str(form.get("text", "")), str(form.get("key", ""))
        if not text.strip():
            return self._not_sent(visitor, sentence("empty", visitor.lang))
        if len(text) > MOST_CHARACTERS:
            return self._not_sent(visitor, sentence("too_long", visitor.lang, most=MOST_CHARACTERS))
        if not KEY.fullmatch(key):
            raise Refusal(400, "stale")
        room = await self._room(visitor, persona)
        # Shown first: the reply may come before `receive` returns.
        is_new = room.ask(key, text)
        try:
            await self._core.receive([_incoming(visitor, persona, key, text)])
        except Exception:
            if is_new:
                room.withdraw(key)
            raise
        answer = HTMLResponse(self._pages.sent(visitor.lang, "", _key()))
        answer.headers["HX-Trigger"] = "accepted"
        return answer

    async def press(self, slug: str, request: Request) -> Response:
        visitor, persona = visitor_of(request), self.persona(slug)
        form = await request.form()
        data, text = str(form.get("data", "")), str(form.get("text", ""))[:LONGEST_REASON].strip()
        room = await self._room(visitor, persona)
        vote, why = VOTE.fullmatch(data), WHY.fullmatch(data)
        if not (vote or why or CONSENT.fullmatch(data) or FORGET.fullmatch(data)):
            raise Refusal(400, "wrong_press")
        found = vote or why
        if found and room.reply(found["reply"]) is None:
            # Somebody else's reply, or one of a conversation that is over.
            return self._thanks(visitor, sentence("no_reply", visitor.lang))
        outcome = await self._core.press(_press(visitor, persona, data, text))
        if vote:
            return self._voted(visitor, persona, room, vote, outcome)
        if outcome.is_forgotten:
            for one in self._cast.personas:
                self._rooms[visitor.place(one)].clear()
        return self._thanks(visitor, outcome.text)

    async def reset(self, slug: str, request: Request) -> Response:
        visitor, persona = visitor_of(request), self.persona(slug)
        room = await self._room(visitor, persona)
        outcome = await self._core.command(_command(visitor, persona, "reset"))
        room.clear()
        return HTMLResponse(self._pages.notice(visitor.lang, outcome.text))

    async def privacy(self, slug: str, request: Request) -> Response:
        return await self._told(slug, request, "privacy")

    async def forget(self, slug: str, request: Request) -> Response:
        return await self._told(slug, request, "forget")

    async def language(self, request: Request) -> Response:
        chosen = (await request.form()).get("lang")
        answer = Response(status_code=204, headers={"HX-Refresh": "true"})
        for lang in LANGS:
            if chosen == lang:
                remember_lang(lang, request, answer)
        return answer

    # How it is said.

    async def _room(self, visitor: Visitor, persona: Persona) -> Room:
        place = visitor.place(persona.slug)
        room = self._rooms[place]
        if not room.is_seeded:
            shown = await self._core.history(place, persona.slug, visitor.session)
            room.seed(shown)
        return room

    def _page(self, request: Request, visitor: Visitor, html: str) -> Response:
        answer = HTMLResponse(html, headers={"Vary": "Accept-Language, Cookie"})
        remember(visitor, request, answer)
        return answer

    async def _told(self, slug: str, request: Request, command: str) -> Response:
        """What the core says to a command, with its buttons."""
        visitor, persona = visitor_of(request), self.persona(slug)
        outcome = await self._core.command(_command(visitor, persona, command))
        return HTMLResponse(self._pages.told(visitor.lang, persona, outcome))

    def _not_sent(self, visitor: Visitor, notice: str) -> Response:
        return HTMLResponse(self._pages.sent(visitor.lang, notice, _key()))

    def _thanks(self, visitor: Visitor, text: str) -> Response:
        return HTMLResponse(self._pages.thanks(visitor.lang, text))

    def _voted(
        self, visitor: Visitor, persona: Persona, room: Room, vote: re.Match[str], outcome: VoteOutcome
    ) -> Response:
        bubble = room.rate(vote["reply"], "u" if vote["thumb"] == "u" else "d")
        if bubble is None:
            return self._thanks(visitor, outcome.text)
        return HTMLResponse(self._pages.voted(visitor.lang, persona, bubble, outcome))

    def _too_large(self, request: Request) -> Response:
        lang = visitor_of(request).lang
        text = sentence("too_long", lang, most=MOST_CHARACTERS)
        return HTMLResponse(self._pages.notice(lang, text), status_code=413)

    async def _refused(self, request: Request, error: Exception) -> Response:
        """One sentence: in the page where it asked by itself, else as a page."""
        visitor = visitor_of(request)
        status, word = 500, "broken"
        if isinstance(error, Refusal):
            status, word = error.status, error.word
        elif isinstance(error, HTTPException):
            status, word = error.status_code, "no_page"
        if request.headers.get("hx-request") != "true":
            return HTMLResponse(self._pages.message(visitor, word), status_code=status)
        html = self._pages.notice(visitor.lang, words(word, visitor.lang))
        return HTMLResponse(
            html, status_code=status, headers={"HX-Retarget": "#notice", "HX-Reswap": "innerHTML"}
        )


class _Static(StaticFiles):
    """Files whose addresses change with their content."""

    def file_response(self, *args: object, **kwargs: object) -> Response:
        answer = super().file_response(*args, **kwargs)  # type: ignore[arg-type] # passed on as it came
        answer.headers["Cache-Control"] = f"public, max-age={A_YEAR_S}, immutable"
        return answer


def _key() -> str:
    return secrets.token_urlsafe(12)


def _incoming(visitor: Visitor, persona: Persona, key: str, text: str) -> Incoming:
    return Incoming(
        place=visitor.place(persona.slug),
        message_id=key,
        user=visitor.session,
        user_name="",
        text=text,
        is_direct=True,
        lang_hint=visitor.lang,
        persona_hint=persona.slug,
        sent_at=time.time(),
    )


def _command(visitor: Visitor, persona: Persona, name: str) -> Command:
    return Command(
        place=visitor.place(persona.slug),
        message_id=_key(),
        user=visitor.session,
        name=name,
        is_direct=True,
        lang_hint=visitor.lang,
        persona_hint=persona.slug,
    )


def _press(visitor: Visitor, persona: Persona, data: str, text: str) -> Press:
    return Press(
        place=visitor.place(persona.slug),
        press_id=_key(),
        user=visitor.session,
        data=data,
        text=text,
        is_direct=True,
        lang_hint=visitor.lang,
    )
