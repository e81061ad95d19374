"""The control socket of a running bot: one JSON line asks, one JSON line answers, or a session begins.

`$TROUPE_HOME/control.sock` is 0600: whoever can open it may do what the operator may. Commands that need
the store use it while a bot runs, because only the bot writes the store.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import structlog

from bot.errors import BotError, ControlUnavailable
from data.errors import DataError
from personas.errors import PersonaError

__all__ = ["Handler", "Session", "ask", "open_session", "parsed", "serve"]

_log = structlog.get_logger(__name__)

Handler = Callable[[Mapping[str, Any]], Awaitable[Mapping[str, Any]]]
# A command that keeps the connection: the request, then lines both ways until one side closes.
Session = Callable[[Mapping[str, Any], asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

LONGEST_LINE = 1 << 20
ANSWER_S = 30.0


async def serve(
    path: Path, handlers: Mapping[str, Handler], sessions: Mapping[str, Session] | None = None
) -> None:
    """Answers until cancelled; the socket file is gone afterwards."""
    path.unlink(missing_ok=True)
    talking: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - asyncio runs every connection as a task
        talking.add(task)
        try:
            # asyncio's streams would call the end of a cancelled connection an error.
            with contextlib.suppress(asyncio.CancelledError):
                await _connection(reader, writer, handlers, sessions or {})
        finally:
            talking.discard(task)

    previous = os.umask(0o177)
    try:
        server = await asyncio.start_unix_server(connected, path=path, limit=LONGEST_LINE)
    finally:
        os.umask(previous)
    try:
        # Not serve_forever: from Python 3.12 its end waits for every open terminal to leave by itself.
        await asyncio.Event().wait()
    finally:
        server.close()
        path.unlink(missing_ok=True)
        ending = tuple(talking)
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)


async def ask(path: Path, command: str, **arguments: Any) -> dict[str, Any]:
    """Sends one command to the running bot and returns its answer.

    Raises:
        ControlUnavailable: no bot listens there.
        BotError: the bot refused, with its sentence.
    """
    reader, writer = await open_session(path, command, **arguments)
    try:
        async with asyncio.timeout(ANSWER_S):
            line = await reader.readline()
    except (ConnectionResetError, TimeoutError) as error:
        raise ControlUnavailable("The running bot does not answer on its control socket.") from error
    finally:
        writer.close()
    answer: dict[str, Any] = json.loads(line or b'{"error": "The running bot ended."}')
    if "error" in answer:
        raise BotError(answer["error"])
    return answer


async def open_session(
    path: Path, command: str, **arguments: Any
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connects and sends the first line; the caller closes the writer.

    Raises:
        ControlUnavailable: no bot listens there.
    """
    try:
        reader, writer = await asyncio.open_unix_connection(path, limit=LONGEST_LINE)
    except (FileNotFoundError, ConnectionRefusedError, PermissionError) as error:
        raise ControlUnavailable from error
    writer.write(json.dumps({"command": command, **arguments}).encode() + b"\n")
    await writer.drain()
    return reader, writer


async def _connection(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    handlers: Mapping[str, Handler],
    sessions: Mapping[str, Session],
) -> None:
    try:
        async with asyncio.timeout(ANSWER_S):
            line = await reader.readline()
        request = parsed(line)
        session = sessions.get(str(request.get("command")))
        if session is not None:
            await session(request, reader, writer)
            return
        async with asyncio.timeout(ANSWER_S):
            answer = await _answer(request, handlers)
            writer.write(json.dumps(answer, ensure_ascii=False).encode() + b"\n")
            await writer.drain()
    except (TimeoutError, ConnectionError):
        _log.info("control.dropped")
    except Exception:  # noqa: BLE001 - a task's edge: one session's failure must not stop the others
        _log.exception("control.failed")
    finally:
        writer.close()


def parsed(line: bytes) -> Mapping[str, Any]:
    """One line as a request; what is none becomes an empty one, which every handler refuses."""
    try:
        request = json.loads(line)
    except ValueError:
        return {}
    return request if isinstance(request, dict) else {}


async def _answer(request: Mapping[str, Any], handlers: Mapping[str, Handler]) -> Mapping[str, Any]:
    handler = handlers.get(str(request.get("command")))
    if handler is None:
        return {"error": f"Unknown command; known are {', '.join(sorted(handlers))}."}
    try:
        return await handler(request)
    except (BotError, DataError, PersonaError) as error:
        return {"error": str(error)}
    except Exception:  # noqa: BLE001 - a task's edge: the caller gets a sentence, the log the traceback
        _log.exception("control.failed", command=request["command"])
        return {"error": "The bot failed at this command; its log says more."}
