"""`troupe run` as a real process: started, heard, killed, and always ended."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.waiting import until

# Points discord.py at a double before the command line starts.
DRIVER = """
import os, sys
if os.environ.get("FAKE_DISCORD"):
    import warnings
    warnings.simplefilter("ignore")
    import discord
    from yarl import URL
    url = os.environ.pop("FAKE_DISCORD")
    discord.http.Route.BASE = f"{url}/api/v10"
    discord.gateway.DiscordWebSocket.DEFAULT_GATEWAY = URL(url.replace("http", "ws") + "/gateway/")
from bot.cli import main
sys.argv = ["troupe", *sys.argv[1:]]
main()
"""


@dataclass
class Running:
    """A bot process; ``lines`` is everything it said."""

    process: asyncio.subprocess.Process
    lines: list[str] = field(default_factory=list)

    @property
    def output(self) -> str:
        return "\n".join(self.lines)

    def said(self, words: str) -> str | None:
        return next((line for line in self.lines if words in line), None)

    async def page(self) -> str:
        line = await until(lambda: self.said("web.listening"), seconds=40)
        return line.split("url=")[1].split()[0]

    async def end(self, number: int = signal.SIGTERM, *, seconds: float = 10) -> int:
        """Signals and waits; fails when it takes longer."""
        self.process.send_signal(number)
        # Not `wait()`, which also waits until nobody holds the output any more: an engine left behind may.
        await until(lambda: self.process.returncode is not None, seconds=seconds)
        assert self.process.returncode is not None
        return self.process.returncode

    async def kill(self) -> None:
        self.process.kill()
        await self.process.wait()


@contextlib.asynccontextmanager
async def troupe_process(
    home: Path, *arguments: str, environment: Mapping[str, str] | None = None
) -> AsyncIterator[Running]:
    """Runs ``troupe`` with ``run`` or other arguments; whatever happens, it is gone afterwards."""
    values = {
        **os.environ,
        "TROUPE_HOME": str(home),
        "TROUPE_WEB_PORT": "0",
        "TROUPE_ENGINE_PORT": "0",
        "NO_COLOR": "1",
        "COLUMNS": "300",
        "PYTHONUNBUFFERED": "1",
        **(environment or {}),
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        DRIVER,
        *(arguments or ("run",)),
        env=values,
        cwd=home.parent,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    running = Running(process)
    reading = asyncio.create_task(_read(process, running.lines))
    try:
        yield running
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        await reading


async def _read(process: asyncio.subprocess.Process, lines: list[str]) -> None:
    assert process.stdout is not None
    while line := await process.stdout.readline():
        lines.append(line.decode(errors="replace").rstrip())


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that ended and was not waited for counts as gone."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"
