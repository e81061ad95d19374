"""One reply on one platform, from its first words to its last part.

The writer owns what the person has seen. Text is handed to it as it grows and never queues: when the
platform's next slot comes, the newest text is split and only the parts that differ are sent or edited.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

from bot.outbox import Letter, Outbox, Sent
from bot.pace import Pace
from bot.platform import Button
from data.records import OutboxItem
from data.text import split

__all__ = ["ReplyWriter"]

# Instead of a part that an earlier, longer version of the reply had filled.
WITHDRAWN = "…"


class ReplyWriter:
    """Shows a growing reply; ``known`` are its parts from an earlier life of this process."""

    def __init__(
        self, letter: Letter, outbox: Outbox, pace: Pace, *, known: Sequence[OutboxItem] = ()
    ) -> None:
        self._letter = letter
        self._outbox = outbox
        self._pace = pace
        self._known = known
        self._parts: list[Sent] = []
        self._text = ""
        self._buttons: tuple[Button, ...] = ()
        self._final = False
        self._abandoned = False
        self._is_refused = False
        self._changed = asyncio.Event()
        self.started = asyncio.Event()

    def show(self, text: str) -> None:
        """The reply so far; returns at once."""
        if text and text != self._text:
            self._text = text
            self._changed.set()

    def finish(self, text: str, *, buttons: Sequence[Button] = ()) -> None:
        """The whole reply; `run` returns once it is shown."""
        self._text, self._buttons, self._final = text, tuple(buttons), True
        self._changed.set()

    def abandon(self) -> None:
        """There will be no more; what is shown stays."""
        self._abandoned = True
        self._changed.set()

    @property
    def is_delivered(self) -> bool:
        """Whether the person has anything of the reply."""
        return any(part.message_id is not None for part in self._parts)

    async def run(self) -> None:
        """Shows what it is given until the reply is finished or abandoned."""
        capabilities = self._letter.port.capabilities
        ended = False
        while not ended:
            await self._changed.wait()
            self._changed.clear()
            if self._abandoned:
                return
            if not self._final and not capabilities.can_edit:
                continue
            await self._pace.slot(self._letter.place, self._letter.interval_s)
            # Read after the slot came: the newest text wins.
            ended = self._final
            await self._render(final=ended)

    async def _render(self, *, final: bool) -> None:
        for item in self._known[len(self._parts) :]:
            await self._recover(item)
        texts = self._pieces()
        if final:
            texts += [WITHDRAWN] * (len(self._parts) - len(texts))
        carrying = max((index for index, text in enumerate(texts) if text != WITHDRAWN), default=-1)
        for index, text in enumerate(texts):
            buttons = self._buttons if final and index == carrying else ()
            if index < len(self._parts):
                await self._change(index, text, buttons, final=final)
            elif not self._is_refused:
                await self._add(index, buttons)

    async def _recover(self, item: OutboxItem) -> None:
        self._parts.append(await self._outbox.resume(self._letter, item, partial(self._newest, item.part)))
        self.started.set()

    async def _add(self, index: int, buttons: Sequence[Button]) -> None:
        if index > 0:
            await self._pace.slot(self._letter.place, self._letter.interval_s)
        text = partial(self._newest, index)
        sent = await self._outbox.send(self._letter, index, text, buttons=buttons)
        self._is_refused = sent.is_refused
        self._parts.append(sent)
        self.started.set()

    async def _change(self, index: int, text: str, buttons: Sequence[Button], *, final: bool) -> None:
        part = self._parts[index]
        if part.text == text and not buttons:
            return
        self._parts[index] = await self._outbox.edit(self._letter, part, text, buttons=buttons, final=final)

    def _pieces(self) -> list[str]:
        capabilities = self._letter.port.capabilities
        pieces = split(self._text, capabilities.max_units, capabilities.unit)
        texts = (piece.text.strip("\n").rstrip() for piece in pieces)
        return [text for text in texts if text]

    def _newest(self, index: int) -> str:
        pieces = self._pieces()
        return pieces[index] if index < len(pieces) else WITHDRAWN
