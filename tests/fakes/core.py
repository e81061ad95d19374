"""A core that only records: for tests of a platform alone."""

from __future__ import annotations

from collections.abc import Sequence

from bot.platform import (
    Command,
    Core,
    Cursor,
    Event,
    Place,
    PlatformName,
    Port,
    Press,
    Shown,
    VoteOutcome,
)


class RecordingCore(Core):
    """Keeps every event, deduped as the real one does; ``outcome`` is its answer to all."""

    def __init__(self) -> None:
        self.ports: list[Port] = []
        self.events: list[Event] = []
        self.cursors: dict[tuple[str, str], str] = {}
        self.batches: list[int] = []
        self.outcome = VoteOutcome("ok")
        self.shown: dict[tuple[Place, str], tuple[Shown, ...]] = {}

    def attach(self, port: Port) -> None:
        self.ports.append(port)

    async def receive(self, events: Sequence[Event], *, cursor: Cursor | None = None) -> int:
        self.events += events
        self.batches.append(len(events))
        if cursor is not None:
            self.cursors[cursor.platform, cursor.name] = cursor.value
        return len(events)

    async def command(self, command: Command) -> VoteOutcome:
        self.events.append(command)
        return self.outcome

    async def press(self, press: Press) -> VoteOutcome:
        self.events.append(press)
        return self.outcome

    async def cursor(self, platform: PlatformName, name: str) -> str | None:
        return self.cursors.get((platform, name))

    async def history(self, place: Place, persona: str, user: str) -> tuple[Shown, ...]:
        return self.shown.get((place, persona), ())
