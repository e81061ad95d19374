"""A platform in memory: what a person sees, and every call that was made."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from bot.platform import Button, Capabilities, Place, PlatformName, Port, PortError, Press, VoteOutcome
from data.text import units

CAPABILITIES = Capabilities(max_units=200, unit="utf16", can_edit=True, min_edit_interval_s=0.0)


@dataclass
class FakePort(Port):
    """``script`` holds errors to raise, one per call, before anything works again.

    An error marked in ``arrives`` is raised after the message was taken: the answer got lost on its way.
    """

    platform: PlatformName = "telegram"
    caps: Capabilities = CAPABILITIES
    messages: dict[str, str] = field(default_factory=dict)
    buttons: dict[str, tuple[Button, ...]] = field(default_factory=dict)
    history: dict[str, list[str]] = field(default_factory=dict)
    places: dict[str, Place] = field(default_factory=dict)
    nonces: dict[str, str] = field(default_factory=dict)
    replies_to: dict[str, str | None] = field(default_factory=dict)
    acknowledged: list[tuple[Press, VoteOutcome]] = field(default_factory=list)
    script: list[Exception] = field(default_factory=list)
    edit_script: list[Exception] = field(default_factory=list)
    arrives: bool = False
    typed: int = 0
    sends: int = 0
    edits: int = 0
    block: asyncio.Event | None = None

    @property
    def name(self) -> PlatformName:
        return self.platform

    @property
    def capabilities(self) -> Capabilities:
        return self.caps

    @property
    def texts(self) -> list[str]:
        return list(self.messages.values())

    def with_votes(self) -> list[tuple[str, str]]:
        """(message id, reply id) of every message with thumbs."""
        return [
            (message, row[0].data.split(":")[1])
            for message, row in self.buttons.items()
            if row and row[0].data.startswith("vote:")
        ]

    async def send(
        self,
        place: Place,
        text: str,
        *,
        nonce: str,
        reply_to: str | None = None,
        buttons: Sequence[Button] = (),
    ) -> str:
        if self.block is not None:
            await self.block.wait()
        self.sends += 1
        error = self.script.pop(0) if self.script else None
        if error is not None and not self.arrives:
            raise error
        if self.caps.deduplicates and nonce in self.nonces:
            return self.nonces[nonce]
        self._check(text, buttons)
        message = str(100 + len(self.messages))
        self.nonces[nonce] = message
        self.messages[message] = text
        self.history[message] = [text]
        self.buttons[message] = tuple(buttons)
        self.places[message] = place
        self.replies_to[message] = reply_to
        if error is not None:
            raise error
        return message

    async def edit(self, place: Place, message_id: str, text: str, *, buttons: Sequence[Button] = ()) -> None:
        self.edits += 1
        if self.edit_script:
            raise self.edit_script.pop(0)
        self._check(text, buttons)
        self.messages[message_id] = text
        self.history[message_id].append(text)
        self.buttons[message_id] = tuple(buttons)

    async def typing(self, place: Place) -> None:
        self.typed += 1

    async def acknowledge(self, press: Press, outcome: VoteOutcome) -> None:
        self.acknowledged.append((press, outcome))

    def _check(self, text: str, buttons: Sequence[Button]) -> None:
        if not text.strip():
            raise PortError("message text is empty")
        if units(text, self.caps.unit) > self.caps.max_units:
            raise PortError("message is too long")
        if any(len(button.data.encode()) > 64 for button in buttons):
            raise PortError("button data invalid")
