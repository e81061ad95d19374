"""The trainer process on this machine: niced, its words in a log, ended with whoever waits for it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Job", "train"]

NICE = 10
STOP_S = 10.0
TAIL_BYTES = 4000


@dataclass(frozen=True, slots=True)
class Job:
    """One run as the trainer takes it; ``log`` None leaves its words to this process's own output."""

    snapshot: Path
    out: Path
    base: Path
    threads: int | None = None
    log: Path | None = None


async def train(job: Job, keep: Callable[[], Awaitable[None]]) -> str | None:
    """Trains and returns None, or in one line what went wrong.

    Args:
        job: what is trained.
        keep: renews the lease until it is cancelled; once it returns, the run is somebody else's or nobody's,
            and the trainer is ended.
    """
    command = [sys.executable, "-m", "training", "--nice", str(NICE), "--parent", str(os.getpid())]
    command += ["--threads", str(job.threads)] if job.threads is not None else []
    command += ["run", "--snapshot", str(job.snapshot), "--out", str(job.out), "--base", str(job.base)]
    with contextlib.ExitStack() as stack:
        # A log per run: what a failed one said is still there the next morning.
        words = None if job.log is None else stack.enter_context(job.log.open("ab"))
        process = await asyncio.create_subprocess_exec(
            *command, stdout=words, stderr=words, start_new_session=True
        )
        try:
            async with asyncio.TaskGroup() as tasks:
                keeping = tasks.create_task(_kept(keep, process))
                await process.wait()
                keeping.cancel()
        finally:
            await _end(process)
    code = process.returncode
    if not code:
        return None
    if code < 0:
        # What it said last is no reason then.
        return f"The trainer was ended by {signal.Signals(-code).name}; SIGKILL may mean too little memory."
    said = "" if job.log is None else _last_line(job.log)
    return said or f"The trainer ended with {code}."


async def _kept(keep: Callable[[], Awaitable[None]], process: asyncio.subprocess.Process) -> None:
    await keep()
    await _end(process)


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(STOP_S):
            await process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


def _last_line(log: Path) -> str:
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - TAIL_BYTES))
        lines = file.read().decode(errors="replace").splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
