"""What every command begins with."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine
from typing import Any

from bot.settings import Settings, load_settings
from data.logs import set_up_logs

__all__ = ["awaited", "quiet_settings", "settings_now"]


def settings_now() -> Settings:
    """The settings, from `troupe.toml` and the environment."""
    return load_settings(os.environ)


def quiet_settings() -> Settings:
    """The settings of a command whose standard output is its answer: warnings go to standard error."""
    settings = settings_now()
    set_up_logs("WARNING", secrets=settings.secrets)
    return settings


def awaited(coroutine: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(coroutine)
