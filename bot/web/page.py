"""The page's HTML, whole and in fragments; everything from people and models is escaped by Jinja."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from bot.platform import Button, VoteOutcome
from bot.sentences import REASONS, button, sentence
from bot.web.room import Bubble, Mark, Room
from bot.web.visitor import Visitor
from bot.web.words import LANG_NAMES, words
from data.script import Lang, script_of
from personas.loader import Cast, Persona

__all__ = ["HERE", "Pages"]

HERE = Path(__file__).parent
CONSENT = tuple(Button(name, f"consent:{name}") for name in ("yes", "no", "vote"))


class Pages:
    """Renders for one visitor at a time; ``adapter_of`` names a persona's adapter, None for prompt only."""

    def __init__(self, cast: Cast, adapter_of: Callable[[str], str | None]) -> None:
        self._cast = cast
        self._adapter_of = adapter_of
        self._templates = Environment(
            loader=FileSystemLoader(HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.globals |= {
            "asset": _asset,
            "bubble_lang": lambda bubble, lang: script_of(bubble.text, lang),
            "text_lang": script_of,
            "has_picture": lambda persona: (persona.folder / "avatar.png").is_file(),
            "is_prompt_only": lambda persona: adapter_of(persona.slug) is None,
            "lang_names": LANG_NAMES,
            "everybody": tuple(cast.personas.values()),
        }

    def cast(self, visitor: Visitor) -> str:
        """The page on which a persona is picked."""
        return self._render("cast.html", visitor.lang, visitor=visitor, persona=None)

    def chat(self, visitor: Visitor, persona: Persona, room: Room, *, key: str) -> str:
        """The conversation; ``key`` will be the next message's id."""
        choices = [Button(button(one.label, visitor.lang), one.data) for one in CONSENT]
        return self._render(
            "chat.html", visitor.lang, visitor=visitor, persona=persona, room=room, key=key, choices=choices
        )

    def message(self, visitor: Visitor, word: str) -> str:
        """A page that says one sentence."""
        return self._render("message.html", visitor.lang, visitor=visitor, persona=None, word=word)

    def entering(self, lang: Lang) -> str:
        """A page that loads itself again, from here."""
        return self._render("entering.html", lang)

    def news(self, lang: Lang, persona: Persona, room: Room, mark: Mark) -> str:
        """What changed in the room after the mark, as fragments that find their places; "" if nothing did."""
        if room.mark == mark:
            return ""
        if not room.knows(mark):
            return self._render("room.html", lang, persona=persona, room=room)
        return self._render(
            "news.html",
            lang,
            persona=persona,
            room=room,
            mark=mark,
            bubbles=tuple(room.news(mark)),
            typing_changed=room.typing_changed_since(mark),
        )

    def sent(self, lang: Lang, notice: str, key: str) -> str:
        """The answer to a message: a notice, or none, and the next message's id."""
        return self._render("sent.html", lang, notice=notice, key=key)

    def notice(self, lang: Lang, text: str) -> str:
        return self._render("notice.html", lang, text=text)

    def voted(self, lang: Lang, persona: Persona, bubble: Bubble, outcome: VoteOutcome) -> str:
        """What a thumb opens under the reply, and the thumbs as they now are."""
        reasons: Sequence[Button] = ()
        if bubble.thumb == "d":
            reasons = [Button(button(name, lang), f"why:{bubble.reply_id}:{name}") for name in REASONS]
        return self._render(
            "voted.html", lang, persona=persona, bubble=bubble, outcome=outcome, reasons=reasons
        )

    def told(self, lang: Lang, persona: Persona, outcome: VoteOutcome) -> str:
        """The answer to a command, with what may be chosen."""
        return self._render("told.html", lang, persona=persona, outcome=outcome)

    def review(self, visitor: Visitor, outcome: VoteOutcome) -> str:
        """The moderators' page, with the first reply to judge."""
        return self._render(
            "review.html", visitor.lang, visitor=visitor, persona=None, **_desk(outcome, visitor.lang)
        )

    def reviewed(self, lang: Lang, outcome: VoteOutcome) -> str:
        """What comes onto the desk next."""
        return self._render("desk.html", lang, **_desk(outcome, lang))

    def thanks(self, lang: Lang, text: str) -> str:
        return self._render("thanks.html", lang, text=text)

    def _render(self, template: str, lang: Lang, **values: Any) -> str:
        context: Mapping[str, Any] = {"lang": lang, "say": partial(_say, lang), **values}
        return self._templates.get_template(template).render(context)


def _desk(outcome: VoteOutcome, lang: Lang) -> Mapping[str, Any]:
    choices = [one for one in outcome.buttons if one.data.startswith("consent:")]
    return {"outcome": outcome, "choices": choices, "question": sentence("consent", lang) if choices else ""}


def _say(lang: Lang, name: str, /, **values: object) -> str:
    return words(name, lang, **values)


@cache
def _asset(name: str) -> str:
    """The address of a static file; it changes with the content, so browsers may keep the file."""
    digest = hashlib.sha256((HERE / "static" / name).read_bytes()).hexdigest()
    return f"/static/{name}?v={digest[:12]}"
