"""Things that die are started again: the engine process, and each platform's client.

```
starting ──► up ──► ended ──(wait)──► starting        the wait doubles to a cap; a minute up resets it
                ├──► refused                          PlatformRefused: said once, not tried again
                └──► paused ──► starting              a child that was told to end, for as long as it was told
```
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from time import monotonic

import structlog

from bot.errors import PlatformRefused

__all__ = ["Child", "keep"]

_log = structlog.get_logger(__name__)

FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 30.0
STEADY_S = 60.0
# Inside the ten seconds that the whole process has from SIGTERM to its end.
STOP_S = 4.0


async def keep(name: str, start: Callable[[], Awaitable[None]]) -> None:
    """Runs ``start`` again whenever it returns or fails; gives up only on PlatformRefused."""
    wait = FIRST_WAIT_S
    while True:
        began = monotonic()
        try:
            await start()
            _log.warning("platform.ended", platform=name)
        except PlatformRefused as error:
            _log.error("platform.refused", platform=name, reason=str(error))
            return
        except Exception:  # noqa: BLE001 - a task's edge: one platform's failure must not stop the others
            _log.exception("platform.failed", platform=name, again_in_s=wait)
        wait = FIRST_WAIT_S if monotonic() - began > STEADY_S else wait
        await asyncio.sleep(wait)
        wait = min(wait * 2, LONGEST_WAIT_S)


class Child:
    """A child process that is started again when it dies and ends with its supervisor."""

    def __init__(self, name: str, arguments: Sequence[str], *, environment: Mapping[str, str]) -> None:
        self._name = name
        self._arguments = list(arguments)
        self._environment = dict(environment)
        self._process: asyncio.subprocess.Process | None = None
        self._let_go: asyncio.subprocess.Process | None = None
        # Held through a pause.
        self._may_start = asyncio.Lock()
        self.starts = 0
        self.failures = 0

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        running = self._process is not None and self._process.returncode is None
        return self._process.pid if running and self._process else None

    @property
    def own_bytes(self) -> int:
        """Memory that comes free when it ends, in bytes; 0 where nobody tells, as outside Linux."""
        try:
            lines = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii").splitlines()
        except OSError:
            return 0
        return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon:")), 0)

    async def run(self) -> None:
        """Keeps the child running until cancelled, then ends it."""
        wait = FIRST_WAIT_S
        try:
            while True:
                began = monotonic()
                code = await self._once()
                if self._process is self._let_go:
                    wait = FIRST_WAIT_S
                    continue
                self.failures += 1
                wait = FIRST_WAIT_S if monotonic() - began > STEADY_S else wait
                _log.error("child.ended", child=self._name, code=code, again_in_s=wait)
                await asyncio.sleep(wait)
                wait = min(wait * 2, LONGEST_WAIT_S)
        finally:
            await self._stop()

    @contextlib.asynccontextmanager
    async def paused(self) -> AsyncIterator[None]:
        """Ends the child in order and keeps it ended within the block; `run` starts it again afterwards.

        One that is waited for after a failure of its own is not started within the block either.
        """
        async with self._may_start:
            self._let_go = self._process
            await self._stop()
            yield

    async def _once(self) -> int:
        async with self._may_start:
            # Its own session: Ctrl-C in the terminal reaches the supervisor alone, which ends it in order.
            self._process = await asyncio.create_subprocess_exec(
                *self._arguments,
                env=self._environment,
                stdin=asyncio.subprocess.DEVNULL,
                start_new_session=True,
            )
        self.starts += 1
        _log.info("child.started", child=self._name, pid=self._process.pid)
        return await self._process.wait()

    async def _stop(self) -> None:
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_S):
                await process.wait()
        except TimeoutError:
            _log.warning("child.killed", child=self._name)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
