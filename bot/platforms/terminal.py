"""The terminal as a platform: a port that writes events for one or more terminals, and the talk itself.

A terminal is a stream of lines in and events out. In a running bot it comes over the control socket; where
no bot runs, `troupe chat` runs the core itself and the stream stays inside the process.

```
{"say", "id"} ──► {"message", "text", "buttons"} … as the reply grows ──► {"settled": id}
{"press"} or {"command", "argument"} ──► {"told", "buttons"}
```
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bot.errors import BotError
from bot.platform import (
    Button,
    Capabilities,
    Command,
    Core,
    Incoming,
    Place,
    PlatformName,
    PortError,
    Press,
    VoteOutcome,
)
from bot.sentences import sentence
from data.script import Lang
from personas.loader import Cast

__all__ = ["Terminal", "talk"]

CAPABILITIES = Capabilities(max_units=16_000, unit="character", can_edit=True, min_edit_interval_s=0.05)
# How often the core is asked whether a message still waits for its answer.
ASK_AGAIN_S = 0.3

Event = Mapping[str, Any]
# Label and data of each.
Buttons = list[tuple[str, str]]
Emit = Callable[[Event], Awaitable[None]]
Read = Callable[[], Awaitable[str | None]]
Write = Callable[[str], None]


@dataclass(slots=True)
class _Seat:
    """One terminal: its chat, and who is talked to now."""

    place: Place
    persona: str
    lang: str

    @property
    def who(self) -> dict[str, Any]:
        return {"user": self.place.chat, "is_direct": True, "lang_hint": self.lang}


class Terminal:
    """The port to every open terminal; each has a chat of its own."""

    def __init__(self, core: Core, cast: Cast) -> None:
        self._core = core
        self._cast = cast
        self._screens: dict[str, asyncio.Queue[Event]] = {}
        self._numbers = itertools.count(1)

    @property
    def name(self) -> PlatformName:
        return "terminal"

    @property
    def capabilities(self) -> Capabilities:
        return CAPABILITIES

    async def send(
        self,
        place: Place,
        text: str,
        *,
        nonce: str,
        reply_to: str | None = None,
        buttons: Sequence[Button] = (),
    ) -> str:
        del nonce, reply_to  # a terminal shows everything once, in order
        number = str(next(self._numbers))
        self._put(place, number, text, buttons)
        return number

    async def edit(self, place: Place, message_id: str, text: str, *, buttons: Sequence[Button] = ()) -> None:
        self._put(place, message_id, text, buttons)

    async def typing(self, place: Place) -> None:
        """The prompt that does not come back yet says as much."""

    async def acknowledge(self, press: Press, outcome: VoteOutcome) -> None:
        """Presses are answered in line; none comes this way."""
        raise PortError(
            f"Press {press.press_id} was answered in line, not told {len(outcome.text)} characters."
        )

    async def session(
        self,
        persona: str,
        lang: str,
        requests: AsyncIterator[Event],
        emit: Emit,
    ) -> None:
        """Serves one terminal until its requests end.

        Args:
            persona: who is talked to at first.
            lang: the terminal's language.
            requests: see above.
            emit: takes what is to be shown.
        """
        seat = _Seat(Place("terminal", secrets.token_hex(8)), persona, lang)
        screen = self._screens[seat.place.chat] = asyncio.Queue()
        try:
            async with asyncio.TaskGroup() as tasks:
                pump = tasks.create_task(_pump(screen, emit))
                waiting = []
                async for request in requests:
                    if "say" in request:
                        number = await self._say(request, seat)
                        watch = self._watch(seat.place, seat.persona, number, request.get("id"), screen)
                        waiting.append(tasks.create_task(watch))
                    else:
                        outcome = await self._do(request, seat)
                        await emit({"told": outcome.text, "buttons": _data(outcome.buttons)})
                for task in (pump, *waiting):
                    task.cancel()
        finally:
            del self._screens[seat.place.chat]

    async def _say(self, request: Event, seat: _Seat) -> str:
        number = secrets.token_hex(8)
        said = Incoming(
            seat.place,
            number,
            user_name="you",
            text=str(request["say"]),
            persona_hint=seat.persona,
            **seat.who,
        )
        await self._core.receive([said])
        return number

    async def _do(self, request: Event, seat: _Seat) -> VoteOutcome:
        number = secrets.token_hex(8)
        if "press" in request:
            return await self._core.press(Press(seat.place, number, data=str(request["press"]), **seat.who))
        name, argument = str(request.get("command")), str(request.get("argument", ""))
        outcome = await self._core.command(
            Command(seat.place, number, name=name, argument=argument, persona_hint=seat.persona, **seat.who)
        )
        chosen = self._cast.find(argument) if name == "persona" and argument else None
        if chosen is not None:
            seat.persona = chosen.slug
        return outcome

    async def _watch(
        self, place: Place, persona: str, number: str, asked: object, screen: asyncio.Queue[Event]
    ) -> None:
        """Says when a message has all its answer: some answers are a sentence, and carry no thumbs."""
        waits = True
        while waits:
            await asyncio.sleep(ASK_AGAIN_S)
            waiting = await self._core.history(place, persona, place.chat)
            waits = any(shown.message_id == number for shown in waiting)
        screen.put_nowait({"settled": asked, "buttons": []})

    def _put(self, place: Place, number: str, text: str, buttons: Sequence[Button]) -> None:
        screen = self._screens.get(place.chat)
        if screen is None:
            raise PortError("That terminal is closed.")
        screen.put_nowait({"message": number, "text": text, "buttons": _data(buttons)})


async def talk(
    read: Read,
    write: Write,
    ask: Callable[[Event], Awaitable[None]],
    events: asyncio.Queue[Event],
    *,
    lang: Lang,
) -> None:
    """The talk at the keyboard: a line is said; ``u`` and ``d`` rate the last reply; /quit ends."""
    thumbs: Buttons = []
    choices: Buttons = []
    write(f"{sentence('terminal', lang)}\n")
    for number in itertools.count(1):
        line = await read()
        if line is None or line.strip() in {"/quit", "/exit"}:
            return
        text = line.strip()
        if text in {"u", "d"} or (text.isdecimal() and choices):
            data = _chosen(text, thumbs, choices)
            if data is None:
                write(f"{sentence('nothing_to_choose', lang)}\n")
                continue
            await ask({"press": data})
        elif text.startswith("/"):
            name, _, argument = text[1:].partition(" ")
            await ask({"command": name, "argument": argument.strip()})
        else:
            await ask({"say": line, "id": number})
        choices = await _listen(write, events, number)
        if choices and choices[0][1].startswith("vote:"):
            thumbs, choices = choices, []


def _chosen(text: str, thumbs: Buttons, choices: Buttons) -> str | None:
    if text in {"u", "d"}:
        return next((data for _, data in thumbs if data.endswith(f":{text}")), None)
    index = int(text) - 1
    return choices[index][1] if 0 <= index < len(choices) else None


async def _listen(write: Write, events: asyncio.Queue[Event], number: int) -> Buttons:
    """Writes what comes until the answer is complete; returns the buttons under it."""
    shown: dict[str, str] = {}
    while True:
        event = await events.get()
        if event.get("ended"):
            raise BotError("The bot ended; start it again with troupe run.")
        buttons = [(str(label), str(data)) for label, data in event["buttons"]]
        if "settled" in event:
            if event["settled"] != number:
                continue  # an earlier message, whose thumbs were seen already
            write("\n")
            return []
        if "told" in event:
            write(f"{event['told']}\n")
            for choice, (label, _) in enumerate(buttons, 1):
                write(f"  {choice} {label}\n")
            return buttons
        before = shown.get(event["message"])
        _write_change(write, before, str(event["text"]), is_first=not shown)
        shown[event["message"]] = str(event["text"])
        if buttons:
            write("\n")
            return buttons


def _write_change(write: Write, before: str | None, text: str, *, is_first: bool) -> None:
    if before is None:
        write(text if is_first else f"\n{text}")
    elif text.startswith(before):
        write(text[len(before) :])
    else:
        write(f"\n{text}")


async def _pump(screen: asyncio.Queue[Event], emit: Callable[[Event], Awaitable[None]]) -> None:
    while True:
        await emit(await screen.get())


def _data(buttons: Sequence[Button]) -> Buttons:
    return [(button.label, button.data) for button in buttons]
