"""Waiting for a condition with a deadline, instead of sleeping."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any


async def until(condition: Callable[[], Any], *, seconds: float = 30.0) -> Any:
    """Returns the condition's first true value; fails with TimeoutError after ``seconds``."""
    async with asyncio.timeout(seconds):
        while not (value := condition()):
            await asyncio.sleep(0.01)
        return value
