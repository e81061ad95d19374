"""The terminal as a platform: a port that writes events for one or more terminals, and the talk itself.

A terminal is a stream of lines in and events out. In a running bot it comes over the control socket; where
no bot runs, `troupe chat` runs the core itself and the stream stays inside the process.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any

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

__all__ = ["Terminal", "talk"]

CAPABILITIES = Capabilities(max_units=16_000, unit="character", can_edit=True, min_edit_interval_s=0.05)
# A sentence of the bot's own carries no thumbs; when nothing more comes for so long, it was all.
QUIET_S = 2.0
LONGEST_TURN_S = 600.0

Event = Mapping[str, Any]
Emit = Callable[[Event], Awaitable[None]]
Read = Callable[[], Awaitable[str | None]]
Write = Callable[[str], None]


class Terminal:
    """The port to every open terminal; each has a chat of its own."""

    def __init__(self, core: Core) -> None:
        self._core = core
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
        requests: AsyncIterator[Mapping[str, Any]],
        emit: Callable[[Event], Awaitable[None]],
    ) -> None:
        """Serves one terminal until its requests end.

        Args:
            persona: who is talked to.
            lang: the terminal's language.
            requests: ``{"say"}``, ``{"press"}`` or ``{"command", "argument"}``.
            emit: ``{"message", "text", "buttons"}`` or ``{"told", "buttons"}`` back.
        """
        chat = secrets.token_hex(8)
        place = Place("terminal", chat, persona)
        screen = self._screens[chat] = asyncio.Queue()
        try:
            async with asyncio.TaskGroup() as tasks:
                pump = tasks.create_task(_pump(screen, emit))
                async for request in requests:
                    await self._serve(request, place, persona, lang, emit)
                pump.cancel()
        finally:
            del self._screens[chat]

    async def _serve(
        self,
        request: Mapping[str, Any],
        place: Place,
        persona: str,
        lang: str,
        emit: Emit,
    ) -> None:
        number = secrets.token_hex(8)
        who: dict[str, Any] = {"user": place.chat, "is_direct": True, "lang_hint": lang}
        if "say" in request:
            said = Incoming(
                place, number, user_name="you", text=str(request["say"]), persona_hint=persona, **who
            )
            await self._core.receive([said])
            return
        if "press" in request:
            outcome = await self._core.press(Press(place, number, data=str(request["press"]), **who))
        else:
            outcome = await self._core.command(
                Command(
                    place,
                    number,
                    name=str(request.get("command")),
                    argument=str(request.get("argument", "")),
                    persona_hint=persona,
                    **who,
                )
            )
        await emit({"told": outcome.text, "buttons": _data(outcome.buttons)})

    def _put(self, place: Place, number: str, text: str, buttons: Sequence[Button]) -> None:
        screen = self._screens.get(place.chat)
        if screen is None:
            raise PortError("That terminal is closed.")
        screen.put_nowait({"message": number, "text": text, "buttons": _data(buttons)})


async def talk(
    read: Read, write: Write, ask: Callable[[Event], Awaitable[None]], events: asyncio.Queue[Event]
) -> None:
    """The talk at the keyboard: a line is said; ``u`` and ``d`` rate the last reply; /quit ends."""
    buttons: list[tuple[str, str]] = []
    while (line := await read()) is not None:
        text = line.strip()
        if text in {"/quit", "/exit"}:
            return
        if text in {"u", "d"} or text.isdigit():
            data = _chosen(text, buttons)
            if data is None:
                write("Nothing to choose from yet.\n")
                continue
            await ask({"press": data})
        elif text.startswith("/"):
            name, _, argument = text[1:].partition(" ")
            await ask({"command": name, "argument": argument.strip()})
        else:
            await ask({"say": line})
        buttons = await _listen(write, events) or buttons


def _chosen(text: str, buttons: Sequence[tuple[str, str]]) -> str | None:
    if text.isdigit():
        index = int(text) - 1
        return buttons[index][1] if 0 <= index < len(buttons) else None
    return next((data for _, data in buttons if data.startswith("vote:") and data.endswith(f":{text}")), None)


async def _listen(write: Write, events: asyncio.Queue[Event]) -> list[tuple[str, str]]:
    """Writes what comes until it is complete; returns the buttons under it."""
    shown: dict[str, str] = {}
    wait = LONGEST_TURN_S
    while True:
        try:
            async with asyncio.timeout(wait):
                event = await events.get()
        except TimeoutError:
            write("\n")
            return []
        buttons = [(str(label), str(data)) for label, data in event["buttons"]]
        if "told" in event:
            write(f"{event['told']}\n")
            for number, (label, _) in enumerate(buttons, 1):
                write(f"  {number} {label}\n")
            return buttons
        before = shown.get(event["message"])
        _write_change(write, before, str(event["text"]), is_first=not shown)
        shown[event["message"]] = str(event["text"])
        if buttons:
            write("\n")
            return buttons
        wait = QUIET_S


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


def _data(buttons: Sequence[Button]) -> list[tuple[str, str]]:
    return [(button.label, button.data) for button in buttons]
