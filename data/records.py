"""The rows of the store as values; JSON stays text where only the reader knows its shape."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

__all__ = [
    "Adapter",
    "Alias",
    "AliasName",
    "Answer",
    "Audit",
    "Ballot",
    "CastPair",
    "CastRewrite",
    "CastThumb",
    "Consent",
    "Conversation",
    "Erased",
    "InboxItem",
    "InboxKind",
    "InboxState",
    "NewReply",
    "OutboxItem",
    "OutboxState",
    "RebuildDue",
    "Reply",
    "ReplyState",
    "Result",
    "Said",
    "Scope",
    "Utterance",
    "Vote",
    "VoteChange",
    "VoteCount",
    "VoteKind",
    "VoteOfRater",
]

InboxKind = Literal["message", "command", "press"]
InboxState = Literal["pending", "handling", "done", "dead", "expired"]
OutboxState = Literal["pending", "sending", "sent", "failed", "unknown"]
ReplyState = Literal["generating", "complete", "failed"]
VoteKind = Literal["thumb", "pair", "rewrite", "flag"]
VoteChange = Literal["new", "changed", "same", "no_reply", "no_vote", "taken"]
Consent = Literal["yes", "no", "vote", "unasked"]
Answer = Literal["yes", "no", "vote"]
Scope = Literal["thread", "channel", "guild", "user"]
AliasName = Literal["champion", "challenger", "previous"]


@dataclass(frozen=True, slots=True)
class InboxItem:
    """One event from a platform; (platform, chat, message_id) is there once."""

    platform: str
    chat: str
    thread: str
    message_id: str
    user_hash: str
    kind: InboxKind
    payload: str
    id: int = 0
    state: InboxState = "pending"
    attempts: int = 0
    received_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Conversation:
    id: str
    platform: str
    chat: str
    thread: str
    persona: str
    created_at: float
    last_erasure: int = 0  # when this was read


@dataclass(frozen=True, slots=True)
class NewReply:
    """Everything that is needed to say the same again."""

    inbox_id: int
    conversation_id: str
    persona: str
    platform: str
    chat: str
    lang: str
    messages: str  # JSON: [{"role", "content"}]
    lore: str  # JSON: the slugs of the lore shown
    sampling: str  # JSON
    seed: int
    base: str | None = None
    base_fingerprint: str | None = None
    dtype: str | None = None
    quantize: str | None = None
    adapter: str | None = None
    adapter_digest: str | None = None
    arm: str | None = None
    parent_reply_id: str | None = None
    last_erasure: int | None = None  # when the conversation was read from which ``messages`` was composed


@dataclass(frozen=True, slots=True)
class Reply:
    id: str
    inbox_id: int
    conversation_id: str
    parent_reply_id: str | None
    persona: str
    platform: str
    chat: str
    state: ReplyState
    lang: str
    messages: str
    lore: str
    text: str | None
    base: str | None
    base_fingerprint: str | None
    dtype: str | None
    quantize: str | None
    adapter: str | None
    adapter_digest: str | None
    arm: str | None
    sampling: str
    seed: int
    finish_reason: str | None
    prompt_tokens: int | None
    completion_tokens: int | None
    first_text_s: float | None
    seconds: float | None
    guard: str | None
    error: str | None
    created_at: float
    completed_at: float | None


@dataclass(frozen=True, slots=True)
class Result:
    """How a reply came out."""

    text: str
    finish_reason: str
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    first_text_s: float | None = None
    seconds: float | None = None
    guard: str | None = None  # JSON: what the guards found, ["language", "repetition"]; None for nothing


@dataclass(frozen=True, slots=True)
class Said:
    """The person's side of an exchange."""

    text: str
    author_hash: str
    author_name: str


@dataclass(frozen=True, slots=True)
class Utterance:
    """One message of the history; those with one reply_id belong together."""

    reply_id: str
    role: Literal["user", "assistant"]
    author_hash: str | None
    author_name: str | None
    text: str


@dataclass(frozen=True, slots=True)
class OutboxItem:
    """One message on its way out; ``slot`` is "reply" or the name of a sentence, ``part`` counts from 0."""

    id: int
    inbox_id: int
    slot: str
    part: int
    state: OutboxState
    nonce: str
    platform_message_id: str | None
    text: str
    updated_at: float


@dataclass(frozen=True, slots=True)
class Ballot:
    """A vote as it is cast."""

    reply_id: str
    rater_hash: str
    kind: VoteKind
    value: int
    role: Literal["user", "trusted", "moderator"] = "user"
    reason: str | None = None
    other_reply_id: str | None = None
    text: str | None = None
    source: str = "button"


@dataclass(frozen=True, slots=True)
class Vote:
    id: int
    reply_id: str
    rater_hash: str
    role: str
    kind: VoteKind
    value: int
    reason: str | None
    other_reply_id: str | None
    text: str | None
    consent: Consent
    source: str
    created_at: float
    closed_at: float | None


@dataclass(frozen=True, slots=True)
class VoteCount:
    """How many live votes of one kind a persona has."""

    persona: str
    kind: VoteKind
    value: int
    consent: Consent
    many: int


@dataclass(frozen=True, slots=True)
class CastThumb:
    """A live thumb with what decides whether it may train.

    ``messages``: how many the rater has written, in all chats. ``silent_others``: people besides the rater
    whose words stand in the prompt and who have not agreed. ``consumed``: a promoted incremental run has
    learnt this judgement; ``tries``: so many incremental runs with it were rejected or rolled back.
    """

    id: int
    reply_id: str
    conversation_id: str
    persona: str
    rater_hash: str
    value: int
    role: str
    consent: Consent
    reason: str | None
    guard: str | None
    messages: int
    silent_others: int
    consumed: bool = False
    tries: int = 0


@dataclass(frozen=True, slots=True)
class CastPair:
    """A live comparison of two replies; the rest as in `CastThumb`.

    ``value``: 1 where the reply is better than the other, -1 the other way round, 0 for neither.
    ``silent_others`` are those of both prompts.
    """

    id: int
    reply_id: str
    other_reply_id: str
    conversation_id: str
    persona: str
    rater_hash: str
    value: int
    role: str
    consent: Consent
    guard: str | None
    other_guard: str | None
    silent_others: int
    consumed: bool = False
    tries: int = 0


@dataclass(frozen=True, slots=True)
class CastRewrite:
    """A live better wording of a reply; the rest as in `CastThumb`."""

    id: int
    reply_id: str
    conversation_id: str
    persona: str
    rater_hash: str
    role: str
    consent: Consent
    text: str
    guard: str | None
    silent_others: int
    consumed: bool = False
    tries: int = 0


@dataclass(frozen=True, slots=True)
class VoteOfRater:
    """What came of a ballot; ``ask_consent`` is true once in a person's life."""

    change: VoteChange
    ask_consent: bool = False


@dataclass(frozen=True, slots=True)
class Erased:
    """What was forgotten of a person: ids that say where copies may lie, and how many rows of each sort.

    ``id`` is 0 where nothing was there; ``counts`` is empty for one that is read again.
    """

    id: int
    reply_ids: tuple[str, ...]  # replies to them, and others' whose prompts could repeat them
    vote_ids: tuple[int, ...]
    counts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RebuildDue:
    """A persona whose adapter was trained on rows that were erased since, the last of them at ``since``."""

    persona: str
    base_fingerprint: str
    since: float


@dataclass(frozen=True, slots=True)
class Adapter:
    """A version that never changes; ``path`` is the folder with its manifest."""

    digest: str
    persona: str
    version: str
    base_fingerprint: str
    path: str
    parent: str | None = None
    run_id: str | None = None
    snapshot_digest: str | None = None
    config_digest: str | None = None
    report: str | None = None


@dataclass(frozen=True, slots=True)
class Alias:
    """What champion, challenger or previous means for a persona on a base."""

    alias: AliasName
    digest: str
    persona: str
    version: str
    base_fingerprint: str
    path: str


@dataclass(frozen=True, slots=True)
class Audit:
    actor: str
    act: str
    subject: str
    detail: str
    created_at: float
