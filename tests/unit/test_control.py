"""The control socket: private, one line each way, errors as sentences."""

from __future__ import annotations

import asyncio
import contextlib
import stat

import pytest

from bot import control
from bot.errors import BotError, ControlUnavailable
from tests.waiting import until


async def echo(request):
    return {"heard": request["text"]}


async def refuse(_request):
    raise BotError("Not now.")


async def crash(_request):
    raise RuntimeError("secret detail")


@contextlib.asynccontextmanager
async def serving(path):
    task = asyncio.create_task(control.serve(path, {"echo": echo, "refuse": refuse, "crash": crash}))
    async with asyncio.timeout(5):
        while not path.is_socket():
            await asyncio.sleep(0.01)
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_a_command_is_answered_and_the_socket_is_private(tmp_path):
    path = tmp_path / "control.sock"
    async with serving(path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert await control.ask(path, "echo", text="李白") == {"heard": "李白"}
    assert not path.exists()


async def test_a_refusal_comes_as_its_sentence_and_a_crash_without_its_detail(tmp_path):
    path = tmp_path / "control.sock"
    async with serving(path):
        with pytest.raises(BotError, match="Not now"):
            await control.ask(path, "refuse")
        with pytest.raises(BotError, match="log says more"):
            await control.ask(path, "crash")
        with pytest.raises(BotError, match="Unknown command; known are crash, echo, refuse"):
            await control.ask(path, "sing")


async def test_without_a_bot_the_caller_is_told(tmp_path):
    with pytest.raises(ControlUnavailable):
        await control.ask(tmp_path / "control.sock", "echo", text="x")


async def test_a_socket_left_by_a_killed_bot_is_replaced(tmp_path):
    path = tmp_path / "control.sock"
    async with serving(path):
        pass
    path.touch()
    async with serving(path):
        assert await control.ask(path, "echo", text="again") == {"heard": "again"}


async def test_the_end_does_not_wait_for_a_terminal_that_is_still_open(tmp_path):
    """From Python 3.12 a server that is closed waits for its connections."""
    path = tmp_path / "control.sock"

    async def listen(_request, reader, writer):
        writer.write(b"hello\n")
        await reader.read()

    task = asyncio.create_task(control.serve(path, {}, {"talk": listen}))
    await until(path.is_socket)
    reader, writer = await control.open_session(path, "talk")
    assert await reader.readline() == b"hello\n"
    task.cancel()
    async with asyncio.timeout(2):
        with contextlib.suppress(asyncio.CancelledError):
            await task
        assert await reader.read() == b""
    writer.close()


async def test_nonsense_on_the_socket_is_refused(tmp_path):
    path = tmp_path / "control.sock"
    async with serving(path):
        for line in (b"nonsense\n", b"[1]\n", b"\n"):
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(line)
            assert b"Unknown command" in await reader.readline()
            writer.close()
