"""What can go wrong in the conversation process.

BotError
├── CorpusUnknown      no persona, set or file is called so
├── NothingToLearn     nothing that people said can be trained on yet
├── SettingsWrong      a setting is unknown or not valid
├── SnapshotUnwritten  the files of a training run cannot be written
├── PortTaken          another program listens on the port
├── EngineGone         the engine process cannot be started
├── PlatformRefused    a platform will not have us (a wrong token): trying again cannot help
├── ProbesUnanswered   a held-out question got no reply: figures without it would not be true
└── ControlUnavailable no bot answers on the control socket
"""

from __future__ import annotations

__all__ = [
    "BotError", "ControlUnavailable", "CorpusUnknown", "EngineGone", "NothingToLearn", "PlatformRefused",
    "PortTaken", "ProbesUnanswered", "SettingsWrong", "SnapshotUnwritten",
]  # fmt: skip


class BotError(Exception):
    """The bot could not do what was asked."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").strip())


class CorpusUnknown(BotError):
    """No persona, set or file is called so."""


class NothingToLearn(BotError):
    """Nothing that people said can be trained on yet."""


class SettingsWrong(BotError):
    """A setting is unknown or not valid."""


class SnapshotUnwritten(BotError):
    """The files of a training run cannot be written; look at the free disk space."""


class PortTaken(BotError):
    """Another program listens on the port."""


class EngineGone(BotError):
    """The engine process cannot be started."""


class PlatformRefused(BotError):
    """The platform refuses this bot."""


class ProbesUnanswered(BotError):
    """A held-out question got no reply."""


class ControlUnavailable(BotError):
    """No running bot answers on the control socket."""
