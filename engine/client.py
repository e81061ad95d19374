"""The engine over HTTP, torch-free: ours, vLLM, or any OpenAI-shaped server.

What a server can do is asked once and again after it was away: ours tells its base in ``/health``, vLLM
its name in ``/v1/models``, any other gets only what OpenAI's API knows. A server that templates text itself
would take a typed ``<|im_end|>`` for its own, so such strings are broken with U+2060 before they leave.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Literal

import httpx

from engine.errors import (
    AdapterRefused,
    EngineBusy,
    EngineTimeout,
    EngineUnavailable,
    ModelUnknown,
    RequestInvalid,
)
from engine.protocol import BASE_MODEL, Delta, EngineInfo, FinishReason, Message, ModelCard, Sampling
from engine.stream import ThinkFilter
from engine.wire import (
    Json,
    choice,
    events,
    logprob_of,
    message_of,
    parsed,
    parsed_or_empty,
    seconds_of,
    without_control_tokens,
)

__all__ = ["HttpEngine"]

Kind = Literal["ours", "vllm", "other"]

HTTP_NOT_FOUND, HTTP_BUSY = 404, (429, 503)


class HttpEngine:
    """An `engine.protocol.Engine` at a URL.

    Args:
        url: without ``/v1``.
        connect_s: until the connection stands.
        first_token_s: from sending to the first text, time in the engine's queue included.
        between_tokens_s: from one piece to the next.
        control_s: for everything that is not a reply; loading an adapter reads a file.
        api_key: sent as a bearer token to servers that want one.
    """

    def __init__(
        self,
        url: str,
        *,
        connect_s: float = 2.0,
        first_token_s: float = 60.0,
        between_tokens_s: float = 20.0,
        control_s: float = 30.0,
        api_key: str | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        self._first_token_s = first_token_s
        self._between_tokens_s = between_tokens_s
        self._control_s = control_s
        self._http = httpx.AsyncClient(
            base_url=self.url,
            timeout=httpx.Timeout(None, connect=connect_s),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=8),
            headers={"Authorization": f"Bearer {api_key}"} if api_key else None,
            trust_env=False,  # proxies are for the internet, engines stand beside us
        )
        self._kind: Kind | None = None
        self._base_name = BASE_MODEL
        self._about: Json = {}

    async def generate(
        self, model: str, messages: Sequence[Message], sampling: Sampling, *, request_id: str
    ) -> AsyncIterator[Delta]:
        """Streams the reply; closing the generator closes the request, which cancels it in the engine."""
        deadline = _now() + self._first_token_s
        async with _deadline(deadline):
            kind = await self._known()
            body = self._body(kind, model, messages, sampling, request_id=request_id)
            body |= {"stream": True, "stream_options": {"include_usage": True}}
            response = await self._send("/v1/chat/completions", body, request_id=request_id)
        try:
            think = ThinkFilter()
            reason: FinishReason | None = None
            usage: Json = {}
            async with aclosing(events(response)) as arriving:
                while True:
                    async with _deadline(deadline):
                        event = await anext(arriving, None)
                    if event is None:
                        break
                    usage = event.get("usage") or usage
                    text, ended, moved = choice(event)
                    reason = ended or reason
                    if moved:
                        deadline = _now() + self._between_tokens_s
                    if visible := think.push(text):
                        yield Delta(visible)
            if reason is None:
                raise EngineUnavailable(f"The engine at {self.url} broke off in mid-reply.")
            yield Delta(
                think.finish(),
                finish_reason=reason,
                prompt_tokens=usage.get("prompt_tokens"),
                completion_tokens=usage.get("completion_tokens"),
            )
        finally:
            await response.aclose()

    async def likelihood(self, model: str, messages: Sequence[Message], *, request_id: str) -> float:
        """The sum of the log-probabilities of all tokens of a conversation, in the base's chat template.

        Where the last message is the assistant's, the difference of two of these is that of two replies.

        Raises:
            RequestInvalid: the server does not tell; ours and vLLM do.
        """
        kind = await self._known()
        opens_reply = messages[-1].role != "assistant"
        body = self._body(kind, model, messages, Sampling(temperature=0, max_tokens=1), request_id=request_id)
        body |= {"prompt_logprobs": 0, "add_generation_prompt": opens_reply}
        status, text = await self._post("/v1/chat/completions", body)
        self._raise_for(status, text, {})
        return logprob_of(parsed(text))

    async def load(self, name: str, path: Path) -> None:
        """Loads an adapter under its name; one that is loaded already is fine."""
        status, text = await self._post("/v1/load_lora_adapter", {"lora_name": name, "lora_path": str(path)})
        message = message_of(text)
        if status < HTTP_NOT_FOUND and "already" in message:
            return
        if status >= 400:  # noqa: PLR2004 - HTTP's own border
            raise AdapterRefused(message)

    async def unload(self, name: str) -> None:
        """Forgets an adapter; one that is not there is fine."""
        status, text = await self._post("/v1/unload_lora_adapter", {"lora_name": name})
        if status != HTTP_NOT_FOUND:
            self._raise_for(status, text, {})

    async def models(self) -> tuple[ModelCard, ...]:
        status, text = await self._get("/v1/models")
        self._raise_for(status, text, {})
        rows = parsed(text).get("data") or []
        return tuple(
            ModelCard(row["id"], row.get("parent"), row.get("root") or row["id"], row.get("max_model_len"))
            for row in rows
        )

    async def info(self) -> EngineInfo:
        self._kind = None
        kind = await self._known()
        about = self._about if kind == "ours" else {}
        context = about.get("context")
        if kind != "ours":
            context = next((card.max_model_len for card in await self.models() if card.parent is None), None)
        return EngineInfo(
            base=about.get("base"),
            base_fingerprint=about.get("base_fingerprint"),
            context=context,
            quantize=about.get("quantize"),
            dtype=about.get("dtype"),
            tokenizer=about.get("tokenizer"),
            can_load_adapters=bool(about.get("can_load_adapters")) or await self._takes_adapters(kind),
        )

    async def count(self, text: str) -> int:
        """Tokens of a text; where the server cannot count, its bytes, which are never fewer."""
        await self._known()
        body = {"model": self._base_name, "prompt": text, "add_special_tokens": False}
        status, answer = await self._post("/tokenize", body)
        if status in {HTTP_NOT_FOUND, 405}:
            return len(text.encode())
        self._raise_for(status, answer, {})
        return int(parsed(answer)["count"])

    async def close(self) -> None:
        await self._http.aclose()

    async def _known(self) -> Kind:
        """What stands at the URL, asked where it is not known."""
        if self._kind is None:
            status, text = await self._get("/health")
            if status in HTTP_BUSY:
                raise EngineUnavailable(f"The engine at {self.url} is not ready.")
            about = self._about = parsed_or_empty(text)
            cards = await self._cards()
            base = next((row for row in cards if not row.get("parent")), {})
            self._base_name = base.get("id") or BASE_MODEL
            if "base_fingerprint" in about:
                self._kind, self._base_name = "ours", BASE_MODEL
            else:
                self._kind = "vllm" if base.get("owned_by") == "vllm" else "other"
        return self._kind

    async def _takes_adapters(self, kind: Kind) -> bool:
        """Asks with an empty body: 400 where vLLM was started with run-time LoRA, 404 where not."""
        if kind != "vllm":
            return False
        status, _ = await self._post("/v1/load_lora_adapter", {})
        return status not in {HTTP_NOT_FOUND, 405}

    async def _cards(self) -> list[Json]:
        status, text = await self._get("/v1/models")
        self._raise_for(status, text, {})
        rows = parsed(text).get("data")
        return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []

    def _body(
        self, kind: Kind, model: str, messages: Sequence[Message], sampling: Sampling, *, request_id: str
    ) -> Json:
        ours = kind == "ours"
        body: Json = {
            "model": self._base_name if model == BASE_MODEL else model,
            "messages": [
                {"role": m.role, "content": m.content if ours else without_control_tokens(m.content)}
                for m in messages
            ],
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_tokens,
        }
        if sampling.stop:
            body["stop"] = list(sampling.stop)
        if sampling.seed is not None:
            body["seed"] = sampling.seed
        if kind != "other":
            body |= {"repetition_penalty": sampling.repetition_penalty, "request_id": request_id}
            body |= {"top_k": sampling.top_k} if sampling.top_k else {}
        if kind == "vllm":
            body["chat_template_kwargs"] = {"enable_thinking": False}
        return body

    async def _send(self, path: str, body: Json, *, request_id: str) -> httpx.Response:
        async with self._mapped():
            request = self._http.build_request("POST", path, json=body, headers={"X-Request-Id": request_id})
            response = await self._http.send(request, stream=True)
            if response.is_success:
                return response
            try:
                text = (await response.aread()).decode("utf-8", "replace")
            finally:
                await response.aclose()
        self._raise_for(response.status_code, text, response.headers)
        raise EngineUnavailable(f"The engine at {self.url} answered {response.status_code}.")

    async def _post(self, path: str, body: Json) -> tuple[int, str]:
        async with _deadline(_now() + self._control_s), self._mapped():
            response = await self._http.post(path, json=body)
        if response.status_code in HTTP_BUSY:
            self._raise_for(response.status_code, response.text, response.headers)
        return response.status_code, response.text

    async def _get(self, path: str) -> tuple[int, str]:
        async with _deadline(_now() + self._control_s), self._mapped():
            response = await self._http.get(path)
        return response.status_code, response.text

    @asynccontextmanager
    async def _mapped(self) -> AsyncIterator[None]:
        try:
            yield
        except httpx.TimeoutException as error:
            self._kind = None
            raise EngineTimeout(f"The engine at {self.url} did not answer in time.") from error
        except httpx.HTTPError as error:
            self._kind = None
            raise EngineUnavailable(f"The engine at {self.url} does not answer.") from error

    def _raise_for(self, status: int, text: str, headers: Mapping[str, str]) -> None:
        if status < 400:  # noqa: PLR2004 - HTTP's own border
            return
        message = message_of(text)
        if status in HTTP_BUSY:
            raise EngineBusy(message, retry_after_s=seconds_of(headers.get("Retry-After")))
        if status == HTTP_NOT_FOUND:
            raise ModelUnknown(message)
        if status in {400, 413, 422}:
            raise RequestInvalid(message)
        self._kind = None
        raise EngineUnavailable(f"The engine at {self.url} answered {status}: {message}")


@asynccontextmanager
async def _deadline(at: float) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout_at(at):
            yield
    except TimeoutError as error:
        raise EngineTimeout from error


def _now() -> float:
    return asyncio.get_running_loop().time()
