"""The seam between the platforms and the core.

A platform module (discord_, telegram_, web, terminal) translates what its service says into the frozen
events below and hands them to the `Core`; the core speaks back through the platform's `Port`. The core
imports no platform library; a platform never opens the store.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

__all__ = [
    "Ask",
    "Button",
    "Capabilities",
    "Card",
    "Command",
    "Core",
    "Cursor",
    "Event",
    "Incoming",
    "Line",
    "Place",
    "PlatformName",
    "Port",
    "PortError",
    "Press",
    "RetryLater",
    "SendUnknown",
    "Shown",
    "TextUnit",
    "VoteOutcome",
]

PlatformName = Literal["discord", "telegram", "web", "terminal"]
TextUnit = Literal["utf16", "character"]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a conversation happens; ids are text, "" where there is none."""

    platform: PlatformName
    chat: str
    thread: str = ""
    guild: str = ""


@dataclass(frozen=True, slots=True)
class Incoming:
    """One message from a person, as any platform delivers it."""

    place: Place
    message_id: str
    user: str
    user_name: str
    text: str
    is_direct: bool
    mentions_bot: bool = False
    mentions_others: bool = False
    replies_to_bot: bool = False
    reply_to: str | None = None
    is_bot: bool = False
    is_edit: bool = False
    lang_hint: str | None = None  # the platform's word for the user's language, e.g. "zh-TW"
    persona_hint: str | None = None  # the page's picked persona
    sent_at: float = 0.0  # seconds since 1970, by the platform's clock


@dataclass(frozen=True, slots=True)
class Command:
    """A command typed or clicked; ``name`` is what the person typed, known here or not."""

    place: Place
    message_id: str
    user: str
    name: str
    argument: str = ""
    is_direct: bool = False
    lang_hint: str | None = None
    persona_hint: str | None = None  # the page's picked persona
    roles: tuple[str, ...] = ()  # as a press has them


@dataclass(frozen=True, slots=True)
class Press:
    """A press on a button under a reply, the consent question, a reply to be reviewed or a gate's report.

    ``data`` is the button's own data: ``vote:<reply_id>:u|d``, ``why:<reply_id>:<reason>``,
    ``consent:yes|no|vote``, ``review:<reply_id>:<what is thought of it>``,
    ``forget:everything|keep:<whose question it was>`` or ``gate:<run_id>:approve|veto|rollback``.
    """

    place: Place
    press_id: str
    user: str
    data: str
    text: str = ""  # a reason or another reply in the person's own words, where there is a field for it
    is_direct: bool = False
    lang_hint: str | None = None
    is_bot: bool = False
    roles: tuple[str, ...] = ()  # ids of the roles that the person has in the server


Event = Incoming | Command | Press


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far a platform's stream was read (a Telegram offset), stored with the events it covers."""

    platform: PlatformName
    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Button:
    label: str
    data: str  # at most 64 bytes: Telegram's callback_data is the tightest


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What the writer must respect; ``min_edit_interval_s`` counts per place."""

    max_units: int
    unit: TextUnit
    can_edit: bool
    min_edit_interval_s: float
    direct_edit_interval_s: float | None = None  # in private chats, where it differs
    deduplicates: bool = False  # a second send with the same nonce answers with the first message


@dataclass(frozen=True, slots=True)
class Ask:
    """A text that the person is asked for; it comes back as a press with this data and the text."""

    data: str
    text: str  # what stands in the field at first, where the platform has one


@dataclass(frozen=True, slots=True)
class Line:
    """Something that was said in a chat, with the name of who said it."""

    speaker: str
    text: str
    is_persona: bool


@dataclass(frozen=True, slots=True)
class Card:
    """A reply to be judged, for a platform that lays it out itself.

    ``replies`` are one, or two to choose from, and ``buttons`` what can be said of them. ``notice`` is what
    came of the press before, "" where nothing is to be said.
    """

    reply_id: str
    speaker: str
    said: tuple[Line, ...]
    replies: tuple[str, ...]
    buttons: tuple[Button, ...]
    waiting: int
    judged: int
    notice: str = ""


@dataclass(frozen=True, slots=True)
class VoteOutcome:
    """What to tell the person, privately, after a press.

    ``buttons`` are the consent question's three answers, the reasons after a thumb down, or what a moderator
    can make of a reply; ``card`` is that reply, which the text holds as well. ``is_forgotten``: what is shown
    of the person's conversations is to be taken away, too.
    """

    text: str
    buttons: tuple[Button, ...] = field(default=())
    ask: Ask | None = None
    card: Card | None = None
    is_forgotten: bool = False


@dataclass(frozen=True, slots=True)
class Shown:
    """One message of a conversation, for a platform that has to show it again (the page after a reload)."""

    role: Literal["user", "assistant"]
    text: str
    message_id: str = ""  # the person's message, as the platform named it
    reply_id: str | None = None
    vote: Literal["u", "d"] | None = None  # the asking person's own thumb


class PortError(Exception):
    """The platform refused; trying again with the same text would fail again."""


class RetryLater(PortError):
    """The platform asked to wait before the next call."""

    def __init__(self, retry_after_s: float) -> None:
        super().__init__(f"retry in {retry_after_s:g} s")
        self.retry_after_s = retry_after_s


class SendUnknown(PortError):
    """Nobody knows whether the message arrived (time-out, connection lost)."""


class Port(Protocol):
    """What the core can do on a platform. Every method raises PortError, RetryLater or SendUnknown."""

    @property
    def name(self) -> PlatformName: ...

    @property
    def capabilities(self) -> Capabilities: ...

    async def send(
        self,
        place: Place,
        text: str,
        *,
        nonce: str,
        reply_to: str | None = None,
        buttons: Sequence[Button] = (),
    ) -> str:
        """Sends and returns the platform's message id; never pings anybody.

        The same nonce never makes two messages where the platform can tell (Discord).
        """
        ...

    async def edit(
        self, place: Place, message_id: str, text: str, *, buttons: Sequence[Button] = ()
    ) -> None: ...

    async def typing(self, place: Place) -> None:
        """Shows "typing" once; the platform lets it fade after about five seconds."""
        ...

    async def acknowledge(self, press: Press, outcome: VoteOutcome) -> None:
        """Answers a press that came through `Core.receive`; platforms that answer in line never get it."""
        ...


class Core(Protocol):
    """What a platform may ask of the conversation process."""

    def attach(self, port: Port) -> None:
        """Makes the port the one through which replies for its platform go out."""
        ...

    async def receive(self, events: Sequence[Event], *, cursor: Cursor | None = None) -> int:
        """Stores the events and the cursor in one transaction and returns how many were new.

        After it returns nothing is lost; replies go out later through the port, in order per
        conversation. A (platform, chat, message id) that was stored before is dropped.
        """
        ...

    async def command(self, command: Command) -> VoteOutcome:
        """Carries a command out at once; for platforms that answer in line (Discord, web)."""
        ...

    async def press(self, press: Press) -> VoteOutcome:
        """Stores the vote or the consent and says what to tell; returns only after the commit."""
        ...

    async def cursor(self, platform: PlatformName, name: str) -> str | None: ...

    async def history(self, place: Place, persona: str, user: str) -> tuple[Shown, ...]:
        """The open conversation as people saw it, oldest first, then messages that still wait for a reply."""
        ...
