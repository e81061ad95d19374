"""The page served on a free port of loopback, over a recording core and the shipped cast."""

from __future__ import annotations

import asyncio
import contextlib
import re
from pathlib import Path

import httpx

import personas
from bot.web.server import Web
from personas.loader import load_cast
from tests.fakes.core import RecordingCore
from tests.waiting import until

CAST = load_cast([Path(personas.__file__).parent])


@contextlib.asynccontextmanager
async def serving(core: RecordingCore, *, adapter_of=lambda slug: f"{slug}@0a1b2c3d", cast=CAST, port=0):
    web = Web(core, cast, host="127.0.0.1", port=port, adapter_of=adapter_of)
    web.bind()
    task = asyncio.create_task(web.run())
    try:
        await until(lambda: core.ports or task.done())
        if task.done():
            task.result()
        yield web
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


class Tab:
    """One browser tab without a browser: a cookie jar, the page's token and key, and its stream."""

    def __init__(self, web: Web, *, language: str = "en") -> None:
        self.client = httpx.AsyncClient(base_url=web.url, headers={"Accept-Language": language}, timeout=30)
        self.html = ""
        self.news: list[str] = []
        self.ids: list[str] = []

    async def __aenter__(self) -> Tab:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.aclose()

    async def open(self, slug: str = "li_bai") -> str:
        answer = await self.client.get(f"/chat/{slug}")
        assert answer.status_code == 200, answer.text
        self.html = answer.text
        return self.html

    @property
    def session(self) -> str:
        return self.client.cookies["troupe_session"]

    @property
    def csrf(self) -> str:
        return found(r'X-CSRF-Token": "([0-9a-f]+)"', self.html)

    @property
    def key(self) -> str:
        return found(r'name="key" value="([\w-]+)"', self.html)

    @property
    def events(self) -> str:
        return found(r'sse-connect="([^"]+)"', self.html)

    async def post(self, path: str, **form: str) -> httpx.Response:
        return await self.client.post(
            path, data=form, headers={"X-CSRF-Token": self.csrf, "HX-Request": "true"}
        )

    async def say(self, text: str, slug: str = "li_bai", *, key: str | None = None) -> httpx.Response:
        return await self.post(f"/chat/{slug}/messages", text=text, key=key or self.key)

    @contextlib.asynccontextmanager
    async def following(self, *, since: str | None = None):
        """Collects the stream's fragments into ``news`` while the block runs."""
        headers = {"Last-Event-ID": since} if since else {}
        async with self.client.stream("GET", self.events, headers=headers, timeout=None) as stream:
            assert stream.status_code == 200
            assert stream.headers["content-type"].startswith("text/event-stream")
            task = asyncio.create_task(self._collect(stream))
            try:
                yield self
            finally:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task

    async def _collect(self, stream: httpx.Response) -> None:
        lines: list[str] = []
        async for line in stream.aiter_lines():
            if line.startswith("data: "):
                lines.append(line.removeprefix("data: "))
            elif line.startswith("id: "):
                self.ids.append(line.removeprefix("id: "))
            elif not line and lines:
                self.news.append("\n".join(lines))
                lines = []

    async def sees(self, text: str) -> str:
        """The first fragment that holds the text."""
        return await until(lambda: next((one for one in self.news if text in one), None))


def found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    assert match, f"no {pattern} in {text[:2000]}"
    return match[1]
