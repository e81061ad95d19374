"""One request on its way through the engine.

```
waiting ──► running ──► finished(stop | length | repetition | cancelled | error)
   └───────────────────────►┘   cancelled, or the engine stops
```
The event loop makes requests and reads their deltas; the model's thread moves them on.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import Literal

from engine.errors import EngineError
from engine.protocol import Delta, FinishReason, Sampling

__all__ = ["Reply", "Request", "State"]

State = Literal["waiting", "running", "finished"]

MOVES: dict[State, frozenset[State]] = {
    "waiting": frozenset({"running", "finished"}),
    "running": frozenset({"finished"}),
    "finished": frozenset(),
}


@dataclass(slots=True)
class Request:
    """Prompt, sampling and the way back; ``emit`` may be called from any thread.

    ``sampling.seed`` is always a number here, so that every reply can be repeated. ``scores``: how likely the
    prompt's own tokens are is told at the end.
    """

    id: str
    model: str
    prompt: tuple[int, ...]
    sampling: Sampling
    emit: Callable[[Delta | EngineError], None]
    thinking: bool = False
    scores: bool = False
    state: State = "waiting"
    arrived: float = field(default_factory=monotonic)
    _cancelled: threading.Event = field(default_factory=threading.Event)

    @property
    def is_cancelled(self) -> bool:
        return self._cancelled.is_set()

    def cancel(self) -> None:
        """Asks the model's thread to stop within a step; harmless at any time and twice."""
        self._cancelled.set()

    def move(self, state: State) -> None:
        if state not in MOVES[self.state]:
            raise ValueError(f"A {self.state} request cannot become {state}.")
        self.state = state

    def finish(
        self,
        reason: FinishReason,
        *,
        text: str = "",
        completion_tokens: int = 0,
        prompt_logprobs: tuple[float, ...] | None = None,
    ) -> None:
        self.move("finished")
        self.emit(
            Delta(
                text,
                finish_reason=reason,
                prompt_tokens=len(self.prompt),
                completion_tokens=completion_tokens,
                prompt_logprobs=prompt_logprobs,
            )
        )

    def fail(self, error: EngineError) -> None:
        """Ends the request with an error in place of a reason."""
        self.move("finished")
        self.emit(error)


class Reply:
    """One reply in the making; iterate `deltas` once, `cancel` when nobody listens any more."""

    def __init__(self, id_: str, *, prompt_tokens: int) -> None:
        self.id = id_
        self.prompt_tokens = prompt_tokens
        self.has_begun = False
        self.request: Request | None = None
        self._arrived: asyncio.Queue[Delta | EngineError] = asyncio.Queue()

    def put(self, item: Delta | EngineError) -> None:
        self._arrived.put_nowait(item)

    def cancel(self) -> None:
        if self.request is not None:
            self.request.cancel()

    async def deltas(self) -> AsyncGenerator[Delta, None]:
        """Ends after the delta with a finish reason; leaving early cancels.

        Raises:
            EngineError: the request failed.
        """
        try:
            while True:
                item = await self._arrived.get()
                if isinstance(item, EngineError):
                    raise item
                yield item
                if item.finish_reason is not None:
                    return
        finally:
            self.cancel()
