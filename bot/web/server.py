"""The web page as a platform: the core speaks through it into rooms, which the pages follow."""

from __future__ import annotations

import asyncio
import errno
import secrets
import socket
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Final

import structlog
import uvicorn
from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from bot.errors import PortTaken, SettingsWrong
from bot.platform import Button, Capabilities, Core, Place, PlatformName, Press, VoteOutcome
from bot.web.metrics import WebMetrics
from bot.web.page import Pages
from bot.web.review import ReviewPage
from bot.web.room import Rooms
from bot.web.routes import MOST_CHARACTERS, Site
from personas.loader import Cast

__all__ = ["Web"]

_log = structlog.get_logger(__name__)

CAPABILITIES = Capabilities(
    max_units=MOST_CHARACTERS, unit="character", can_edit=True, min_edit_interval_s=0.1
)
# For answers that are being written when the process ends; streams end at once.
GRACE_S = 2


class Web:
    """The port to the page, and the server that shows it."""

    def __init__(
        self,
        core: Core,
        cast: Cast,
        *,
        host: str,
        port: int,
        adapter_of: Callable[[str], str | None],
        registry: CollectorRegistry | None = None,
    ) -> None:
        """Makes the application; nothing listens yet.

        Args:
            core: whom the page tells what people do.
            cast: who can be talked to.
            host: the address to listen on.
            port: 0 picks a free one.
            adapter_of: the adapter that a persona speaks with now; None where it speaks by prompt only.
            registry: what ``/metrics`` shows; one of its own without it.
        """
        self._core = core
        self._host = host
        self._port = port
        self._rooms = Rooms()
        self._socket: socket.socket | None = None
        metrics = WebMetrics(registry or CollectorRegistry())
        pages = Pages(cast, adapter_of)
        self.app: Final[FastAPI] = Site(core, cast, self._rooms, pages, metrics).app()
        self.app.include_router(ReviewPage(core, pages, host).router())

    @property
    def name(self) -> PlatformName:
        return "web"

    @property
    def capabilities(self) -> Capabilities:
        return CAPABILITIES

    @property
    def url(self) -> str:
        """Where the page is, for people; right once `bind` has picked the port."""
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(self._host, self._host)  # noqa: S104 - read, not bound
        return f"http://{f'[{host}]' if ':' in host and not host.startswith('[') else host}:{self._port}"

    def bind(self) -> None:
        """Takes the port, so that a taken one is known before anything else starts; `run` does it too.

        Raises:
            PortTaken: another program has it.
            SettingsWrong: this machine has no such address, or the port is not for us.
        """
        if self._socket is not None:
            return
        try:
            family, _, _, _, address = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)[0]
            self._socket = socket.create_server(address[:2], family=family, backlog=128)
        except OSError as error:
            raise self._refusal(error) from error
        self._port = self._socket.getsockname()[1]

    async def run(self) -> None:
        """Serves until cancelled, and then ends every open stream."""
        self.bind()
        assert self._socket is not None  # noqa: S101 - bind made it
        self._rooms.open()
        server = _Server(
            uvicorn.Config(
                self.app,
                log_config=None,
                access_log=False,
                lifespan="off",
                server_header=False,
                timeout_graceful_shutdown=GRACE_S,
            )
        )
        self._core.attach(self)
        _log.info("web.listening", url=self.url)
        async with asyncio.TaskGroup() as group:
            serving = group.create_task(server.serve(sockets=[self._socket]))
            try:
                await asyncio.shield(serving)
            finally:
                self._rooms.close()
                server.should_exit = True
                await serving
                self._socket.close()
                self._socket = None

    async def send(
        self,
        place: Place,
        text: str,
        *,
        nonce: str,  # noqa: ARG002 - a room takes what it is given, so no send is ever unknown
        reply_to: str | None = None,  # noqa: ARG002 - one conversation, in order
        buttons: Sequence[Button] = (),
    ) -> str:
        message_id = f"m{secrets.token_hex(8)}"
        self._rooms[place].say(message_id, text, _reply_id(buttons))
        return message_id

    async def edit(self, place: Place, message_id: str, text: str, *, buttons: Sequence[Button] = ()) -> None:
        self._rooms[place].say(message_id, text, _reply_id(buttons))

    async def typing(self, place: Place) -> None:
        self._rooms[place].type()

    async def acknowledge(self, press: Press, outcome: VoteOutcome) -> None:
        """Nothing to do: the page's presses are answered in line."""

    def _refusal(self, error: OSError) -> PortTaken | SettingsWrong:
        if error.errno == errno.EADDRINUSE:
            return PortTaken(
                f"Port {self._port} on {self._host} is taken by another program; "
                "end that one or set web_port (TROUPE_WEB_PORT) to another number."
            )
        if error.errno == errno.EACCES:
            return SettingsWrong(
                f"This user may not listen on port {self._port}; set web_port (TROUPE_WEB_PORT) above 1023."
            )
        return SettingsWrong(
            f"The page cannot listen on {self._host!r} ({error.strerror or error}); "
            "set web_host (TROUPE_WEB_HOST) to an address of this machine, such as 127.0.0.1."
        )


class _Server(uvicorn.Server):
    """Leaves signals to the process."""

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


def _reply_id(buttons: Sequence[Button]) -> str | None:
    for button in buttons:
        kind, _, rest = button.data.partition(":")
        if kind == "vote":
            return rest.partition(":")[0]
    return None
