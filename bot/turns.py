"""One message becomes one answer.

```
asked ─► composed ─► reply row `generating` ─► streamed and shown ─► reply `complete` ─► last part, thumbs
             │                    ├─ engine away or silent: "resting" once, wait, once more ─► "given up"
             │                    └─ engine rests on purpose: "resting" once, wait for its end, ask anew
             └─ empty, too long: one sentence
```
An adapter that went between choosing and asking (a canary rolled back, a promotion, an engine begun anew) is
nobody's failure: the turn chooses again, and nobody notices.
Whatever is sent goes through the outbox under the message's own id, so that a turn which is run again after
a crash says nothing twice.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import structlog

from bot.compose import Composed, compose
from bot.guard import findings, presentable
from bot.memory import history
from bot.outbox import Letter, Outbox
from bot.pace import Pace
from bot.platform import Button, Incoming, PortError
from bot.pulse import Pulse, attended, watched
from bot.reconcile import Reconciler
from bot.rest import Rest
from bot.sentences import sentence
from bot.tokens import Tokens
from bot.writer import ReplyWriter
from data.clock import Clock
from data.records import NewReply, Reply, Result, Said
from data.script import Lang, script_of
from data.store import Store
from data.text import clean
from engine.errors import EngineBusy, EngineError, EngineTimeout, EngineUnavailable, ModelUnknown
from engine.protocol import Engine, EngineInfo
from personas.errors import QuestionTooLong
from personas.loader import Persona

__all__ = ["LONGEST_QUESTION", "Turn", "Turns"]

_log = structlog.get_logger(__name__)

LONGEST_QUESTION = 4000
# Telegram's fades after five seconds, Discord's after ten.
TYPING_EVERY_S = 4.5
# How long a turn waits for an engine that is away: a large base takes a while to load again.
PATIENCE_S = 120.0
ASK_AGAIN_S = 0.5
# Busy answers are waited out; then the person is told to come back.
MOST_BUSY = 6
# A second time away may be this very message's doing.
MOST_AWAY = 2
# An engine begun anew and a change of adapters may fall into one turn; more is no coincidence.
MOST_UNKNOWN = 3
SEEDS = 2**31
BROKEN_OFF = frozenset({"error", "cancelled"})
SMALLEST_CONTEXT = 1024


@dataclass(frozen=True, slots=True)
class Turn:
    """A message that is to be answered, and as whom."""

    letter: Letter
    incoming: Incoming
    author_hash: str
    persona: Persona

    @property
    def lang(self) -> Lang:
        return script_of(self.incoming.text, self.incoming.lang_hint)

    def said(self, name: str, **values: object) -> str:
        return sentence(name, self.lang, name=self.persona.names[self.lang], **values)


@dataclass(slots=True)
class _Failures:
    """What already went wrong with one turn."""

    busy: int = 0
    away: int = 0
    unknown: int = 0


class Turns:
    """Answers messages one by one; one instance serves every platform."""

    def __init__(
        self,
        store: Store,
        engine: Engine,
        reconciler: Reconciler,
        *,
        outbox: Outbox,
        pace: Pace,
        clock: Clock,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._store = store
        self._engine = engine
        self._reconciler = reconciler
        self._outbox = outbox
        self._pace = pace
        self._clock = clock
        self._tokens = Tokens(engine)
        self._pulse = Pulse(engine, clock)
        self._patience_s = patience_s

    @property
    def rest(self) -> Rest:
        return self._reconciler.rest

    async def wait_out(self, turn: Turn) -> None:
        """Says that the persona rests, once for all times, and returns at the end of the rest."""
        await self._say(turn, "resting")
        await self.rest.over()

    async def answer(self, turn: Turn) -> None:
        """Answers and returns when the answer is shown.

        Raises:
            Exception: what nobody expected; the caller says so to the person.
        """
        question = clean(turn.incoming.text).strip()
        if not question:
            await self._say(turn, "empty")
            return
        if len(question) > LONGEST_QUESTION:
            await self._say(turn, "too_long", most=LONGEST_QUESTION)
            return
        earlier = await self._store.reply_of(turn.letter.inbox_id)
        if earlier is not None and earlier.state == "complete":
            await self._show_again(turn, earlier)
            return
        seed = secrets.randbelow(SEEDS) if earlier is None else earlier.seed
        failures = _Failures()
        while not await self._is_said(turn, question, seed, failures):
            pass

    async def _is_said(self, turn: Turn, question: str, seed: int, failures: _Failures) -> bool:
        """Tries once; False asks for another try, after the engine came back."""
        try:
            with self.rest.turn():
                await self._attempt(turn, question, seed)
        except QuestionTooLong:
            await self._say(turn, "too_long", most=LONGEST_QUESTION)
        except EngineBusy as error:
            failures.busy += 1
            await self._say(turn, "engine_busy")
            if failures.busy < MOST_BUSY:
                await self._clock.sleep(error.retry_after_s)
                return False
            await self._give_up(turn, error)
        except ModelUnknown as error:
            failures.unknown += 1
            if failures.unknown < MOST_UNKNOWN and await self._is_back():
                return False
            await self._give_up(turn, error)
        except (EngineUnavailable, EngineTimeout) as error:
            if self.rest.is_on:
                await self.wait_out(turn)
                return False
            failures.away += 1
            await self._say(turn, "resting")
            if failures.away < MOST_AWAY and await self._is_back():
                return False
            await self._give_up(turn, error)
        return True

    async def _attempt(self, turn: Turn, question: str, seed: int) -> None:
        silent = partial(self._silent, turn)
        info = self._reconciler.info
        if info is None:
            info = await attended(self._engine.info(), silent)
        self._tokens.use(info)
        place = turn.letter.place
        conversation = await self._store.conversation(
            place.platform, place.chat, place.thread, turn.persona.slug, is_direct=turn.incoming.is_direct
        )
        speaker = self._reconciler.speaker(turn.persona.slug, conversation.id)
        adapter = speaker.adapter
        # Where the base's tokenizer is not here the engine counts, and may hang as well as over a reply.
        composing = compose(
            turn.persona,
            await history(self._store, conversation.id),
            question,
            lang=turn.lang,
            tokens=self._tokens,
            context=info.context or SMALLEST_CONTEXT,
            adapter=adapter.name if adapter else None,
            seed=seed,
        )
        composed = await attended(composing, silent)
        reply = await self._store.open_reply(
            NewReply(
                inbox_id=turn.letter.inbox_id,
                conversation_id=conversation.id,
                persona=turn.persona.slug,
                platform=place.platform,
                chat=place.chat,
                lang=turn.lang,
                messages=_dumped([asdict(message) for message in composed.messages]),
                lore=_dumped(composed.lore),
                sampling=_dumped(asdict(composed.sampling)),
                seed=composed.sampling.seed or 0,
                adapter=adapter.name if adapter else None,
                adapter_digest=adapter.digest if adapter else None,
                arm=speaker.arm,
                last_erasure=conversation.last_erasure,
                **_base(info),
            )
        )
        said = Said(question, turn.author_hash, clean(turn.incoming.user_name).replace("\n", " "))
        await self._speak(turn, reply, composed, said)

    async def _speak(self, turn: Turn, reply: Reply, composed: Composed, said: Said) -> None:
        letter = replace(turn.letter, reply_id=reply.id)
        known = await self._store.outbox(letter.inbox_id, letter.slot)
        writer = ReplyWriter(letter, self._outbox, self._pace, known=known)
        away: EngineError | None = None
        async with asyncio.TaskGroup() as tasks:
            shown = tasks.create_task(writer.run())
            typing = tasks.create_task(self._typing(letter, writer))
            try:
                result = await self._stream(turn, composed, writer)
                # Stored before it is shown whole: what people have seen is never unknown to us.
                is_kept = False
                if result.text:
                    is_kept = await self._store.complete_reply(reply.id, result, [said])
                else:
                    await self._store.fail_reply(reply.id, f"no words, {result.finish_reason}")
                text = result.text or turn.said("speechless")
                writer.finish(text, buttons=_thumbs(reply.id) if is_kept else ())
                await shown
            except EngineError as error:
                # Raised outside the group, which would wrap it.
                away = error
                writer.abandon()
            finally:
                typing.cancel()
        if away is not None:
            raise away

    async def _stream(self, turn: Turn, composed: Composed, writer: ReplyWriter) -> Result:
        began = self._clock.monotonic()
        first: float | None = None
        text, reason = "", "stop"
        asked: int | None = None
        answered: int | None = None
        stream: Any = self._engine.generate(
            composed.model, composed.messages, composed.sampling, request_id=str(turn.letter.inbox_id)
        )
        async with aclosing(stream):
            async for delta in watched(stream, partial(self._silent, turn)):
                text += delta.text
                if first is None and delta.text:
                    first = self._clock.monotonic() - began
                writer.show(presentable(text, final=False))
                reason = delta.finish_reason or reason
                asked = delta.prompt_tokens or asked
                answered = delta.completion_tokens or answered
        if reason in BROKEN_OFF:
            raise EngineUnavailable("The engine broke the reply off.")
        seconds = self._clock.monotonic() - began
        shown = presentable(text, final=True)
        guard = findings(shown, lang=turn.lang, card=turn.persona.prompt_text, end=reason)
        return Result(shown, reason, asked, answered, first, seconds, guard)

    async def _silent(self, turn: Turn) -> None:
        if not await self._pulse.is_there():
            await self._say(turn, "resting")

    async def _typing(self, letter: Letter, writer: ReplyWriter) -> None:
        while not writer.started.is_set():
            try:
                await letter.port.typing(letter.place)
            except PortError as error:
                _log.info("typing.refused", reason=str(error))
            await self._clock.sleep(TYPING_EVERY_S)

    async def _show_again(self, turn: Turn, reply: Reply) -> None:
        """After a crash between storing and showing: the same words, the rest of the parts."""
        letter = replace(turn.letter, reply_id=reply.id)
        known = await self._store.outbox(letter.inbox_id, letter.slot)
        writer = ReplyWriter(letter, self._outbox, self._pace, known=known)
        text = reply.text or turn.said("speechless")
        writer.finish(text, buttons=_thumbs(reply.id) if reply.text else ())
        await writer.run()

    async def _say(self, turn: Turn, name: str, **values: object) -> None:
        await self._outbox.say(replace(turn.letter, slot=name), turn.said(name, **values))

    async def _give_up(self, turn: Turn, error: EngineError) -> None:
        reply = await self._store.reply_of(turn.letter.inbox_id)
        if reply is not None:
            await self._store.fail_reply(reply.id, str(error))
        await self._say(turn, "given_up")

    async def _is_back(self) -> bool:
        """Waits until the engine answers and has what it had; False when patience ends."""
        limit = self._clock.monotonic() + self._patience_s
        while self._clock.monotonic() < limit:
            try:
                await self._reconciler.once()
            except EngineError:
                if self.rest.is_on:
                    await self.rest.over()
                    limit = self._clock.monotonic() + self._patience_s
                    continue
                await self._clock.sleep(ASK_AGAIN_S)
            else:
                return True
        return False


def _thumbs(reply_id: str) -> Sequence[Button]:
    return (Button("👍", f"vote:{reply_id}:u"), Button("👎", f"vote:{reply_id}:d"))


def _base(info: EngineInfo) -> dict[str, Any]:
    return {
        "base": info.base,
        "base_fingerprint": info.base_fingerprint,
        "dtype": info.dtype,
        "quantize": info.quantize,
    }


def _dumped(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
