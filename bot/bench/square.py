"""The server where the simulated people meet: a platform in memory, one public channel, a thread per chat.

It is handed events and speaks through a port like any platform (`bot.platform`), so that whatever is said and
pressed goes the whole way: inbox, turn, outbox, store. Everybody sees every thread and may vote there.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from bot.bench.people import Person
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

__all__ = ["PLATFORM", "Answer", "Square"]

PLATFORM: PlatformName = "discord"
CHANNEL, SERVER = "channel", "server"
# A reply that does not come in this time does not come.
PATIENCE_S = 120.0
CAPABILITIES = Capabilities(max_units=16_000, unit="character", can_edit=False, min_edit_interval_s=0.0)


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply with thumbs under it."""

    reply_id: str
    text: str


class Square:
    """A port, and what people do on its platform."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._numbers = itertools.count(1)
        self._waiting: dict[str, asyncio.Future[Answer | None]] = {}

    @property
    def name(self) -> PlatformName:
        return PLATFORM

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
        del nonce, reply_to  # nothing is sent twice here
        waiting = self._waiting.pop(place.thread, None)
        if waiting is not None and not waiting.done():
            # A sentence of the bot's own ("busy", "resting") has no thumbs: the person asks something else.
            reply_id = _reply_id(buttons)
            waiting.set_result(None if reply_id is None else Answer(reply_id, text))
        return str(next(self._numbers))

    async def edit(self, place: Place, message_id: str, text: str, *, buttons: Sequence[Button] = ()) -> None:
        del text, buttons
        raise PortError(f"Message {message_id} in {place.thread} was whole when it was sent.")

    async def typing(self, place: Place) -> None:
        """Nobody looks."""

    async def acknowledge(self, press: Press, outcome: VoteOutcome) -> None:
        del outcome
        raise PortError(f"Press {press.press_id} was answered in line.")

    async def ask(self, person: Person, thread: str, persona: str, text: str) -> Answer | None:
        """Says something to a persona in a thread; None where there is no reply to vote on."""
        waiting: asyncio.Future[Answer | None] = asyncio.get_running_loop().create_future()
        self._waiting[thread] = waiting
        said = Incoming(
            self._place(thread),
            self._number(),
            person.id,
            person.name,
            text,
            is_direct=False,
            mentions_bot=True,
            persona_hint=persona,
        )
        await self._core.receive([said])
        try:
            async with asyncio.timeout(PATIENCE_S):
                return await waiting
        except TimeoutError:
            return None
        finally:
            self._waiting.pop(thread, None)

    async def vote(self, person: Person, thread: str, reply_id: str, value: int) -> None:
        """Presses a thumb, and answers the consent question where it comes."""
        outcome = await self.press(person, f"vote:{reply_id}:{'u' if value > 0 else 'd'}", thread=thread)
        await self.consent(person, outcome, thread=thread)

    async def consent(self, person: Person, outcome: VoteOutcome, *, thread: str = "") -> None:
        """Answers the consent question if it is asked and the person does."""
        if person.consent is not None and any(one.data.startswith("consent:") for one in outcome.buttons):
            await self.press(person, f"consent:{person.consent}", thread=thread)

    async def press(self, person: Person, data: str, *, thread: str = "") -> VoteOutcome:
        return await self._core.press(
            Press(self._place(thread), self._number(), person.id, data, lang_hint="en")
        )

    async def command(self, person: Person, name: str, argument: str) -> VoteOutcome:
        return await self._core.command(
            Command(self._place(""), self._number(), person.id, name, argument, lang_hint="en")
        )

    def _place(self, thread: str) -> Place:
        return Place(PLATFORM, CHANNEL, thread, SERVER)

    def _number(self) -> str:
        return f"said-{next(self._numbers)}"


def _reply_id(buttons: Sequence[Button]) -> str | None:
    found = (button.data.split(":")[1] for button in buttons if button.data.startswith("vote:"))
    return next(found, None)
