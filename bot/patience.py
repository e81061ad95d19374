"""A platform that is waited for only so long: what must not hold up others goes out through it."""

from __future__ import annotations

from collections.abc import Sequence

from bot.platform import (
    Button,
    Capabilities,
    Place,
    PlatformName,
    Port,
    PortError,
    Press,
    RetryLater,
    SendUnknown,
    VoteOutcome,
)

__all__ = ["Patient"]


class Patient:
    """Another port whose "later" becomes a refusal once it has asked for ``patience_s`` in all.

    A message of which nobody knows whether it arrived stays unknown: a refusal might be tried again.
    """

    def __init__(self, port: Port, patience_s: float) -> None:
        self._port = port
        self._left_s = patience_s
        self._unknown: set[str] = set()

    @property
    def name(self) -> PlatformName:
        return self._port.name

    @property
    def capabilities(self) -> Capabilities:
        return self._port.capabilities

    async def send(
        self,
        place: Place,
        text: str,
        *,
        nonce: str,
        reply_to: str | None = None,
        buttons: Sequence[Button] = (),
    ) -> str:
        try:
            return await self._port.send(place, text, nonce=nonce, reply_to=reply_to, buttons=buttons)
        except RetryLater as pause:
            self._wait(pause, is_unknown=nonce in self._unknown)
            raise
        except SendUnknown:
            self._unknown.add(nonce)
            raise

    async def edit(self, place: Place, message_id: str, text: str, *, buttons: Sequence[Button] = ()) -> None:
        try:
            await self._port.edit(place, message_id, text, buttons=buttons)
        except RetryLater as pause:
            self._wait(pause, is_unknown=False)
            raise

    async def typing(self, place: Place) -> None:
        await self._port.typing(place)

    async def acknowledge(self, press: Press, outcome: VoteOutcome) -> None:
        await self._port.acknowledge(press, outcome)

    def _wait(self, pause: RetryLater, *, is_unknown: bool) -> None:
        self._left_s -= pause.retry_after_s
        if self._left_s < 0:
            error = SendUnknown if is_unknown else PortError
            raise error(f"It asked for another {pause.retry_after_s:g} s.") from pause
