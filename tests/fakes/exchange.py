"""What a double was asked and what it answered, kept as it went over the wire."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Exchange:
    """``sent`` is the decoded JSON body, or the raw form; ``answer`` the decoded JSON, None for no body."""

    method: str
    path: str
    sent: Any
    status: int
    answer: Any
    query: Mapping[str, str] = field(default_factory=dict)
