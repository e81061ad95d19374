"""Another answer to a prompt that was answered: written for moderators to compare, never said to anybody."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import asdict, replace
from typing import Any

from bot.guard import findings, presentable
from bot.reconcile import Reconciler
from data.clock import Clock
from data.records import InboxItem, NewReply, Reply, Result
from data.store import Store
from engine.errors import EngineTimeout, EngineUnavailable, ModelUnknown
from engine.protocol import BASE_MODEL, Engine, EngineInfo, Message, Sampling

__all__ = ["Another"]

SEEDS = 2**31
# A moderator waits for it, and on Telegram the next presses wait behind it.
LONGEST_S = 60.0
BROKEN_OFF = frozenset({"error", "cancelled"})

# An adapter's name and digest; neither where the base speaks alone.
Voice = tuple[str | None, str | None]


class Another:
    def __init__(self, store: Store, engine: Engine, reconciler: Reconciler, clock: Clock) -> None:
        self._store = store
        self._engine = engine
        self._reconciler = reconciler
        self._clock = clock

    async def write(self, reply: Reply, asked: InboxItem) -> Reply | None:
        """The other answer, the one that is there already or a new one; None where there is none.

        There is none where the prompt is gone, and where the same words came again.

        It is drawn from the reply's own prompt with another seed, by the adapter that wrote the reply, or by
        today's champion where the engine has that one no more. It is no canary's: nobody hears it.

        Args:
            reply: a complete one.
            asked: who wants it, as a row of the inbox.

        Raises:
            EngineError: the engine is away, busy or silent.
        """
        known = await self._store.reviews.alternative(reply.id)
        if known is not None:
            return known
        messages = [Message(**message) for message in json.loads(reply.messages)]
        if not messages:
            return None
        info = self._reconciler.info or await self._engine.info()
        sampling = _sampling(reply)
        voice, result = await self._spoken(reply, messages, sampling, info)
        if result.text in {"", reply.text}:
            return None
        new = NewReply(
            inbox_id=0,
            conversation_id=reply.conversation_id,
            parent_reply_id=reply.id,
            persona=reply.persona,
            platform=reply.platform,
            chat=reply.chat,
            lang=reply.lang,
            messages=reply.messages,
            lore=reply.lore,
            sampling=json.dumps(asdict(sampling), ensure_ascii=False),
            seed=sampling.seed or 0,
            base=info.base,
            base_fingerprint=info.base_fingerprint,
            dtype=info.dtype,
            quantize=info.quantize,
            adapter=voice[0],
            adapter_digest=voice[1],
        )
        row = replace(asked, message_id=f"review:{reply.id}:{sampling.seed}")
        card = messages[0].content if messages[0].role == "system" else ""
        guard = findings(result.text, lang=reply.lang, card=card, end=result.finish_reason)
        return await self._store.reviews.add_alternative(row, new, replace(result, guard=guard))

    async def _spoken(
        self, reply: Reply, messages: Sequence[Message], sampling: Sampling, info: EngineInfo
    ) -> tuple[Voice, Result]:
        for voice in self._voices(reply, info):
            try:
                async with asyncio.timeout(LONGEST_S):
                    return voice, await self._said(voice[0], messages, sampling, f"review-{reply.id}")
            except ModelUnknown:
                continue
            except TimeoutError as error:
                raise EngineTimeout from error
        raise EngineUnavailable("The engine has no adapter that could answer.")

    def _voices(self, reply: Reply, info: EngineInfo) -> Sequence[Voice]:
        champion = self._reconciler.champion(reply.persona)
        today: Voice = (champion.name, champion.digest) if champion else (None, None)
        if reply.base_fingerprint != info.base_fingerprint:
            return (today,)
        return tuple(dict.fromkeys([(reply.adapter, reply.adapter_digest), today]))

    async def _said(
        self, adapter: str | None, messages: Sequence[Message], sampling: Sampling, request_id: str
    ) -> Result:
        began = self._clock.monotonic()
        text, reason = "", "stop"
        asked: int | None = None
        answered: int | None = None
        stream: Any = self._engine.generate(adapter or BASE_MODEL, messages, sampling, request_id=request_id)
        async with aclosing(stream):
            async for delta in stream:
                text += delta.text
                reason = delta.finish_reason or reason
                asked = delta.prompt_tokens or asked
                answered = delta.completion_tokens or answered
        if reason in BROKEN_OFF:
            raise EngineUnavailable("The engine broke the answer off.")
        seconds = self._clock.monotonic() - began
        return Result(presentable(text, final=True), reason, asked, answered, None, seconds)


def _sampling(reply: Reply) -> Sampling:
    """As the reply was drawn, but with another seed."""
    values = json.loads(reply.sampling)
    values["stop"] = tuple(values.get("stop", ()))
    drawn = secrets.randbelow(SEEDS - 1)
    return Sampling(**{**values, "seed": drawn + (drawn >= reply.seed)})
