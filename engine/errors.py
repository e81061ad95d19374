"""What can go wrong between a caller and the engine; torch-free.

EngineError
├── EngineUnavailable     nobody answers, or the answer is no answer
├── EngineBusy            the queue is full; ``retry_after_s`` says when to come back
├── EngineTimeout         a deadline passed (connect, first token, between tokens)
├── RequestInvalid        the request can never succeed as it is
│   └── ModelUnknown      no model of that name is loaded
├── BaseRefused           the base model cannot be loaded
└── AdapterRefused        an adapter folder does not hold what it must
"""

from __future__ import annotations

__all__ = [
    "AdapterRefused",
    "BaseRefused",
    "EngineBusy",
    "EngineError",
    "EngineTimeout",
    "EngineUnavailable",
    "ModelUnknown",
    "RequestInvalid",
]


class EngineError(Exception):
    """The engine could not do what was asked."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").strip())


class EngineUnavailable(EngineError):
    """The engine does not answer."""


class EngineBusy(EngineError):
    """The engine is busy; try again in a moment."""

    def __init__(self, message: str | None = None, *, retry_after_s: float = 5.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class EngineTimeout(EngineError):
    """The engine took too long."""


class RequestInvalid(EngineError):
    """The request cannot be served as it is."""


class ModelUnknown(RequestInvalid):
    """No model of that name is loaded."""


class BaseRefused(EngineError):
    """The base model cannot be loaded."""


class AdapterRefused(EngineError):
    """The adapter folder does not hold a valid adapter for this base."""
