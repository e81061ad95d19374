"""The life of a training run: which state may follow which.

```
             snapshot        claim           trained          judged, approved       start_canary
 claimed ──► snapshotted ──► training ─────► evaluating ────► awaiting_approval ───► canary ──► promoted
                             ▲  │ lease        │    └────────────────┼─────────────► │           │
                             └──┘ ran out      └─────► rejected ◄────┘  rolled_back ◄┴───────────┘

 every state from claimed to canary ──► failed | superseded
```
A run that passed and needs nobody's approval stays in ``evaluating`` until its canary starts. A run from the
written corpus has no gate yet: what it made is registered, and ``training`` goes straight to ``promoted``. An
operator may promote by hand whatever adapter there is: one that waits, was rejected or was rolled back.

The votes of an incremental run are consumed as long as it is ``promoted``. A run that is rolled back sets
them free, also after its promotion.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

__all__ = ["LEGAL", "LIVE", "RunState"]

RunState = Literal[
    "claimed",
    "snapshotted",
    "training",
    "evaluating",
    "awaiting_approval",
    "canary",
    "promoted",
    "rejected",
    "rolled_back",
    "failed",
    "superseded",
]

# One run of a persona and base at a time is in one of these; the store's unique index says the same.
LIVE: tuple[RunState, ...] = (
    "claimed", "snapshotted", "training", "evaluating", "awaiting_approval", "canary",
)  # fmt: skip

# A state that follows itself: another attempt, a later decision, an approval, a wider share.
LEGAL: Mapping[RunState, frozenset[RunState]] = {
    "claimed": frozenset({"snapshotted", "failed", "superseded"}),
    "snapshotted": frozenset({"training", "failed", "superseded"}),
    "training": frozenset({"training", "evaluating", "promoted", "failed", "superseded"}),
    "evaluating": frozenset(
        {"evaluating", "awaiting_approval", "canary", "promoted", "rejected", "failed", "superseded"}
    ),
    "awaiting_approval": frozenset(
        {"awaiting_approval", "canary", "promoted", "rejected", "failed", "superseded"}
    ),
    "canary": frozenset({"canary", "promoted", "rolled_back", "failed", "superseded"}),
    "promoted": frozenset({"promoted", "rolled_back"}),
    "rejected": frozenset({"promoted"}),
    "rolled_back": frozenset({"promoted"}),
    "failed": frozenset({"promoted"}),
    "superseded": frozenset({"promoted"}),
}
