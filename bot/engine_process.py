"""Where the engine is: the configured ones, one that runs already, or a child of our own.

The engine has no tokens: the child's environment is the bot's without any secret.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from bot.errors import EngineGone, PortTaken
from bot.settings import SECRETS, Settings
from bot.supervise import Child
from data.home import Home

__all__ = ["EngineAddress", "borrowed_engine", "engine_child", "read_engine_file", "wait_for_engine"]

# A large base takes minutes to load from a slow disk.
START_S = 600.0


@dataclass(frozen=True, slots=True)
class EngineAddress:
    """What `engine.json` says of a running engine."""

    url: str
    pid: int
    base_fingerprint: str
    tokenizer: str | None
    context: int | None


def read_engine_file(home: Home) -> EngineAddress | None:
    """The engine that runs for this home, or None; a file left by a killed engine counts as none."""
    try:
        values = json.loads(home.engine_file.read_text(encoding="utf-8"))
        address = EngineAddress(
            url=values["url"],
            pid=int(values["pid"]),
            base_fingerprint=values["base_fingerprint"],
            tokenizer=values.get("tokenizer"),
            context=values.get("context"),
        )
        os.kill(address.pid, 0)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return address


def engine_child(
    settings: Settings, home: Home, environment: Mapping[str, str], *, adapters: Path | None = None
) -> Child:
    """The engine as a supervised child; ``adapters`` are the operator's, where that is not this home.

    Raises:
        PortTaken: another program listens on its port.
    """
    if settings.engine_port and _is_taken(settings.engine_port):
        raise PortTaken(
            f"Port {settings.engine_port} is in use, so the engine cannot listen there; stop that program "
            "or set engine_port (TROUPE_ENGINE_PORT)."
        )
    arguments = [sys.executable, "-m", "engine", "--host", "127.0.0.1", "--port", str(settings.engine_port)]
    arguments += ["--base", settings.base, "--dtype", settings.dtype, "--quantize", settings.quantize]
    arguments += ["--parent-pid", str(os.getpid())]
    arguments += ["--adapters-root", str((adapters or home.adapters).resolve())]
    if settings.threads is not None:
        arguments += ["--threads", str(settings.threads)]
    clean = {
        name: value
        for name, value in environment.items()
        if name.removesuffix("_FILE") not in SECRETS and not name.startswith("TROUPE_")
    }
    return Child("engine", arguments, environment={**clean, "TROUPE_HOME": str(home.root)})


async def wait_for_engine(home: Home, child: Child, *, seconds: float = START_S) -> EngineAddress:
    """Waits until the child answers.

    Raises:
        EngineGone: it ended, or did not come up in time; its own log line says why.
    """
    limit = monotonic() + seconds
    while monotonic() < limit:
        address = read_engine_file(home)
        if address is not None and address.pid == child.pid:
            return address
        if child.failures:
            raise EngineGone("The engine ended before it was ready; its message above says why.")
        await asyncio.sleep(0.05)
    raise EngineGone(f"The engine was not ready after {seconds:g} s; see its log.")


@contextlib.asynccontextmanager
async def borrowed_engine(
    settings: Settings, home: Home, environment: Mapping[str, str]
) -> AsyncIterator[str]:
    """The URL of the configured engine, else a running one, else one of our own that ends with the block.

    Raises:
        EngineGone: our own did not start.
    """
    if settings.engine_urls:
        yield settings.engine_urls[0]
        return
    running = read_engine_file(home)
    if running is not None:
        yield running.url
        return
    with tempfile.TemporaryDirectory(prefix="troupe-") as folder:
        own = Home(Path(folder))
        free = settings.model_copy(update={"engine_port": 0})
        child = engine_child(free, own, environment, adapters=home.adapters)
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(child.run())
            try:
                yield (await wait_for_engine(own, child)).url
            finally:
                task.cancel()


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False
