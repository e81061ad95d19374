"""What the bot and the engine say to each other; torch-free.

An adapter's model name is ``<persona>@<first 8 hex of its digest>``: a name never changes meaning.
The model name ``base`` is the base without any adapter.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from personas.prompt import Message, Role

__all__ = [
    "BASE_MODEL",
    "Delta",
    "Engine",
    "EngineInfo",
    "FinishReason",
    "Message",
    "ModelCard",
    "Role",
    "Sampling",
    "model_name",
]

BASE_MODEL = "base"

FinishReason = Literal["stop", "length", "repetition", "cancelled", "error"]


@dataclass(frozen=True, slots=True)
class Sampling:
    """How a reply is drawn; ``temperature`` 0 is greedy, ``top_k`` 0 keeps every token."""

    temperature: float = 0.7
    top_p: float = 0.9
    top_k: int = 0
    repetition_penalty: float = 1.05
    max_tokens: int = 224
    seed: int | None = None
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of a reply: whole characters only; the last one carries ``finish_reason``.

    ``prompt_logprobs``: of each token of the prompt but the first, natural logarithm, where asked for.
    """

    text: str
    finish_reason: FinishReason | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_logprobs: tuple[float, ...] | None = None


@dataclass(frozen=True, slots=True)
class ModelCard:
    """One row of ``GET /v1/models``; ``parent`` is None for the base."""

    id: str
    parent: str | None
    root: str
    max_model_len: int | None = None


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What ``GET /health`` of our engine tells; another server's leaves the fields None."""

    base: str | None
    base_fingerprint: str | None
    context: int | None
    quantize: str | None
    dtype: str | None
    tokenizer: str | None
    can_load_adapters: bool


class Engine(Protocol):
    """An inference server as the bot sees it.

    Every method raises an error of ``engine.errors``: EngineUnavailable, EngineBusy, EngineTimeout,
    ModelUnknown, RequestInvalid or AdapterRefused.
    """

    def generate(
        self, model: str, messages: Sequence[Message], sampling: Sampling, *, request_id: str
    ) -> AsyncIterator[Delta]: ...

    async def likelihood(self, model: str, messages: Sequence[Message], *, request_id: str) -> float: ...

    async def load(self, name: str, path: Path) -> None: ...

    async def unload(self, name: str) -> None: ...

    async def models(self) -> tuple[ModelCard, ...]: ...

    async def info(self) -> EngineInfo: ...

    async def count(self, text: str) -> int: ...

    async def close(self) -> None: ...


def model_name(persona: str, digest: str) -> str:
    return f"{persona}@{digest[:8]}"
