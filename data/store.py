"""The store as the bot sees it; `data.sqlite` is the one there is, a PostgreSQL one may follow.

Writing methods return after the commit. Each is one transaction, and doing it twice does it once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from data.erasure import Erasures
from data.ledger import Ledger
from data.records import (
    Adapter,
    Alias,
    AliasName,
    Answer,
    Audit,
    Ballot,
    CastPair,
    CastRewrite,
    CastThumb,
    Conversation,
    InboxItem,
    InboxState,
    NewReply,
    OutboxItem,
    OutboxState,
    Reply,
    Result,
    Said,
    Scope,
    Utterance,
    Vote,
    VoteCount,
    VoteKind,
    VoteOfRater,
)
from data.reviews import Reviews

__all__ = ["Store"]


class Store(Protocol):
    """Everything the conversation process remembers.

    Writing methods raise StoreUnavailable where a commit failed (whether it happened is then unknown) and
    StoreBusy where too many writes wait.
    """

    @property
    def erasures(self) -> Erasures:
        """Who is forgotten, and what of it is still to be done."""
        ...

    @property
    def ledger(self) -> Ledger:
        """Training runs, from their votes to what people hear."""
        ...

    @property
    def reviews(self) -> Reviews:
        """The moderators' queue."""
        ...

    async def receive(
        self, items: Sequence[InboxItem], *, cursor: tuple[str, str, str] | None = None
    ) -> tuple[int, ...]:
        """Stores new items and the cursor (platform, name, value) together; returns the new items' ids."""
        ...

    async def cursor(self, platform: str, name: str) -> str | None: ...

    async def open_items(self, platform: str, *, after: int, most: int) -> tuple[InboxItem, ...]:
        """Pending items, and those that a dead process left half handled, oldest first."""
        ...

    async def begin(self, inbox_id: int) -> int:
        """Marks the item as being handled and returns which attempt this is; 0 when it is settled."""
        ...

    async def settle(self, inbox_id: int, state: InboxState, *, error: str | None = None) -> None: ...

    async def note(self, item: InboxItem) -> InboxItem:
        """Stores what the bot says unasked as an item that is done, for the outbox; the one there wins."""
        ...

    async def noted(self, platform: str, chat: str, message_id: str) -> InboxItem | None: ...

    async def expire(self, platform: str) -> int:
        """Gives up every open item of a platform whose people are gone after a restart."""
        ...

    async def conversation(
        self, platform: str, chat: str, thread: str, persona: str, *, is_direct: bool = True
    ) -> Conversation:
        """The live conversation, begun if there is none; nobody else is shown what a direct one holds."""
        ...

    async def close_conversation(self, platform: str, chat: str, thread: str, persona: str) -> bool:
        """Ends the live conversation; the next message begins a new one."""
        ...

    async def history(self, conversation_id: str, *, most: int) -> tuple[Utterance, ...]:
        """The newest finished messages, oldest first."""
        ...

    async def open_reply(self, reply: NewReply) -> Reply:
        """The reply to an inbox item: made, or taken up again; a complete one is returned as it is.

        Raises:
            Forgotten: whoever asked was forgotten meanwhile.
        """
        ...

    async def reply_of(self, inbox_id: int) -> Reply | None: ...

    async def reply(self, reply_id: str) -> Reply | None: ...

    async def reply_of_message(self, platform: str, chat: str, message_id: str) -> str | None:
        """The id of the reply that a platform's message shows."""
        ...

    async def complete_reply(self, reply_id: str, result: Result, said: Sequence[Said]) -> bool:
        """Stores the text and adds both sides to the history; False where that is over or forgotten."""
        ...

    async def replies_since(self, since: float) -> int:
        """How many replies were begun since then, in seconds since 1970."""
        ...

    async def fail_reply(self, reply_id: str, error: str) -> None: ...

    async def outbox(self, inbox_id: int, slot: str) -> tuple[OutboxItem, ...]: ...

    async def sending(
        self,
        inbox_id: int,
        slot: str,
        part: int,
        *,
        platform: str,
        chat: str,
        thread: str,
        text: str,
        reply_id: str | None = None,
    ) -> OutboxItem:
        """Announces a send and gives it its nonce; to be called before the platform is."""
        ...

    async def mark_outbox(
        self, outbox_id: int, state: OutboxState, *, text: str, platform_message_id: str | None = None
    ) -> None: ...

    async def cast(self, ballot: Ballot) -> VoteOfRater:
        """Stores a vote; the same again changes nothing, another one closes the old row.

        A ballot with a reason and the value of the live vote adds the reason to it. ``ask_consent`` is
        true for a person's first vote ever.
        """
        ...

    async def give_reason(self, reply_id: str, rater_hash: str, reason: str, text: str | None) -> VoteOfRater:
        """Adds a reason to the person's live thumb; ``no_vote`` where there is none."""
        ...

    async def answer_consent(self, rater_hash: str, answer: Answer) -> None:
        """Stores the answer; the person's live votes are inserted again under it, the old ones closed."""
        ...

    async def consent(self, rater_hash: str) -> str | None:
        """yes, no or vote; "asked" without an answer; None for somebody never asked."""
        ...

    async def live_vote(self, reply_id: str, rater_hash: str, kind: VoteKind) -> Vote | None: ...

    async def votes(self, reply_id: str) -> tuple[Vote, ...]:
        """Every row, closed ones included, oldest first."""
        ...

    async def thumbs(self) -> tuple[CastThumb, ...]:
        """The live thumbs, oldest first, with what decides whether they may train."""
        ...

    async def pairs(self) -> tuple[CastPair, ...]:
        """The live comparisons, oldest first, with what decides whether they may train."""
        ...

    async def rewrites(self) -> tuple[CastRewrite, ...]:
        """The live rewrites, oldest first, with what decides whether they may train."""
        ...

    async def vote_counts(self) -> tuple[VoteCount, ...]:
        """The live votes by persona, kind, value and consent."""
        ...

    async def setting(self, scope: Scope, scope_id: str, name: str) -> str | None: ...

    async def set_setting(self, scope: Scope, scope_id: str, name: str, value: str) -> None: ...

    async def add_adapter(self, adapter: Adapter, *, champion_if_none: bool = False) -> bool:
        """Registers a version; returns whether it became champion because the persona had none."""
        ...

    async def adapters(self, base_fingerprint: str) -> tuple[Adapter, ...]: ...

    async def aliases(self, base_fingerprint: str) -> tuple[Alias, ...]: ...

    async def promote(self, persona: str, base_fingerprint: str, digest: str, *, actor: str) -> None:
        """Makes a version champion and the old champion previous, by hand (`Ledger.promote_version`)."""
        ...

    async def set_alias(
        self, persona: str, base_fingerprint: str, alias: AliasName, digest: str | None
    ) -> None:
        """Points an alias to a version, or removes it."""
        ...

    async def audit(self, actor: str, act: str, subject: str, detail: str = "") -> None: ...

    async def audits(self, *, most: int = 100) -> tuple[Audit, ...]: ...

    async def states(self) -> Mapping[str, Mapping[str, int]]:
        """How many rows of inbox and outbox are in which state."""
        ...
