"""The store in SQLite: one connection that writes, one that only reads.

SQLite below 3.51.3 can corrupt a WAL that two connections write or checkpoint at once: the second one here
is opened read-only, and the lock of `data.home` keeps other processes out.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import aiosqlite

from data import ballots
from data.adapters import named, point, register
from data.clock import Clock, SystemClock
from data.erasure import Erasures, open_guarded
from data.errors import StoreNewer
from data.ids import new_id
from data.ledger import Ledger
from data.records import (
    Adapter,
    Alias,
    AliasName,
    Answer,
    Audit,
    Ballot,
    CastPair,
    CastRewrite,
    CastThumb,
    Conversation,
    InboxItem,
    InboxState,
    NewReply,
    OutboxItem,
    OutboxState,
    Reply,
    Result,
    Said,
    Scope,
    Utterance,
    Vote,
    VoteCount,
    VoteKind,
    VoteOfRater,
)
from data.reviews import Reviews
from data.statements import Session, load_statements, migrations
from data.writer import Writer

__all__ = ["SqliteStore", "open_store"]

PRAGMAS = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",  # a commit survives a power cut
    "PRAGMA foreign_keys = ON",
    "PRAGMA secure_delete = ON",  # what was forgotten is overwritten
    "PRAGMA busy_timeout = 5000",
)


@asynccontextmanager
async def open_store(path: Path, *, clock: Clock | None = None) -> AsyncIterator[SqliteStore]:
    """Opens (and migrates) the store; both connections are closed on every way out.

    Hold `Home.lock` around it.

    Raises:
        StoreNewer: a newer version of this program wrote it.
    """
    statements = load_statements()
    async with AsyncExitStack() as stack:
        # An aiosqlite connection that stays open keeps the process from ending.
        writing = await stack.enter_async_context(aiosqlite.connect(path, isolation_level=None))
        writing.row_factory = aiosqlite.Row
        for pragma in PRAGMAS:
            await writing.execute_fetchall(pragma)
        await _migrate(writing)
        reading = await stack.enter_async_context(
            aiosqlite.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
        )
        reading.row_factory = aiosqlite.Row
        writer = Writer(writing, Session(writing, statements))
        task = asyncio.create_task(writer.run(), name="store-writer")
        try:
            yield SqliteStore(writer, Session(reading, statements), clock or SystemClock())
        finally:
            writer.close()
            await task


async def _migrate(connection: aiosqlite.Connection) -> None:
    (version,) = next(iter(await connection.execute_fetchall("PRAGMA user_version")))
    scripts = migrations()
    if version > scripts[-1][0]:
        raise StoreNewer
    for number, script in scripts:
        if number > version:
            await connection.executescript(f"BEGIN;\n{script}\nPRAGMA user_version = {number};\nCOMMIT;")


class SqliteStore:
    """`data.store.Store` on SQLite."""

    def __init__(self, writer: Writer, read: Session, clock: Clock) -> None:
        self._writer = writer
        self._read = read
        self._clock = clock
        self.erasures = Erasures(writer, read, clock)
        self.ledger = Ledger(writer, read, clock)
        self.reviews = Reviews(writer, read, clock)

    async def receive(
        self, items: Sequence[InboxItem], *, cursor: tuple[str, str, str] | None = None
    ) -> tuple[int, ...]:
        now = self._clock.now()

        async def unit(session: Session) -> tuple[int, ...]:
            new = []
            for item in items:
                row = await session.one("add_to_inbox", **asdict(item), now=now)
                if row is not None:
                    new.append(int(row["id"]))
            if cursor is not None:
                await session.run("set_cursor", platform=cursor[0], name=cursor[1], value=cursor[2])
            return tuple(new)

        return await self._writer.submit(unit)

    async def cursor(self, platform: str, name: str) -> str | None:
        row = await self._read.one("get_cursor", platform=platform, name=name)
        return None if row is None else str(row["value"])

    async def open_items(self, platform: str, *, after: int, most: int) -> tuple[InboxItem, ...]:
        rows = await self._read.all("open_inbox_items", platform=platform, after=after, most=most)
        return tuple(InboxItem(**row) for row in rows)

    async def begin(self, inbox_id: int) -> int:
        row = await self._one("begin_inbox_item", id=inbox_id)
        return 0 if row is None else int(row["attempts"])

    async def settle(self, inbox_id: int, state: InboxState, *, error: str | None = None) -> None:
        await self._one("settle_inbox_item", id=inbox_id, state=state, error=error)

    async def note(self, item: InboxItem) -> InboxItem:
        now = self._clock.now()
        key = {"platform": item.platform, "chat": item.chat, "message_id": item.message_id}

        async def unit(session: Session) -> dict[str, Any] | None:
            await session.run("add_note", **asdict(item), now=now)
            return await session.one("inbox_item", **key)

        return InboxItem(**(await self._writer.submit(unit) or {}))

    async def noted(self, platform: str, chat: str, message_id: str) -> InboxItem | None:
        row = await self._read.one("inbox_item", platform=platform, chat=chat, message_id=message_id)
        return None if row is None else InboxItem(**row)

    async def expire(self, platform: str) -> int:
        return len(await self._all("expire_inbox", platform=platform))

    async def conversation(
        self, platform: str, chat: str, thread: str, persona: str, *, is_direct: bool = True
    ) -> Conversation:
        key = {"platform": platform, "chat": chat, "thread": thread, "persona": persona}
        row = await self._read.one("live_conversation", **key)
        if row is None:
            now = self._clock.now()

            async def unit(session: Session) -> dict[str, Any] | None:
                await session.run("add_conversation", id=new_id(now), is_direct=is_direct, now=now, **key)
                return await session.one("live_conversation", **key)

            row = await self._writer.submit(unit)
        return Conversation(**(row or {}))

    async def close_conversation(self, platform: str, chat: str, thread: str, persona: str) -> bool:
        row = await self._one(
            "close_conversation", platform=platform, chat=chat, thread=thread, persona=persona
        )
        return row is not None

    async def history(self, conversation_id: str, *, most: int) -> tuple[Utterance, ...]:
        rows = await self._read.all("history", conversation_id=conversation_id, most=most)
        return tuple(Utterance(**row) for row in rows)

    async def open_reply(self, reply: NewReply) -> Reply:
        now = self._clock.now()

        async def unit(session: Session) -> dict[str, Any] | None:
            return await open_guarded(session, reply, new_id(now), now)

        return Reply(**(await self._writer.submit(unit) or {}))

    async def reply_of(self, inbox_id: int) -> Reply | None:
        row = await self._read.one("reply_of_inbox_item", inbox_id=inbox_id)
        return None if row is None else Reply(**row)

    async def reply(self, reply_id: str) -> Reply | None:
        row = await self._read.one("reply_by_id", id=reply_id)
        return None if row is None else Reply(**row)

    async def reply_of_message(self, platform: str, chat: str, message_id: str) -> str | None:
        row = await self._read.one("reply_of_message", platform=platform, chat=chat, message_id=message_id)
        return None if row is None else str(row["reply_id"])

    async def complete_reply(self, reply_id: str, result: Result, said: Sequence[Said]) -> bool:
        now = self._clock.now()

        async def unit(session: Session) -> bool:
            row = await session.one("complete_reply", id=reply_id, now=now, **asdict(result))
            if row is None:
                return False
            shared = {**row, "reply_id": reply_id, "now": now}
            for one in said:
                await session.run("add_message", **shared, role="user", **asdict(one))
            await session.run(
                "add_message",
                **shared,
                role="assistant",
                text=result.text,
                author_hash=None,
                author_name=None,
            )
            return True

        return await self._writer.submit(unit)

    async def replies_since(self, since: float) -> int:
        row = await self._read.one("replies_since", since=since)
        return 0 if row is None else int(row["many"])

    async def fail_reply(self, reply_id: str, error: str) -> None:
        await self._all("fail_reply", id=reply_id, error=error)

    async def outbox(self, inbox_id: int, slot: str) -> tuple[OutboxItem, ...]:
        rows = await self._read.all("outbox_of_inbox_item", inbox_id=inbox_id, slot=slot)
        return tuple(OutboxItem(**row) for row in rows)

    async def sending(
        self,
        inbox_id: int,
        slot: str,
        part: int,
        *,
        platform: str,
        chat: str,
        thread: str,
        text: str,
        reply_id: str | None = None,
    ) -> OutboxItem:
        nonce = new_id(self._clock.now())
        row = await self._one(
            "add_to_outbox",
            inbox_id=inbox_id,
            slot=slot,
            part=part,
            platform=platform,
            chat=chat,
            thread=thread,
            text=text,
            reply_id=reply_id,
            nonce=nonce,
        )
        return OutboxItem(**(row or {}))

    async def mark_outbox(
        self, outbox_id: int, state: OutboxState, *, text: str, platform_message_id: str | None = None
    ) -> None:
        await self._all(
            "mark_outbox", id=outbox_id, state=state, text=text, platform_message_id=platform_message_id
        )

    async def cast(self, ballot: Ballot) -> VoteOfRater:
        return await self._writer.submit(ballots.cast(ballot, self._clock.now()))

    async def give_reason(self, reply_id: str, rater_hash: str, reason: str, text: str | None) -> VoteOfRater:
        return await self._writer.submit(
            ballots.give_reason(reply_id, rater_hash, reason, text, self._clock.now())
        )

    async def answer_consent(self, rater_hash: str, answer: Answer) -> None:
        await self._writer.submit(ballots.answer_consent(rater_hash, answer, self._clock.now()))

    async def consent(self, rater_hash: str) -> str | None:
        row = await self._read.one("live_consent", rater_hash=rater_hash)
        return None if row is None else str(row["answer"])

    async def live_vote(self, reply_id: str, rater_hash: str, kind: VoteKind) -> Vote | None:
        row = await self._read.one("live_vote", reply_id=reply_id, rater_hash=rater_hash, kind=kind)
        return None if row is None else Vote(**row)

    async def votes(self, reply_id: str) -> tuple[Vote, ...]:
        return tuple(Vote(**row) for row in await self._read.all("votes_of_reply", reply_id=reply_id))

    async def thumbs(self) -> tuple[CastThumb, ...]:
        return tuple(CastThumb(**_with_use(row)) for row in await self._read.all("thumbs"))

    async def pairs(self) -> tuple[CastPair, ...]:
        return tuple(CastPair(**_with_use(row)) for row in await self._read.all("pairs"))

    async def rewrites(self) -> tuple[CastRewrite, ...]:
        return tuple(CastRewrite(**_with_use(row)) for row in await self._read.all("rewrites"))

    async def vote_counts(self) -> tuple[VoteCount, ...]:
        return tuple(VoteCount(**row) for row in await self._read.all("vote_counts"))

    async def setting(self, scope: Scope, scope_id: str, name: str) -> str | None:
        row = await self._read.one("get_setting", scope=scope, scope_id=scope_id, name=name)
        return None if row is None else str(row["value"])

    async def set_setting(self, scope: Scope, scope_id: str, name: str, value: str) -> None:
        await self._all("set_setting", scope=scope, scope_id=scope_id, name=name, value=value)

    async def add_adapter(self, adapter: Adapter, *, champion_if_none: bool = False) -> bool:
        now = self._clock.now()
        persona, base = adapter.persona, adapter.base_fingerprint

        async def unit(session: Session) -> bool:
            await register(session, adapter, now)
            if not champion_if_none or await named(session, persona, base, "champion") is not None:
                return False
            await point(session, persona, base, "champion", adapter.digest, now)
            return True

        return await self._writer.submit(unit)

    async def adapters(self, base_fingerprint: str) -> tuple[Adapter, ...]:
        rows = await self._read.all("adapters", base_fingerprint=base_fingerprint)
        return tuple(Adapter(**row) for row in rows)

    async def aliases(self, base_fingerprint: str) -> tuple[Alias, ...]:
        rows = await self._read.all("aliases", base_fingerprint=base_fingerprint)
        return tuple(Alias(**row) for row in rows)

    async def promote(self, persona: str, base_fingerprint: str, digest: str, *, actor: str) -> None:
        await self.ledger.promote_version(persona, base_fingerprint, digest, actor=actor)

    async def set_alias(
        self, persona: str, base_fingerprint: str, alias: AliasName, digest: str | None
    ) -> None:
        now = self._clock.now()
        await self._writer.submit(
            lambda session: point(session, persona, base_fingerprint, alias, digest, now)
        )

    async def audit(self, actor: str, act: str, subject: str, detail: str = "") -> None:
        await self._all("add_audit", actor=actor, act=act, subject=subject, detail=detail)

    async def audits(self, *, most: int = 100) -> tuple[Audit, ...]:
        return tuple(Audit(**row) for row in await self._read.all("audits", most=most))

    async def states(self) -> dict[str, dict[str, int]]:
        found = {}
        for table in ("inbox", "outbox"):
            rows = await self._read.all(f"{table}_states")
            found[table] = {str(row["state"]): int(row["many"]) for row in rows}
        return found

    async def _all(self, statement: str, **values: Any) -> list[dict[str, Any]]:
        """One writing statement as a unit of its own; ``:now`` is the clock's."""
        now = self._clock.now()
        return await self._writer.submit(lambda session: session.all(statement, now=now, **values))

    async def _one(self, statement: str, **values: Any) -> dict[str, Any] | None:
        rows = await self._all(statement, **values)
        return rows[0] if rows else None


def _with_use(row: dict[str, Any]) -> dict[str, Any]:
    return row | {"consumed": bool(row["consumed"])}
