"""What dies is started again; what is refused is not."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

import pytest

from bot import supervise
from bot.errors import PlatformRefused
from tests.waiting import until

SLEEPER = [sys.executable, "-c", "import time; time.sleep(60)"]
DEAF = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)",
]


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch):
    monkeypatch.setattr(supervise, "FIRST_WAIT_S", 0.01)
    monkeypatch.setattr(supervise, "STOP_S", 0.5)


async def test_a_killed_child_is_started_again():
    child = supervise.Child("sleeper", SLEEPER, environment=dict(os.environ))
    task = asyncio.create_task(child.run())
    await until(lambda: child.pid)
    first = child.pid
    os.kill(first, signal.SIGKILL)
    await until(lambda: child.pid not in {None, first})
    assert child.starts == 2
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("arguments", [SLEEPER, DEAF], ids=["listens", "deaf"])
async def test_a_cancelled_supervisor_leaves_no_child(arguments):
    child = supervise.Child("child", arguments, environment=dict(os.environ))
    task = asyncio.create_task(child.run())
    await until(lambda: child.pid)
    pid = child.pid
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_a_failing_platform_is_started_again_and_a_refused_one_is_not():
    calls = []

    async def start():
        calls.append(1)
        if len(calls) == 3:
            raise PlatformRefused("wrong token")
        raise ConnectionError("gone")

    async with asyncio.timeout(5):
        await supervise.keep("fake", start)
    assert len(calls) == 3
