"""The plain path: each request alone, a few tokens at a time in turn; the reference for any faster one.

Every request keeps its own keys and values, so that what runs beside it changes nothing. All of it belongs
to the model's thread.
"""

from __future__ import annotations

import inspect
import logging
from collections import deque
from typing import Any

import torch

from engine.adapters import Adapters, VerifiedAdapter
from engine.errors import EngineError
from engine.protocol import BASE_MODEL, Delta, FinishReason
from engine.request import Request
from engine.runner import Base
from engine.sampling import choose, is_loop
from engine.stream import ReplyStream

__all__ = ["Plain"]

_log = logging.getLogger(__name__)

# Choosing another adapter walks over all layers, about a millisecond on the starter: not for every token.
TURN_TOKENS = 8
# A long prompt is read in blocks, so that a cancelled one stops early.
BLOCK_TOKENS = 512


class Plain:
    """Runs requests in turn; `turn` does a bounded piece of work."""

    def __init__(self, base: Base, *, max_running: int) -> None:
        self._base = base
        self._max_running = max_running
        self._adapters = Adapters(base.model)
        self._waiting: deque[Request] = deque()
        self._running: deque[_Reply] = deque()
        self._leaving: set[str] = set()

    @property
    def is_idle(self) -> bool:
        return not (self._waiting or self._running)

    def add(self, request: Request) -> None:
        self._waiting.append(request)

    def install(self, adapter: VerifiedAdapter) -> None:
        self._leaving.discard(adapter.name)
        if not self._adapters.holds(adapter.name):
            self._adapters.install(adapter)

    def remove(self, name: str) -> None:
        """Takes an adapter away as soon as the last request that uses it has ended."""
        self._leaving.add(name)
        self._sweep()

    def turn(self) -> None:
        """The next request's next few tokens."""
        for request in [request for request in self._waiting if request.is_cancelled]:
            self._waiting.remove(request)
            request.finish("cancelled")
        while self._waiting and len(self._running) < self._max_running:
            self._running.append(_Reply(self._waiting.popleft(), self._base))
        if not self._running:
            return
        reply = self._running.popleft()
        if self._advance(reply):
            self._running.append(reply)
        else:
            self._sweep()

    def _advance(self, reply: _Reply) -> bool:
        """Whether there is more to come."""
        model = reply.request.model
        try:
            if not reply.request.is_cancelled:
                self._adapters.choose(None if model == BASE_MODEL else model)
            return all(reply.step() for _ in range(TURN_TOKENS))
        except Exception:  # noqa: BLE001 - a task's edge: one request's failure must not end the others
            _log.exception("request.failed id=%s model=%s", reply.request.id, model)
            if reply.request.state != "finished":
                reply.request.fail(EngineError("The engine failed at this request."))
            return False

    def _sweep(self) -> None:
        used = {reply.request.model for reply in self._running} | {r.model for r in self._waiting}
        for name in self._leaving - used:
            self._adapters.remove(name)
        self._leaving &= used


class _Reply:
    """One request while it runs."""

    def __init__(self, request: Request, base: Base) -> None:
        self.request = request
        self._base = base
        self._stream = ReplyStream(base.decoder, stops=request.sampling.stop, thinking=request.thinking)
        self._seen = torch.tensor(request.prompt, device=base.device)
        self._unread = self._seen
        self._cache: Any = None
        self._tokens: list[int] = []
        self._only_last = {} if request.scores else _only_last(base.model)
        self._logprobs: list[float] = []
        self._last_likely = torch.empty(0)
        request.move("running")

    def step(self) -> bool:
        """Reads a block of the prompt or adds a token; False when the reply has ended."""
        if self.request.is_cancelled:
            return self._end("cancelled")
        logits = self._forward()
        if len(self._unread):
            return True
        token = choose(logits, self._seen, self.request.sampling, step=len(self._tokens))
        self._tokens.append(token)
        text = "" if token in self._base.ends else self._stream.push(token)
        reason = self._reason(token)
        if reason is not None:
            return self._end(reason, text)
        self.request.emit(Delta(text))
        self._unread = torch.tensor([token], device=self._base.device)
        self._seen = torch.cat([self._seen, self._unread])
        return True

    def _reason(self, token: int) -> FinishReason | None:
        if token in self._base.ends or self._stream.stopped:
            return "stop"
        if is_loop(self._tokens):
            return "repetition"
        return "length" if len(self._tokens) >= self.request.sampling.max_tokens else None

    @torch.inference_mode()
    def _forward(self) -> torch.Tensor:
        """Logits after the next block, [vocabulary]."""
        begins = self._cache is None
        block, self._unread = self._unread[:BLOCK_TOKENS], self._unread[BLOCK_TOKENS:]
        output = self._base.model(
            input_ids=block[None], past_key_values=self._cache, use_cache=True, **self._only_last
        )
        self._cache = output.past_key_values
        if self.request.scores and not self._tokens:
            self._score(output.logits[0], block, begins=begins)
        logits: torch.Tensor = output.logits[0, -1]
        return logits

    def _score(self, logits: torch.Tensor, block: torch.Tensor, *, begins: bool) -> None:
        """Keeps how likely each token of the prompt was; the last of a block tells the next block's first."""
        likely = logits.float().log_softmax(-1)
        known = block[1:]
        if not begins:
            likely = torch.cat([self._last_likely[None], likely])
            known = block
        self._last_likely = likely[-1]
        self._logprobs += likely[: len(known)].gather(1, known[:, None])[:, 0].tolist()

    def _end(self, reason: FinishReason, text: str = "") -> bool:
        if not self._stream.stopped and reason != "cancelled":
            text += self._stream.finish()
        scores = tuple(self._logprobs) if self.request.scores else None
        self.request.finish(reason, text=text, completion_tokens=len(self._tokens), prompt_logprobs=scores)
        return False


def _only_last(model: Any) -> dict[str, int]:
    """Spares the output head all positions but the last, where the architecture can."""
    known = inspect.signature(model.forward).parameters
    return {"logits_to_keep": 1} if "logits_to_keep" in known else {}
