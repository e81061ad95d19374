"""Our real engine inside the test's event loop, on a port of its own."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.config import EngineConfig
from engine.core import Core
from engine.metrics import Metrics
from engine.server import listen, make_app


@dataclass(frozen=True)
class Served:
    url: str
    core: Core


@asynccontextmanager
async def core_for(base: Path, **settings: Any) -> AsyncIterator[Core]:
    core = Core(EngineConfig(base=str(base), **settings), Metrics())
    try:
        await core.start()
        yield core
    finally:
        assert await core.stop()


@asynccontextmanager
async def serving(base: Path, **settings: Any) -> AsyncIterator[Served]:
    metrics = Metrics()
    core = Core(EngineConfig(base=str(base), **settings), metrics)
    await core.start()
    listening = socket.create_server(("127.0.0.1", 0))
    stop, up = asyncio.Event(), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(listen(make_app(core, metrics), listening, stop=stop, end=core.stop, ready=up.set))
        await up.wait()
        try:
            yield Served(f"http://127.0.0.1:{listening.getsockname()[1]}", core)
        finally:
            stop.set()
