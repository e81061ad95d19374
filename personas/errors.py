"""What can be wrong with a persona or a prompt.

PersonaError
├── PersonaBroken      the folder does not hold a valid persona
├── PersonaUnknown     no persona of that name
└── QuestionTooLong    the new message alone does not fit the context
"""

from __future__ import annotations

__all__ = ["PersonaBroken", "PersonaError", "PersonaUnknown", "QuestionTooLong"]


class PersonaError(Exception):
    """Something is wrong with a persona."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").strip())


class PersonaBroken(PersonaError):
    """The folder does not hold a valid persona."""


class PersonaUnknown(PersonaError):
    """No persona of that name."""


class QuestionTooLong(PersonaError):
    """The message is too long for this model."""
