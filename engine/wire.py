"""What comes over the wire from an engine, and what must not go there; torch-free."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator, Mapping
from typing import Any, cast, get_args

import httpx

from engine.errors import EngineError, EngineUnavailable, RequestInvalid
from engine.protocol import FinishReason

__all__ = [
    "Json",
    "choice",
    "events",
    "logprob_of",
    "message_of",
    "parsed",
    "parsed_or_empty",
    "seconds_of",
    "without_control_tokens",
]

Json = dict[str, Any]

WORD_JOINER = "\u2060"
# ChatML, Llama, DeepSeek (full-width bars), Gemma, Mistral, and the tags of models that think or call tools.
CONTROL = re.compile(
    r"<(?=[|｜])|<(?=/?(?:s|bos|eos|pad|unk|mask|think|tool_call|tool_response|start_of_turn|end_of_turn)>)"
    r"|<(?=</?SYS>>)|\[(?=/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS)\])"
)
OTHER_REASONS: Mapping[str, FinishReason] = {"abort": "cancelled", "content_filter": "error"}


def without_control_tokens(text: str) -> str:
    """Breaks what a chat template could take for its own with U+2060, which nobody sees."""
    return CONTROL.sub(lambda found: found[0] + WORD_JOINER, text)


async def events(response: httpx.Response) -> AsyncGenerator[Json, None]:
    """The data of each server-sent event up to ``[DONE]``.

    Lines are split at newlines only: `aiter_lines` also splits at U+2028 and U+0085, which a reply may hold.
    """
    held = b""
    try:
        async for block in response.aiter_bytes():
            *lines, held = (held + block).split(b"\n")
            for line in lines:
                name, _, value = line.rstrip(b"\r").partition(b":")
                if name != b"data":
                    continue
                if value.strip() == b"[DONE]":
                    return
                yield parsed(value.decode("utf-8", "replace"))
    except httpx.HTTPError as error:
        raise EngineUnavailable("The engine went away in mid-reply.") from error


def choice(event: Json) -> tuple[str, FinishReason | None, bool]:
    """Text, reason and whether a token came: the first delta only names the role."""
    if "error" in event:
        raise EngineUnavailable(message_of(json.dumps(event)))
    choices = event.get("choices")
    if not choices:
        return "", None, False
    try:
        delta, reason = choices[0]["delta"], choices[0].get("finish_reason")
        text = delta.get("content") or ""
    except (KeyError, TypeError, AttributeError) as error:
        raise EngineUnavailable("The engine's answer is not one of a chat.") from error
    if reason is None:
        return text, None, bool(text) or "role" not in delta
    known = cast("FinishReason", reason) if reason in get_args(FinishReason) else None
    return text, known or OTHER_REASONS.get(reason, "stop"), True


def logprob_of(answer: Json) -> float:
    """The sum over the prompt's tokens; vLLM names the token itself first in each place.

    Raises:
        RequestInvalid: there are none.
    """
    places = answer.get("prompt_logprobs")
    if not isinstance(places, list):
        raise RequestInvalid("The engine does not tell how likely a text is.")
    try:
        return sum(float(next(iter(place.values()))["logprob"]) for place in places if place)
    except (AttributeError, KeyError, StopIteration, TypeError, ValueError) as error:
        raise EngineUnavailable("The engine's log-probabilities are not in vLLM's form.") from error


def parsed(text: str) -> Json:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise EngineUnavailable("The engine's answer is not JSON.") from error
    if not isinstance(value, dict):
        raise EngineUnavailable("The engine's answer is not a JSON object.")
    return value


def parsed_or_empty(text: str) -> Json:
    try:
        return parsed(text)
    except EngineError:
        return {}


def message_of(text: str) -> str:
    """The sentence in vLLM's or OpenAI's error envelope, else the text itself."""
    value = parsed_or_empty(text)
    error = value.get("error", value)
    found = error.get("message") if isinstance(error, dict) else error
    return str(found or value.get("detail") or text)[:500]


def seconds_of(text: str | None) -> float:
    try:
        return max(0.0, float(text or ""))
    except ValueError:
        return 5.0
