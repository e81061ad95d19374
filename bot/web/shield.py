"""What every answer of the page carries, and what it refuses to read; also counts the requests."""

from __future__ import annotations

from collections.abc import Callable

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bot.web.metrics import WebMetrics

__all__ = ["LARGEST_BODY_BYTES", "Shield"]

# The longest message that gets a sentence of its own, percent-encoded, and some room.
LARGEST_BODY_BYTES = 2**20

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # A stricter policy would take the Origin away from our own forms.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


class Shield:
    def __init__(
        self, app: ASGIApp, *, metrics: WebMetrics, too_large: Callable[[Request], Response]
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._too_large = too_large

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def shielded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store")
                self._metrics.answered(scope["method"], message["status"])
            await send(message)

        length = Headers(scope=scope).get("content-length", "0")
        if not length.isdigit() or int(length) > LARGEST_BODY_BYTES:
            await self._too_large(Request(scope))(scope, receive, shielded)
        else:
            await self._app(scope, receive, shielded)
