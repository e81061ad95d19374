"""The engine as the server sees it: asyncio in front, one thread that owns the model behind.

```
submit ─► bounded queue ─► thread: turn, turn, turn … ─► deltas back on the event loop
load / unload ─► files checked beside ─► thread, between two turns
```
"""

from __future__ import annotations

import asyncio
import logging
import queue
import secrets
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Any

from engine.adapters import read_adapter
from engine.config import EngineConfig
from engine.errors import (
    AdapterRefused,
    EngineBusy,
    EngineError,
    EngineUnavailable,
    ModelUnknown,
    RequestInvalid,
)
from engine.metrics import Metrics
from engine.plain import Plain
from engine.prompt import Encoded, encode, encode_text
from engine.protocol import BASE_MODEL, Delta, EngineInfo, FinishReason, Message, ModelCard, Sampling
from engine.request import Reply, Request
from engine.runner import Base, load_base

__all__ = ["Core"]

_log = logging.getLogger(__name__)

Job = Callable[[], None]

# No tokenizer makes fewer tokens than this of ordinary text; longer is refused before it is read.
CHARACTERS_PER_TOKEN = 32
STOP_S = 3.0
# How soon to come back when nothing has finished yet to judge by.
FIRST_GUESS_S = 2.0
LONGEST_GUESS_S = 30.0


class Core:
    """One base, its adapters and the requests on them."""

    def __init__(self, config: EngineConfig, metrics: Metrics) -> None:
        self._config = config
        self._metrics = metrics
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="engine-model", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._base: Base | None = None
        self._plain: Plain | None = None
        self._adapters: dict[str, Path] = {}
        self._changing = asyncio.Lock()
        self._encoding = threading.Lock()
        self._open: dict[int, Request] = {}
        self._typical_s = FIRST_GUESS_S
        self.is_stopping = False
        self.has_failed = False
        self.died = asyncio.Event()

    @property
    def base(self) -> Base:
        """The loaded base.

        Raises:
            EngineUnavailable: still loading, or dead.
        """
        if self._base is None or self.is_stopping or self.died.is_set():
            raise EngineUnavailable("The engine is not ready.")
        return self._base

    async def start(self) -> None:
        """Loads the base in the model's thread.

        Raises:
            BaseRefused: in one sentence.
        """
        self._loop = asyncio.get_running_loop()
        self._thread.start()
        self._base = await self._on_thread(lambda: load_base(self._config))
        self._plain = Plain(self._base, max_running=self._config.max_running)

    async def stop(self) -> bool:
        """Ends every request and the thread; False where the thread is too deep in work to end in time."""
        self.is_stopping = True
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join, STOP_S)
        return not self._thread.is_alive()

    async def submit(
        self,
        model: str,
        messages: Sequence[Message],
        sampling: Sampling,
        *,
        request_id: str,
        opens_reply: bool = True,
        scores: bool = False,
    ) -> Reply:
        """Queues a request.

        Args:
            model: a served name.
            messages: the conversation.
            sampling: how the reply is drawn.
            request_id: the caller's name for it.
            opens_reply: the prompt ends where an assistant's turn begins.
            scores: the last delta tells the log-probabilities of the prompt's tokens.

        Raises:
            EngineBusy, EngineUnavailable, ModelUnknown, RequestInvalid.
        """
        self.check_model(model)
        self._check_room()
        encoded = await asyncio.to_thread(self._encode, messages, reply=opens_reply)
        self.check_model(model)
        self._check_room()
        reply = Reply(request_id, prompt_tokens=len(encoded.ids))
        request = Request(
            id=request_id,
            model=model,
            prompt=encoded.ids,
            sampling=self._bounded(sampling, len(encoded.ids)),
            emit=lambda item: self._back(lambda: self._deliver(request, reply, item)),
            thinking=encoded.opens_thinking,
            scores=scores,
        )
        reply.request = request
        self._open[id(request)] = request
        self._metrics.open.set(len(self._open))
        self._jobs.put(lambda: self._ready().add(request))
        return reply

    async def load(self, name: str, folder: Path) -> None:
        """Checks and installs an adapter; the name is served once it is in.

        Raises:
            AdapterRefused: it does not hold what it must, or the name is taken.
        """
        async with self._changing:
            if name == BASE_MODEL or name in self._adapters:
                raise AdapterRefused(f"The lora adapter '{name}' has already been loaded.")
            if len(self._adapters) >= self._config.max_adapters:
                raise AdapterRefused(
                    f"The engine holds {self._config.max_adapters} adapters already; unload one first."
                )
            base, roots = self.base, self._config.adapters_roots
            adapter = await asyncio.to_thread(read_adapter, name, folder, base, roots=roots)
            await self._on_thread(lambda: self._ready().install(adapter))
            self._adapters[name] = adapter.folder
            self._metrics.adapters.set(len(self._adapters))
            _log.info("adapter.loaded name=%s", name)

    async def unload(self, name: str) -> None:
        """Stops serving the name; requests that run on it end undisturbed.

        Raises:
            ModelUnknown: it is not loaded.
        """
        async with self._changing:
            if name not in self._adapters:
                raise ModelUnknown(f"The lora adapter '{name}' cannot be found.")
            del self._adapters[name]
            self._metrics.adapters.set(len(self._adapters))
            await self._on_thread(lambda: self._ready().remove(name))
            _log.info("adapter.unloaded name=%s", name)

    def models(self) -> tuple[ModelCard, ...]:
        base = self.base
        cards = [ModelCard(BASE_MODEL, None, str(base.folder), base.context)]
        cards += [ModelCard(name, BASE_MODEL, str(path)) for name, path in self._adapters.items()]
        return tuple(cards)

    def info(self) -> EngineInfo:
        base = self.base
        return EngineInfo(
            base=base.name,
            base_fingerprint=base.fingerprint,
            context=base.context,
            quantize=base.quantize,
            dtype=str(base.dtype).removeprefix("torch."),
            tokenizer=str((base.folder / "tokenizer.json").resolve()),
            can_load_adapters=True,
        )

    async def tokenize(self, text: str) -> list[int]:
        """Token ids of a text from anybody: no control tokens."""
        self._check_length(len(text))

        def work() -> list[int]:
            with self._encoding:
                return encode_text(self.base.tokenizer, text)

        return await asyncio.to_thread(work)

    async def tokenize_chat(self, messages: Sequence[Message], *, reply: bool) -> list[int]:
        encoded = await asyncio.to_thread(self._encode, messages, reply=reply)
        return list(encoded.ids)

    def check_model(self, model: str) -> None:
        """Raises ModelUnknown unless the name is served."""
        if model != BASE_MODEL and model not in self._adapters:
            aliases = ", ".join([BASE_MODEL, *self._adapters])
            raise ModelUnknown(f"The model `{model}` does not exist. Valid names: {aliases}.")

    def _encode(self, messages: Sequence[Message], *, reply: bool = True) -> Encoded:
        self._check_length(sum(len(message.content) for message in messages))
        # A tokenizer that is told to split special tokens must not be used from two threads at a time.
        with self._encoding:
            return encode(self.base.tokenizer, messages, reply=reply)

    def _check_length(self, characters: int) -> None:
        if characters > self.base.context * CHARACTERS_PER_TOKEN:
            raise RequestInvalid(f"The text is too long: the context holds {self.base.context} tokens.")

    def _check_room(self) -> None:
        if len(self._open) >= self._config.max_running + self._config.max_waiting:
            self._metrics.refused.inc()
            ahead = len(self._open) / self._config.max_running
            raise EngineBusy(retry_after_s=round(min(LONGEST_GUESS_S, max(1.0, ahead * self._typical_s)), 1))

    def _bounded(self, sampling: Sampling, prompt: int) -> Sampling:
        """With a seed, and no more tokens than the context has left."""
        context = self.base.context
        if prompt >= context or sampling.max_tokens > context:
            raise RequestInvalid(
                f"This model's context holds {context} tokens; the prompt has {prompt} and "
                f"{sampling.max_tokens} are asked for."
            )
        seed = secrets.randbits(63) if sampling.seed is None else sampling.seed
        return replace(sampling, seed=seed, max_tokens=min(sampling.max_tokens, context - prompt))

    def _deliver(self, request: Request, reply: Reply, item: Delta | EngineError) -> None:
        """On the event loop: counts, then hands on."""
        waited = monotonic() - request.arrived
        if not reply.has_begun and isinstance(item, Delta):
            reply.has_begun = True
            self._metrics.first_token.observe(waited)
        if isinstance(item, EngineError):
            self._close(request, "error")
        elif item.finish_reason is not None:
            self._close(request, item.finish_reason)
            self._metrics.prompt_tokens.inc(item.prompt_tokens or 0)
            self._metrics.reply_tokens.inc(item.completion_tokens or 0)
        reply.put(item)

    def _close(self, request: Request, reason: FinishReason) -> None:
        del self._open[id(request)]
        waited = monotonic() - request.arrived
        # A moving average over about the last five requests.
        self._typical_s += 0.2 * (waited - self._typical_s)
        self._metrics.open.set(len(self._open))
        self._metrics.request.observe(waited)
        self._metrics.finished.labels(reason).inc()

    def _back(self, call: Job) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(call)

    async def _on_thread(self, work: Callable[[], Any]) -> Any:
        """Runs on the model's thread, between two turns."""
        if self.died.is_set():
            raise EngineUnavailable("The engine's model thread has ended.")
        outcome: Future[Any] = Future()

        def job() -> None:
            try:
                outcome.set_result(work())
            except BaseException as error:  # noqa: BLE001 - raised again where it is awaited
                outcome.set_exception(error)

        self._jobs.put(job)
        return await asyncio.wrap_future(outcome)

    def _ready(self) -> Plain:
        if self._plain is None:
            raise EngineUnavailable("The engine is not ready.")
        return self._plain

    def _work(self) -> None:
        """The model's thread."""
        try:
            while self._take_jobs():
                if self._plain is not None:
                    self._plain.turn()
        except BaseException:  # noqa: BLE001 - a thread's edge: everybody who waits must hear of it
            _log.exception("engine.thread_failed")
            self.has_failed = True
        self._back(self._ended)

    def _ended(self) -> None:
        """On the event loop, after the thread's last act."""
        self.died.set()
        for request in list(self._open.values()):
            if request.state != "finished":
                request.fail(EngineUnavailable("The engine stopped in mid-reply."))

    def _take_jobs(self) -> bool:
        """Does what was asked since the last turn, waiting for something where all is idle."""
        idle = self._plain is None or self._plain.is_idle
        while True:
            try:
                job = self._jobs.get(block=idle)
            except queue.Empty:
                return True
            if job is None:
                return False
            job()
            idle = False
