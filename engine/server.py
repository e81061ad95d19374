"""The engine's HTTP face: the routes, bodies and error envelope of vLLM (0.32) and OpenAI's chat API."""

from __future__ import annotations

import asyncio
import json
import socket
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from contextlib import aclosing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.exceptions import HTTPException

from engine.bodies import ChatBody, LoadBody, TokenizeBody, UnloadBody
from engine.core import Core
from engine.errors import (
    AdapterRefused,
    EngineBusy,
    EngineError,
    EngineUnavailable,
    ModelUnknown,
    RequestInvalid,
)
from engine.metrics import Metrics
from engine.protocol import Delta
from engine.request import Reply

__all__ = ["listen", "make_app"]

LARGEST_BODY_BYTES = 4 * 2**20
# For streams that are still open at the end.
GRACE_S = 1
OWNER = "troupe"
KINDS: dict[type[EngineError], tuple[int, str]] = {
    ModelUnknown: (404, "NotFoundError"),
    RequestInvalid: (400, "BadRequestError"),
    AdapterRefused: (400, "InvalidUserInput"),
    EngineBusy: (503, "ServiceUnavailableError"),
    EngineUnavailable: (503, "ServiceUnavailableError"),
}


def make_app(core: Core, metrics: Metrics) -> FastAPI:
    """The application; starting and stopping the core is the caller's."""
    app = FastAPI(title="troupe engine", docs_url=None, redoc_url=None, openapi_url=None)
    app.middleware("http")(_refuse_large)
    app.add_exception_handler(EngineError, _engine_error)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http_error)
    _chat_routes(app, core)
    _adapter_routes(app, core)
    _state_routes(app, core, metrics)
    return app


def _chat_routes(app: FastAPI, core: Core) -> None:
    @app.post("/v1/chat/completions")
    async def chat(body: ChatBody, request: Request) -> Response:
        messages = [message.plain() for message in body.messages]
        id_ = body.request_id or request.headers.get("X-Request-Id") or uuid.uuid4().hex
        scores = body.prompt_logprobs is not None
        if body.stream and scores:
            raise RequestInvalid("`prompt_logprobs` are not available when `stream=True`.")
        reply = await core.submit(
            body.model,
            messages,
            body.sampling(),
            request_id=id_,
            opens_reply=body.add_generation_prompt,
            scores=scores,
        )
        if body.stream:
            with_usage = bool(body.stream_options and body.stream_options.include_usage)
            events = _events(reply, body.model, with_usage=with_usage)
            return StreamingResponse(events, media_type="text/event-stream")
        return JSONResponse(await _whole(reply, body.model, request))

    @app.post("/tokenize")
    async def tokenize(body: TokenizeBody) -> dict[str, Any]:
        core.check_model(body.model)
        if body.messages:
            messages = [message.plain() for message in body.messages]
            tokens = await core.tokenize_chat(messages, reply=body.add_generation_prompt)
        elif body.prompt is not None:
            tokens = await core.tokenize(body.prompt)
        else:
            raise RequestInvalid("Give either prompt or messages.")
        length = core.base.context
        return {"count": len(tokens), "max_model_len": length, "tokens": tokens, "token_strs": None}


def _adapter_routes(app: FastAPI, core: Core) -> None:
    @app.post("/v1/load_lora_adapter")
    async def load(body: LoadBody) -> Response:
        await core.load(body.lora_name, Path(body.lora_path))
        return _bare(f"Success: LoRA adapter '{body.lora_name}' added successfully.")

    @app.post("/v1/unload_lora_adapter")
    async def unload(body: UnloadBody) -> Response:
        await core.unload(body.lora_name)
        return _bare(f"Success: LoRA adapter '{body.lora_name}' removed successfully.")


def _state_routes(app: FastAPI, core: Core, metrics: Metrics) -> None:
    started = int(time.time())

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        head = {"object": "model", "created": started, "owned_by": OWNER}
        return {"object": "list", "data": [head | asdict(card) for card in core.models()]}

    @app.get("/health")
    async def health() -> dict[str, Any]:
        return {"status": "ok", **asdict(core.info())}

    @app.get("/metrics")
    async def scrape() -> Response:
        return PlainTextResponse(metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


async def listen(
    app: FastAPI,
    socket_: socket.socket,
    *,
    stop: asyncio.Event,
    end: Callable[[], Awaitable[object]],
    ready: Callable[[], None],
) -> None:
    """Serves until ``stop``; then ``end`` ends what runs, so that every open stream gets its last event."""
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, lifespan="off", timeout_graceful_shutdown=GRACE_S
    )
    server = _Server(config, ready)

    async def watch() -> None:
        await stop.wait()
        await end()
        server.should_exit = True

    async with asyncio.TaskGroup() as group:
        watching = group.create_task(watch())
        await server.serve(sockets=[socket_])
        watching.cancel()


class _Server(uvicorn.Server):
    """Leaves signals to the process, and says when it listens."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()


async def _events(reply: Reply, model: str, *, with_usage: bool) -> AsyncIterator[str]:
    """Server-sent events; leaving early cancels the request."""
    head = {"id": f"chatcmpl-{reply.id}", "object": "chat.completion.chunk", "created": int(time.time())}
    head |= {"model": model}

    def chunk(delta: dict[str, str], reason: str | None = None) -> str:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        return _event(head | {"choices": [choice]})

    async with aclosing(reply.deltas()) as deltas:
        yield chunk({"role": "assistant", "content": ""})
        try:
            async for delta in deltas:
                yield chunk({"content": delta.text}, delta.finish_reason)
                if delta.finish_reason is not None and with_usage:
                    yield _event(head | {"choices": [], "usage": _usage(delta)})
        except EngineError as error:
            yield _event(_envelope(error)[1])
    yield "data: [DONE]\n\n"


async def _whole(reply: Reply, model: str, request: Request) -> dict[str, Any]:
    """The reply in one piece; a client that hangs up cancels it."""
    texts: list[str] = []
    last = Delta("", finish_reason="error")

    async def watch() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        reply.cancel()

    async with asyncio.TaskGroup() as group:
        watching = group.create_task(watch())
        failure: EngineError | None = None
        try:
            async for delta in reply.deltas():
                texts.append(delta.text)
                last = delta
        except EngineError as error:
            failure = error
        watching.cancel()
    if failure is not None:
        raise failure
    message = {"role": "assistant", "content": "".join(texts)}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": last.finish_reason}
    return {
        "id": f"chatcmpl-{reply.id}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": model,
        "choices": [choice],
        "usage": _usage(last),
        "prompt_logprobs": _prompt_logprobs(reply, last),
    }


def _prompt_logprobs(reply: Reply, last: Delta) -> list[dict[str, Any] | None] | None:
    """As vLLM tells them: by token id, nothing for the first."""
    if last.prompt_logprobs is None or reply.request is None:
        return None
    ids = reply.request.prompt[1:]
    pairs = zip(ids, last.prompt_logprobs, strict=False)
    return [None, *({str(id_): {"logprob": value}} for id_, value in pairs)]


def _usage(delta: Delta) -> dict[str, int]:
    read, written = delta.prompt_tokens or 0, delta.completion_tokens or 0
    return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}


def _event(value: object) -> str:
    return f"data: {json.dumps(value, ensure_ascii=False)}\n\n"


def _bare(text: str) -> Response:
    """As vLLM answers here: text without a content type."""
    return Response(text.encode())


def _envelope(error: EngineError) -> tuple[int, dict[str, Any]]:
    status, kind = next(
        (KINDS[type_] for type_ in type(error).__mro__ if type_ in KINDS), (500, "InternalServerError")
    )
    if isinstance(error, AdapterRefused) and str(error).startswith("No adapter found"):
        status, kind = 404, "NotFoundError"
    return status, _error_body(status, kind, str(error))


def _error_body(status: int, kind: str, message: str, *, param: str | None = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": param, "code": status}}


async def _engine_error(_: Request, error: Exception) -> Response:
    known = error if isinstance(error, EngineError) else EngineError()
    status, body = _envelope(known)
    headers = {"Retry-After": f"{known.retry_after_s:g}"} if isinstance(known, EngineBusy) else None
    return JSONResponse(body, status_code=status, headers=headers)


async def _invalid(_: Request, error: Exception) -> Response:
    first = error.errors()[0] if isinstance(error, RequestValidationError) else {}
    where = ".".join(str(part) for part in first.get("loc", ()))
    body = _error_body(400, "Bad Request", f"{first.get('msg', 'Invalid')}: {where}", param=where)
    return JSONResponse(body, status_code=400)


async def _http_error(_: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    kind = "NotFoundError" if status == 404 else "BadRequestError"  # noqa: PLR2004 - HTTP
    return JSONResponse(_error_body(status, kind, str(getattr(error, "detail", ""))), status_code=status)


async def _refuse_large(request: Request, go_on: Callable[[Request], Awaitable[Response]]) -> Response:
    size = request.headers.get("Content-Length", "0")
    if not size.isdigit() or int(size) > LARGEST_BODY_BYTES:
        return JSONResponse(_error_body(413, "BadRequestError", "The body is too large."), status_code=413)
    return await go_on(request)
