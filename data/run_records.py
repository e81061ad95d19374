"""Training runs and what belongs to them as values; JSON stays text where only the reader knows its shape."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from data.run_states import RunState

__all__ = ["Arm", "ArmName", "LoreTicket", "NewRun", "Run", "RunChange", "RunKind", "WayBack"]

RunKind = Literal["corpus", "incremental", "rebuild"]
ArmName = Literal["champion", "challenger"]


@dataclass(frozen=True, slots=True)
class NewRun:
    """A run to be opened; with an ``id`` of its own (`data.ids.new_id`), opening it twice opens it once.

    ``snapshotted`` is for runs whose snapshot folder lies there already.
    """

    persona: str
    base_fingerprint: str
    kind: RunKind
    seed: int
    id: str | None = None
    state: Literal["claimed", "snapshotted"] = "claimed"
    owner: str | None = None
    config_digest: str | None = None
    reference_version: str | None = None
    snapshot_digest: str | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """A row of ``run``.

    ``attempt`` counts from 1 with the first claim. ``challenger`` is the digest of the adapter that came out,
    ``share`` the percentage of conversations that hear it in the canary. ``champion_before`` and
    ``previous_before`` are what those aliases named before this adapter was tried or promoted.
    """

    id: str
    persona: str
    base_fingerprint: str
    kind: RunKind
    state: RunState
    owner: str | None
    lease_until: float | None
    attempt: int
    config_digest: str | None
    reference_version: str | None
    seed: int
    snapshot_digest: str | None
    checkpoint: str | None
    report: str | None
    error: str | None
    created_at: float
    updated_at: float
    decision: str | None
    reason: str | None
    challenger: str | None
    approved_by: str | None
    share: int | None
    share_since: float | None
    canary_since: float | None
    promoted_at: float | None
    champion_before: str | None
    previous_before: str | None

    @property
    def is_ready(self) -> bool:
        """Whether its canary may start: it passed, and somebody approved where that is needed."""
        if self.state == "evaluating":
            return self.decision is not None
        return self.state == "awaiting_approval" and self.approved_by is not None


@dataclass(frozen=True, slots=True)
class RunChange:
    """What a move writes besides the state; None leaves a column as it is."""

    snapshot_digest: str | None = None
    challenger: str | None = None
    report: str | None = None
    error: str | None = None
    decision: str | None = None
    reason: str | None = None
    approved_by: str | None = None
    share: int | None = None
    share_since: float | None = None
    canary_since: float | None = None
    promoted_at: float | None = None
    champion_before: str | None = None
    previous_before: str | None = None


@dataclass(frozen=True, slots=True)
class Arm:
    """What people got and said on one side of a canary, as a rule since its share last changed.

    What came before is left out then: were the engine slow for an hour after a change, the arm that grew by
    it would look the slower.

    ``replies`` are all that came to an end, ``flags`` those of them that a guard flagged, by the flag;
    "error" is one that failed, "slow" one whose first words came late, "regenerated" one that people asked
    for again. Of one person in one conversation the latest thumb alone is counted.
    """

    replies: int = 0
    ups: int = 0
    downs: int = 0
    flags: Mapping[str, int] = field(default_factory=dict)

    @property
    def votes(self) -> int:
        """Thumbs both ways."""
        return self.ups + self.downs


@dataclass(frozen=True, slots=True)
class WayBack:
    """Where a persona's rollback leads.

    ``run_id`` is the run that it ends, None where a hand made the champion; ``digest`` the champion
    afterwards, None where the persona then speaks without an adapter. ``is_canary``: the champion stays.
    """

    run_id: str | None
    digest: str | None
    is_canary: bool


@dataclass(frozen=True, slots=True)
class LoreTicket:
    """A reply that somebody said holds a wrong fact; ``text`` is what they wrote about it."""

    id: int
    vote_id: int
    reply_id: str
    persona: str
    state: Literal["open", "closed"]
    created_at: float
    text: str | None
