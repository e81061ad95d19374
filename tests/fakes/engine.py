"""A torch-free stand-in for the engine process: the real HTTP protocol, a made-up model.

It answers ``<model>: <last user message, reversed>`` piece by piece, so that a test can tell which adapter
answered what. In a test: ``async with FakeEngine(delay_s=0.1) as engine: engine.url``. As a process:
``python tests/fakes/engine.py --port N [--delay 0.1] [--die-after 3] [--busy] [--garbage]``; unknown flags
of the real engine are taken and ignored, and ``engine.json`` is written to ``$TROUPE_HOME`` if that is set.
While it runs, ``POST /fake {"die_after": 3}`` changes any hook.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

FINGERPRINT = "f" * 64
PIECE = re.compile(r"[^\W一-鿿]+\s?|.", re.DOTALL)


@dataclass
class FakeEngine:
    """Hooks are plain attributes; ``requests`` is every chat body, ``cancelled`` the ids that hung up.

    ``die_after``: this many pieces into the next reply the process (or the connection, in a test) ends.
    ``garbage``: the stream turns into nonsense after one piece. ``reply``: said instead of the echo.
    ``silent``: the answer begins and then nothing comes as long as it is set.
    ``likely``: what this stands in is likelier than it is long.
    """

    host: str = "127.0.0.1"
    port: int = 0
    delay_s: float = 0.0
    die_after: int | None = None
    busy: bool = False
    garbage: bool = False
    silent: bool = False
    reply: str | None = None
    likely: str = ""
    context: int = 1024
    ours: bool = True
    as_process: bool = False
    requests: list[dict[str, Any]] = field(default_factory=list)
    finished: list[str] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    adapters: dict[str, str] = field(default_factory=dict)
    url: str = ""
    _runner: web.AppRunner | None = None

    async def __aenter__(self) -> FakeEngine:
        app = web.Application()
        app.add_routes(
            [
                web.post("/v1/chat/completions", self._chat),
                web.get("/v1/models", self._models),
                web.post("/v1/load_lora_adapter", self._load),
                web.post("/v1/unload_lora_adapter", self._unload),
                web.post("/tokenize", self._tokenize),
                web.get("/health", self._health),
                web.get("/metrics", self._metrics),
                web.post("/fake", self._hooks),
            ]
        )
        self._runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self.host, self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]
        self.url = f"http://{self.host}:{self.port}"
        return self

    async def __aexit__(self, *error: object) -> None:
        if self._runner:
            await self._runner.cleanup()

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.requests.append(body)
        model, request_id = body["model"], body.get("request_id", "")
        if self.busy:
            headers = {"Retry-After": "3"}
            return _error(503, "ServiceUnavailableError", "The engine is busy.", headers=headers)
        if model != "base" and model not in self.adapters:
            return _error(404, "NotFoundError", f"The model `{model}` does not exist.")
        asked = sum(len(m["content"].encode()) for m in body["messages"])
        if asked + body["max_tokens"] > self.context * 4:
            return _error(400, "BadRequestError", "This model's context is shorter.", param="messages")
        try:
            if not body.get("stream"):
                text = "".join([piece async for piece in self._pieces(model, body["messages"])])
                scored = self._scored(body["messages"]) if "prompt_logprobs" in body else {}
                return web.json_response(_whole(model, text) | scored)
            return await self._stream(request, body, model)
        except (asyncio.CancelledError, ConnectionError):
            self.cancelled.append(request_id)
            raise
        finally:
            self.finished.append(request_id)

    async def _stream(self, request: web.Request, body: dict[str, Any], model: str) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        await response.prepare(request)
        await _event(response, _chunk(model, {"role": "assistant", "content": ""}))
        count = 0
        async for piece in self._pieces(model, body["messages"]):
            if self.die_after is not None and count >= self.die_after:
                self.die_after = None
                self._die(request)
            if self.garbage and count >= 1:
                await response.write(b"data: {this is not JSON\n\n")
                return response
            count += 1
            await _event(response, _chunk(model, {"content": piece}))
        await _event(response, _chunk(model, {}, finish_reason="stop"))
        usage = {"prompt_tokens": 7, "completion_tokens": count, "total_tokens": 7 + count}
        await _event(response, _chunk(model, None, usage=usage))
        await response.write(b"data: [DONE]\n\n")
        return response

    async def _pieces(self, model: str, messages: list[dict[str, str]]) -> AsyncIterator[str]:
        text = self.reply
        if text is None:
            text = f"{model}: {messages[-1]['content'][::-1]}"
        for piece in PIECE.findall(text):
            while self.silent:
                await asyncio.sleep(0.02)
            await asyncio.sleep(self.delay_s)
            yield piece

    def _scored(self, messages: list[dict[str, str]]) -> dict[str, Any]:
        """As vLLM tells it: nothing for the first token, each other by its id; a token is a character."""
        text = "".join(message["content"] for message in messages)
        each = -0.1 if self.likely and self.likely in messages[-1]["content"] else -2.0
        return {"prompt_logprobs": [None, *({str(ord(letter)): {"logprob": each}} for letter in text)]}

    def _die(self, request: web.Request) -> None:
        if self.as_process:
            os.kill(os.getpid(), signal.SIGKILL)
        if request.transport:
            request.transport.abort()
        raise ConnectionResetError

    async def _models(self, _: web.Request) -> web.Response:
        rows = [_card("base", parent=None, root="fake", length=self.context)]
        rows += [_card(name, parent="base", root=path, length=None) for name, path in self.adapters.items()]
        return web.json_response({"object": "list", "data": rows})

    async def _load(self, request: web.Request) -> web.Response:
        body = await request.json()
        name, path = body.get("lora_name", ""), body.get("lora_path", "")
        if not self.ours:
            return web.json_response({"detail": "Not Found"}, status=404)
        if not name or not path:
            return _error(400, "InvalidUserInput", "Both 'lora_name' and 'lora_path' must be provided.")
        if name in self.adapters:
            message = f"The lora adapter '{name}' has already been loaded."
            return _error(400, "InvalidUserInput", message)
        if not Path(path).is_dir():
            message = f"Loading lora {name} failed: No adapter found for {path}"
            return _error(404, "NotFoundError", message)
        self.adapters[name] = path
        return _bare(f"Success: LoRA adapter '{name}' added successfully.")

    async def _unload(self, request: web.Request) -> web.Response:
        name = (await request.json()).get("lora_name", "")
        if self.adapters.pop(name, None) is None:
            return _error(404, "NotFoundError", f"The lora adapter '{name}' cannot be found.")
        return _bare(f"Success: LoRA adapter '{name}' removed successfully.")

    async def _tokenize(self, request: web.Request) -> web.Response:
        tokens = list((await request.json())["prompt"].encode())
        return web.json_response({"count": len(tokens), "max_model_len": self.context, "tokens": tokens})

    async def _health(self, _: web.Request) -> web.Response:
        if not self.ours:
            return web.Response()
        return web.json_response(
            {
                "status": "ok",
                "base": "fake",
                "base_fingerprint": FINGERPRINT,
                "context": self.context,
                "quantize": "none",
                "dtype": "float32",
                "tokenizer": None,
                "can_load_adapters": True,
            }
        )

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(text="# a stand-in counts nothing\n")

    async def _hooks(self, request: web.Request) -> web.Response:
        for name, value in (await request.json()).items():
            setattr(self, name, value)
        return web.json_response({})


def _error(
    status: int, kind: str, message: str, *, param: str | None = None, headers: dict[str, str] | None = None
) -> web.Response:
    error = {"message": message, "type": kind, "param": param, "code": status}
    return web.json_response({"error": error}, status=status, headers=headers)


def _bare(text: str) -> web.Response:
    """As vLLM answers here: 200, text, no content type."""
    response = web.Response(body=text.encode())
    response.headers.pop("Content-Type", None)
    return response


def _card(name: str, *, parent: str | None, root: str, length: int | None) -> dict[str, Any]:
    row = {"id": name, "object": "model", "created": 0, "owned_by": "troupe", "root": root}
    return row | {"parent": parent, "max_model_len": length}


def _chunk(model: str, delta: dict[str, str] | None, *, finish_reason: str | None = None, **more: Any) -> Any:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish_reason}]
    head = {"id": "chatcmpl-fake", "object": "chat.completion.chunk", "created": 0, "model": model}
    return head | {"choices": choices} | more


def _whole(model: str, text: str) -> dict[str, Any]:
    message = {"role": "assistant", "content": text}
    head = {"id": "chatcmpl-fake", "object": "chat.completion", "created": 0, "model": model}
    usage = {"prompt_tokens": 7, "completion_tokens": len(text), "total_tokens": 7 + len(text)}
    choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
    return head | {"choices": choices, "usage": usage}


async def _event(response: web.StreamResponse, value: object) -> None:
    await response.write(f"data: {json.dumps(value, ensure_ascii=False)}\n\n".encode())


async def _serve(engine: FakeEngine, *, parent: int | None) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    home = os.environ.get("TROUPE_HOME")
    note = Path(home) / "engine.json" if home else None
    async with engine:
        if note:
            note.parent.mkdir(parents=True, exist_ok=True)
            about = {"url": engine.url, "pid": os.getpid(), "base_fingerprint": FINGERPRINT}
            note.write_text(json.dumps(about | {"tokenizer": None, "context": engine.context}))
        sys.stdout.write(f"{engine.url}\n")
        sys.stdout.flush()
        while not stop.is_set() and (parent is None or os.getppid() == parent):
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), 0.5)
        if note:
            note.unlink(missing_ok=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--delay", dest="delay_s", type=float, default=0.0)
    parser.add_argument("--die-after", type=int)
    parser.add_argument("--reply")
    parser.add_argument("--context", type=int, default=1024)
    parser.add_argument("--parent-pid", type=int)
    for flag in ("busy", "garbage", "silent"):
        parser.add_argument(f"--{flag}", action="store_true")
    options, _ = parser.parse_known_args()
    parent = options.__dict__.pop("parent_pid")
    engine = dataclasses.replace(FakeEngine(as_process=True), **vars(options))
    asyncio.run(_serve(engine, parent=parent))


if __name__ == "__main__":
    main()
