"""The core of the conversation process: what platforms hand in is stored, then answered in fair turns."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Container, Hashable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Literal

import structlog

from bot.another import Another
from bot.commands import carry_out
from bot.decide import decide
from bot.gate_post import GatePost
from bot.gate_press import GATE, decide_run
from bot.inbox import event_of, item_of
from bot.moderators import Moderators
from bot.outbox import Letter, Outbox
from bot.platform import (
    Command,
    Cursor,
    Event,
    Incoming,
    Place,
    PlatformName,
    Port,
    PortError,
    Press,
    Shown,
    VoteOutcome,
)
from bot.privacy import FORGET, answer_forget, in_public
from bot.queue import FairQueue, QueueFull, Waiting
from bot.resolve import choices, resolve
from bot.review import Review
from bot.sentences import sentence
from bot.suspects import MOST_ATTEMPTS, Suspects, is_suspect
from bot.turns import Turn, Turns
from bot.votes import cast
from data.clock import Clock
from data.errors import DataError, Forgotten
from data.home import rater_hash
from data.records import InboxItem
from data.script import script_of
from data.store import Store
from personas.loader import Cast

__all__ = ["Conversation"]

_log = structlog.get_logger(__name__)

# Turns under way at once; the engine has its own queue behind them.
WORKERS = 32
PRESS_WORKERS = 4
# How long a store that cannot be written is left alone.
STORE_PAUSE_S = 1.0
READ_AT_ONCE = 256
# A suspect that has not ended the process by then is none: the next one may begin.
ALONE_S = 10.0
# After a restart nobody is there any more to read what these platforms' people asked.
FLEETING: tuple[PlatformName, ...] = ("web", "terminal")
VOTES: Mapping[int, Literal["u", "d"]] = {1: "u", -1: "d"}


@dataclass(frozen=True, slots=True)
class _Job:
    item: InboxItem
    event: Event
    over: asyncio.Event = field(default_factory=asyncio.Event, compare=False)


class Conversation:
    """An implementation of `bot.platform.Core`; `run` answers what `receive` stored."""

    def __init__(
        self,
        store: Store,
        turns: Turns,
        outbox: Outbox,
        cast: Cast,
        *,
        default: str,
        secret: bytes,
        clock: Clock,
        moderators: Moderators,
        another: Another,
        forget: Callable[[str], Awaitable[object]],
        moderators_channel: str | None = None,
        on_decision: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._turns = turns
        self._outbox = outbox
        self._cast = cast
        self._default = default if default in cast.personas else next(iter(cast.personas))
        self._secret = secret
        self._moderators = moderators
        self._forget = forget
        self._on_decision = on_decision
        self._review = Review(store, another, cast, secret=secret, moderators=moderators)
        self._ports: dict[str, Port] = {}
        self.gate_post = GatePost(store, outbox, self._ports, moderators_channel, cast)
        self._read: dict[str, int] = {}
        self._queue: FairQueue[_Job] = FairQueue()
        self._presses: asyncio.Queue[_Job] = asyncio.Queue(READ_AT_ONCE)
        self._shed: asyncio.Queue[_Job] = asyncio.Queue(READ_AT_ONCE)
        self._suspects: Suspects[_Job] = Suspects(clock)
        self._told_busy: set[Hashable] = set()
        self._news = asyncio.Event()

    async def run(self) -> None:
        """Answers until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._reader())
            tasks.create_task(self._shed_worker())
            tasks.create_task(self._suspect_worker())
            for _ in range(PRESS_WORKERS):
                tasks.create_task(self._press_worker())
            for _ in range(WORKERS):
                tasks.create_task(self._worker(tasks))

    # --- what platforms ask

    def attach(self, port: Port) -> None:
        self._ports[port.name] = port
        self._news.set()

    async def receive(self, events: Sequence[Event], *, cursor: Cursor | None = None) -> int:
        items = [item_of(event, self._secret) for event in events]
        mark = None if cursor is None else (cursor.platform, cursor.name, cursor.value)
        new = await self._store.receive(items, cursor=mark)
        if new:
            self._news.set()
        return len(new)

    async def command(self, command: Command) -> VoteOutcome:
        if command.name == "review":
            return await self._review.begin(command)
        return await carry_out(
            command, store=self._store, cast=self._cast, default=self._default, secret=self._secret
        )

    async def press(self, press: Press, *, again: bool = False) -> VoteOutcome:
        if press.data.startswith("review:"):
            return await self._review.press(press, again=again)
        if press.data.startswith(f"{FORGET}:"):
            return await answer_forget(press, self._secret, self._forget)
        if press.data.startswith(f"{GATE}:"):
            return await decide_run(
                press,
                self._store,
                self.gate_post,
                self._cast,
                moderators=self._moderators,
                on_decision=self._on_decision,
            )
        return await cast(press, self._store, self._secret, moderators=self._moderators, again=again)

    async def cursor(self, platform: PlatformName, name: str) -> str | None:
        return await self._store.cursor(platform, name)

    async def history(self, place: Place, persona: str, user: str) -> tuple[Shown, ...]:
        rater = rater_hash(self._secret, place.platform, user)
        live = await self._store.conversation(place.platform, place.chat, place.thread, persona)
        # Read first: a message that is answered meanwhile is in the history, and told apart below.
        waiting = await self._store.open_items(place.platform, after=0, most=READ_AT_ONCE)
        shown, told = [], set()
        for one in await self._store.history(live.id, most=READ_AT_ONCE):
            told.add(one.reply_id)
            if one.role == "user":
                shown.append(Shown("user", one.text))
                continue
            vote = await self._store.live_vote(one.reply_id, rater, "thumb")
            mine = None if vote is None else VOTES.get(vote.value)
            shown.append(Shown("assistant", one.text, reply_id=one.reply_id, vote=mine))
        here = [item for item in waiting if (item.chat, item.thread) == (place.chat, place.thread)]
        return (*shown, *[one for item in here for one in await self._unanswered(item, told)])

    async def _unanswered(self, item: InboxItem, told: Container[str]) -> list[Shown]:
        if item.kind != "message":
            return []
        reply = await self._store.reply_of(item.id)
        event = event_of(item)
        if (reply is not None and reply.id in told) or not isinstance(event, Incoming):
            return []
        return [Shown("user", event.text, message_id=event.message_id)]

    # --- the inbox, in fair turns

    async def _reader(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            try:
                for platform in tuple(self._ports):
                    await self._read_platform(platform)
            except DataError:
                _log.exception("inbox.unreadable")
                await asyncio.sleep(STORE_PAUSE_S)
                self._news.set()

    async def _read_platform(self, platform: str) -> None:
        if platform not in self._read and platform in FLEETING:
            await self._store.expire(platform)
        while True:
            after = self._read.setdefault(platform, 0)
            items = await self._store.open_items(platform, after=after, most=READ_AT_ONCE)
            for item in items:
                await self._enqueue(item)
                self._read[platform] = item.id
            if len(items) < READ_AT_ONCE:
                return

    async def _enqueue(self, item: InboxItem) -> None:
        try:
            job = _Job(item, event_of(item))
        except (ValueError, KeyError, TypeError) as error:
            _log.exception("inbox.poison", inbox=item.id)
            await self._store.settle(item.id, "dead", error=type(error).__name__)
            return
        if isinstance(job.event, Incoming) and not decide(job.event).answer:
            await self._store.settle(item.id, "done")
        elif is_suspect(item.attempts):
            self._suspects.put(item.attempts, job)
        else:
            await self._line_up(job)

    async def _line_up(self, job: _Job) -> None:
        if isinstance(job.event, Press):
            # A vote is never shed: the reader waits instead, and the rows wait in the store.
            await self._presses.put(job)
            return
        item = job.item
        place = (item.platform, item.chat, item.thread)
        try:
            self._queue.put(Waiting(item.user_hash, place, job))
        except QueueFull:
            await self._shed.put(job)

    async def _worker(self, tasks: asyncio.TaskGroup) -> None:
        while True:
            waiting = await self._queue.get()
            if self._turns.rest.is_on and isinstance(waiting.value.event, Incoming):
                # A worker that waited with it would leave the people behind it without a word.
                tasks.create_task(self._wait_out(waiting, waiting.value.event))
                continue
            try:
                self._told_busy.discard(waiting.user)
                await self._handle(waiting.value)
            finally:
                self._queue.done(waiting)

    async def _wait_out(self, waiting: Waiting[_Job], incoming: Incoming) -> None:
        """Keeps a message, which is not begun, until the engine's rest is over; then it is first in line."""
        job = waiting.value
        with structlog.contextvars.bound_contextvars(inbox=job.item.id):
            try:
                await self._turns.wait_out(await self._turn(job, incoming))
            except Exception:  # noqa: BLE001 - a message's edge: only the word that it waits got lost
                _log.exception("turn.unannounced")
                await self._turns.rest.over()
        self._queue.give_back(waiting)

    async def _press_worker(self) -> None:
        while True:
            await self._handle(await self._presses.get())

    async def _suspect_worker(self) -> None:
        while True:
            job = await self._suspects.get()
            _log.info("turn.suspected", inbox=job.item.id, attempts=job.item.attempts)
            await self._line_up(job)
            with suppress(TimeoutError):
                async with asyncio.timeout(ALONE_S):
                    await job.over.wait()

    async def _shed_worker(self) -> None:
        """Says "busy" once until one of the person's own messages is taken up: a flood is no echo."""
        while True:
            job = await self._shed.get()
            with structlog.contextvars.bound_contextvars(inbox=job.item.id):
                try:
                    if job.item.user_hash not in self._told_busy:
                        self._told_busy.add(job.item.user_hash)
                        await self._say(job, "busy")
                    await self._store.settle(job.item.id, "done", error="busy")
                except Exception:  # noqa: BLE001 - a message's edge
                    _log.exception("turn.failed")
                finally:
                    job.over.set()

    async def _handle(self, job: _Job) -> None:
        """Carries one item out; whatever goes wrong with it stays with it."""
        with structlog.contextvars.bound_contextvars(inbox=job.item.id):
            try:
                while not await self._is_settled(job):
                    pass
            except Exception:  # noqa: BLE001 - a message's edge: the others go on
                _log.exception("turn.unsettled")
            finally:
                job.over.set()

    async def _is_settled(self, job: _Job) -> bool:
        """Tries once; a full disk passes: the row waits in the store, its person in this worker."""
        try:
            await self._settle(job)
        except DataError as error:
            _log.error("turn.store_away", reason=str(error))
            await asyncio.sleep(STORE_PAUSE_S)
            return False
        return True

    async def _settle(self, job: _Job) -> None:
        attempt = await self._store.begin(job.item.id)
        if attempt == 0:
            return
        if attempt > MOST_ATTEMPTS:
            await self._fail(job, "it was tried too often")
            return
        try:
            await self._do(job, attempt)
        except Forgotten:
            _log.info("turn.forgotten")
        except DataError:
            raise
        except Exception as error:  # noqa: BLE001 - a turn's edge
            _log.exception("turn.failed")
            await self._fail(job, type(error).__name__)
        else:
            await self._store.settle(job.item.id, "done")

    async def _do(self, job: _Job, attempt: int) -> None:
        port = self._ports[job.item.platform]
        if isinstance(job.event, Press):
            outcome = await self.press(job.event, again=attempt > 1)
            try:
                await port.acknowledge(job.event, outcome)
            except PortError as error:
                # The vote is stored; only the thanks got lost.
                _log.warning("press.unacknowledged", reason=str(error))
        elif isinstance(job.event, Command):
            outcome = in_public(job.event) or await self.command(job.event)
            letter = replace(self._letter(job, "command"), is_kept=outcome.card is None)
            await self._outbox.say(letter, outcome.text, buttons=outcome.buttons)
        else:
            await self._turns.answer(await self._turn(job, job.event))

    async def _turn(self, job: _Job, incoming: Incoming) -> Turn:
        author = job.item.user_hash
        chosen = await choices(self._store, incoming.place, author)
        slug = resolve(chosen, known=self._cast.personas, default=self._default, hint=incoming.persona_hint)
        return Turn(self._letter(job, "reply"), incoming, author, self._cast[slug])

    def _letter(self, job: _Job, slot: str) -> Letter:
        event = job.event
        return Letter(
            port=self._ports[job.item.platform],
            place=event.place,
            inbox_id=job.item.id,
            slot=slot,
            is_direct=event.is_direct,
            reply_to=event.message_id if isinstance(event, Incoming) and not event.is_direct else None,
        )

    async def _fail(self, job: _Job, error: str) -> None:
        await self._store.settle(job.item.id, "dead", error=error)
        if not isinstance(job.event, Press):
            await self._say(job, "failed", id=job.item.id)

    async def _say(self, job: _Job, name: str, **values: object) -> None:
        event = job.event
        lang = script_of(event.text if isinstance(event, Incoming) else "", event.lang_hint)
        text = sentence(name, lang, **values)
        await self._outbox.say(self._letter(job, name), text)
