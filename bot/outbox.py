"""What leaves the bot, so that no text is ever sent twice.

```
sending ──► sent        the platform gave a message id
        ├─► failed      it refused: the same again would be refused again, until somebody mends it (`again`)
        └─► unknown     nobody knows whether it arrived
```
The row is committed as ``sending`` before the platform is called. After a crash it is sent again with the
same nonce where the platform tells doubles apart, and becomes ``unknown`` everywhere else: a lost reply can
be asked for again, a doubled one looks broken and splits votes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from bot.pace import Pace, interval_of
from bot.platform import Button, Place, Port, PortError, RetryLater, SendUnknown
from data.clock import Clock
from data.records import OutboxItem
from data.store import Store

__all__ = ["Letter", "Outbox", "Sent"]

_log = structlog.get_logger(__name__)

# Platforms remember nonces for a few minutes.
NONCE_LASTS_S = 120.0
TRIES = 5


@dataclass(frozen=True, slots=True)
class Letter:
    """To whom and in answer to what; ``is_kept`` is false where others' words are shown, not said."""

    port: Port
    place: Place
    inbox_id: int
    slot: str
    is_direct: bool
    reply_to: str | None = None
    reply_id: str | None = None
    is_kept: bool = True

    @property
    def interval_s(self) -> float:
        return interval_of(self.port.capabilities, is_direct=self.is_direct)


@dataclass(frozen=True, slots=True)
class Sent:
    """A part that left: ``text`` is what people see, None where only the platform knows."""

    outbox_id: int
    message_id: str | None
    text: str | None
    is_refused: bool = False


class Outbox:
    def __init__(self, store: Store, pace: Pace, clock: Clock) -> None:
        self._store = store
        self._pace = pace
        self._clock = clock

    async def say(self, letter: Letter, text: str, *, buttons: Sequence[Button] = ()) -> None:
        """Sends one sentence, once per letter and slot whatever happens in between."""
        known = await self._store.outbox(letter.inbox_id, letter.slot)
        if known:
            await self.resume(letter, known[0], lambda: text, buttons=buttons)
        else:
            await self.send(letter, 0, lambda: text, buttons=buttons)

    async def send(
        self, letter: Letter, part: int, text: Callable[[], str], *, buttons: Sequence[Button] = ()
    ) -> Sent:
        """Sends a part; ``text`` is asked again before every try, so that the newest goes out."""
        item = await self._store.sending(
            letter.inbox_id,
            letter.slot,
            part,
            platform=letter.place.platform,
            chat=letter.place.chat,
            thread=letter.place.thread,
            text=_kept(letter, text()),
            reply_id=letter.reply_id,
        )
        return await self._transmit(letter, item, text, buttons)

    async def resume(
        self, letter: Letter, item: OutboxItem, text: Callable[[], str], *, buttons: Sequence[Button] = ()
    ) -> Sent:
        """Takes up a part of an earlier life of this process."""
        if item.state != "sending":
            return Sent(item.id, item.platform_message_id, None)
        fresh = self._clock.now() - item.updated_at < NONCE_LASTS_S
        if letter.port.capabilities.deduplicates and fresh:
            sent = await self._transmit(letter, item, text, buttons)
            return Sent(sent.outbox_id, sent.message_id, None)
        await self._store.mark_outbox(item.id, "unknown", text=item.text)
        _log.warning("outbox.unknown", outbox=item.id, platform=letter.place.platform)
        return Sent(item.id, None, None)

    async def again(
        self, letter: Letter, item: OutboxItem, text: Callable[[], str], *, buttons: Sequence[Button] = ()
    ) -> Sent:
        """Sends a part that was refused, once what it was refused for may be over."""
        await self._store.mark_outbox(item.id, "sending", text=_kept(letter, text()))
        return await self._transmit(letter, item, text, buttons)

    async def edit(
        self, letter: Letter, sent: Sent, text: str, *, buttons: Sequence[Button] = (), final: bool
    ) -> Sent:
        """Changes a part that is shown; a preview is tried once, the final text until it is there."""
        if sent.message_id is None:
            return sent
        tries = 0
        while True:
            try:
                await letter.port.edit(letter.place, sent.message_id, text, buttons=buttons)
            except RetryLater as pause:
                self._pace.hold(letter.place, pause.retry_after_s)
                if not final:
                    return sent
            except SendUnknown:
                # An edit may be repeated: the same text twice is the same text.
                tries += 1
                if not final or tries >= TRIES:
                    return Sent(sent.outbox_id, sent.message_id, None)
                self._pace.hold(letter.place, float(tries))
            except PortError as error:
                _log.warning("outbox.edit_refused", outbox=sent.outbox_id, reason=str(error))
                return Sent(sent.outbox_id, sent.message_id, None)
            else:
                if final:
                    await self._store.mark_outbox(sent.outbox_id, "sent", text=_kept(letter, text))
                return Sent(sent.outbox_id, sent.message_id, text)
            await self._pace.slot(letter.place, letter.interval_s)

    async def _transmit(
        self, letter: Letter, item: OutboxItem, text: Callable[[], str], buttons: Sequence[Button]
    ) -> Sent:
        tries, certain = 0, True
        answered = letter.reply_to if item.part == 0 else None
        while True:
            words = text()
            try:
                message_id = await letter.port.send(
                    letter.place, words, nonce=item.nonce, reply_to=answered, buttons=buttons
                )
            except RetryLater as pause:
                self._pace.hold(letter.place, pause.retry_after_s)
                await self._pace.slot(letter.place, letter.interval_s)
            except SendUnknown:
                tries, certain = tries + 1, False
                if not letter.port.capabilities.deduplicates or tries >= TRIES:
                    await self._store.mark_outbox(item.id, "unknown", text=_kept(letter, words))
                    _log.warning("outbox.unknown", outbox=item.id, platform=letter.place.platform)
                    return Sent(item.id, None, None)
                await self._clock.sleep(float(tries))
            except PortError as error:
                await self._store.mark_outbox(item.id, "failed", text=_kept(letter, words))
                _log.warning("outbox.refused", outbox=item.id, reason=str(error))
                return Sent(item.id, None, None, is_refused=True)
            else:
                self._pace.used(letter.place, letter.interval_s)
                kept = _kept(letter, words)
                await self._store.mark_outbox(item.id, "sent", text=kept, platform_message_id=message_id)
                return Sent(item.id, message_id, words if certain else None)


def _kept(letter: Letter, text: str) -> str:
    """What the row holds; a copy of somebody's words would outlive their wish to be forgotten."""
    return text if letter.is_kept else ""
