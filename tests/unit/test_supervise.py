"""What dies is started again; what is refused is not."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

import pytest
from structlog.testing import capture_logs

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


@pytest.fixture(name="sleeper")
async def _sleeper():
    child = supervise.Child("sleeper", SLEEPER, environment=dict(os.environ))
    task = asyncio.create_task(child.run())
    await until(lambda: child.pid)
    yield child
    task.cancel()
    await asyncio.wait({task})


async def test_a_paused_child_is_ended_and_started_again_without_a_failure(sleeper, monkeypatch):
    monkeypatch.setattr(supervise, "FIRST_WAIT_S", 60.0)
    for starts in (2, 3):
        first = sleeper.pid
        with capture_logs() as logs:
            async with sleeper.paused():
                assert sleeper.pid is None
                with pytest.raises(ProcessLookupError):
                    os.kill(first, 0)
            await until(lambda: sleeper.pid)
        assert (sleeper.starts, sleeper.failures) == (starts, 0)
        assert [line["event"] for line in logs] == ["child.started"]


async def test_what_a_child_holds_is_a_size_and_nothing_in_a_pause(sleeper):
    await until(lambda: 2**18 < sleeper.own_bytes < 2**30)
    async with sleeper.paused():
        assert sleeper.own_bytes == 0


async def test_a_paused_child_is_started_again_after_an_error_as_well(sleeper):
    with pytest.raises(OSError, match="no disk"):
        async with sleeper.paused():
            raise OSError("no disk")
    await until(lambda: sleeper.pid)


async def test_a_child_that_had_died_is_not_started_in_a_pause(sleeper):
    os.kill(sleeper.pid, signal.SIGKILL)
    await until(lambda: sleeper.failures)
    async with sleeper.paused():
        # Several times what it waits after a failure.
        await asyncio.sleep(0.1)
        assert sleeper.pid is None
    await until(lambda: sleeper.pid)


async def test_a_supervisor_that_is_cancelled_in_a_pause_leaves_no_child():
    child = supervise.Child("sleeper", SLEEPER, environment=dict(os.environ))
    task = asyncio.create_task(child.run())
    await until(lambda: child.pid)
    async with child.paused():
        task.cancel()
        await asyncio.wait({task})
    assert (child.pid, child.starts) == (None, 1)
