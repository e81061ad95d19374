"""What callers may send: OpenAI's bodies with vLLM's additions."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from engine.protocol import BASE_MODEL, Message, Role, Sampling

__all__ = ["ChatBody", "LoadBody", "TokenizeBody", "UnloadBody"]


class Part(BaseModel):
    type: Literal["text"]
    text: str


class ChatMessage(BaseModel):
    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[Part]

    def plain(self) -> Message:
        role: Role = "system" if self.role == "developer" else self.role
        if isinstance(self.content, str):
            return Message(role, self.content)
        return Message(role, "".join(part.text for part in self.content))


class StreamOptions(BaseModel):
    include_usage: bool = False


Stop = Annotated[str, Field(min_length=1, max_length=200)]


class ChatBody(BaseModel):
    """OpenAI's chat request with vLLM's additions; what is not listed here is ignored, as they do."""

    model: str
    messages: Annotated[list[ChatMessage], Field(min_length=1)]
    stream: bool = False
    stream_options: StreamOptions | None = None
    n: Literal[1] | None = 1
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=-1)] | None = None
    repetition_penalty: Annotated[float, Field(gt=0, le=4)] | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    seed: int | None = None
    stop: Stop | Annotated[list[Stop], Field(max_length=16)] | None = None
    request_id: Annotated[str, Field(max_length=200)] | None = None
    # vLLM's: log-probabilities of the prompt's own tokens, without those of others at their places.
    prompt_logprobs: Literal[0] | None = None
    add_generation_prompt: bool = True

    def sampling(self) -> Sampling:
        stop = [self.stop] if isinstance(self.stop, str) else self.stop or []
        given = {
            "temperature": self.temperature,
            "top_p": self.top_p,
            "top_k": None if self.top_k is None else max(0, self.top_k),
            "repetition_penalty": self.repetition_penalty,
            "max_tokens": self.max_completion_tokens or self.max_tokens,
        }
        known: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        return Sampling(seed=self.seed, stop=tuple(stop), **known)


class LoadBody(BaseModel):
    lora_name: str
    lora_path: str


class UnloadBody(BaseModel):
    lora_name: str


class TokenizeBody(BaseModel):
    """Either a text or a chat; special tokens are never made of a text."""

    model: str = BASE_MODEL
    prompt: str | None = None
    messages: list[ChatMessage] | None = None
    add_generation_prompt: bool = True
