"""Forgetting a person: what goes, what stays as a tombstone, and what is guarded.

Gone are the words: the person's messages, the answers to them (text, prompt, lore, history, what was sent),
the events as they came in, votes' reasons and rewrites, the answers to the consent question, their choices.
Rows that others point to stay as tombstones without a word and without the person: ``inbox`` (so that a
redelivered event is still known), ``reply``, ``outbox`` and ``vote``; run_vote and lore_ticket point to any
vote, so every vote of the person becomes a closed 0 of nobody. In a chat where nobody else ever spoke even
the chat's id goes: a private chat's is often the person's own number.

Others keep their words. In a conversation that the person took part in:

- an answer to somebody else stays, its prompt goes from the person's first message on, since every later
  prompt may repeat it. ``error = 'forgotten'`` on a reply says so: no such reply becomes a row again.
- somebody else's vote on an answer to the person stays theirs, but trains nothing; a moderator's rewrite of
  such an answer goes with it.

What was begun before and is written after is guarded: a turn of the person is not opened again, an answer
to somebody else that was composed from the person's words is stored without its prompt, and what is still
being sent to the person leaves no text. The hash stays in ``erasure`` alone, beside ids, so that an operator
who restores a backup knows whom to forget anew.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import asdict
from typing import Any

from data.clock import Clock
from data.errors import Forgotten
from data.records import Erased, NewReply, RebuildDue
from data.statements import Session
from data.writer import Writer

__all__ = ["FORGOTTEN", "Erasures", "open_guarded"]

FORGOTTEN = "forgotten"
KEPT = ("messages", "replies", "votes", "consents", "settings", "events")
WITH_REPLY = ("forget_reply", "forget_answer", "forget_sent")
LEFT = ("leave_conversations", "leave_replies", "leave_outbox", "leave_inbox")


class Erasures:
    """The part of the store that forgets people; who they are is their rater hash everywhere."""

    def __init__(self, writer: Writer, read: Session, clock: Clock) -> None:
        self._writer = writer
        self._read = read
        self._clock = clock

    async def erase(self, rater_hash: str) -> Erased:
        """Forgets everything of a person in one transaction; an `Erased` without an id where nothing is.

        Copies outside the rows are left: see `unswept`.
        """
        return await self._writer.submit(_erase(rater_hash, self._clock.now()))

    async def purge(self) -> None:
        """Makes sure that no byte of what was deleted is left in the store's files; writes wait meanwhile.

        Raises:
            StoreUnavailable: the disk is full, or somebody reads the store; the rows are gone all the same.
        """
        await self._writer.purge()

    async def unswept(self) -> tuple[Erased, ...]:
        """Erasures whose copies in snapshots and in the files' free space may still be there."""
        return tuple(
            Erased(row["id"], tuple(json.loads(row["replies"])), tuple(json.loads(row["votes"])))
            for row in await self._read.all("unswept_erasures")
        )

    async def mark_swept(self, erasure_id: int) -> None:
        now = self._clock.now()
        await self._writer.submit(lambda session: session.run("mark_erasure_swept", id=erasure_id, now=now))

    async def latest(self) -> int:
        """The id of the last erasure, 0 before the first: to be compared after rows went into a file."""
        return int((await self._read.all("latest_erasure"))[0]["id"])

    async def runs_with(self, erased: Erased) -> frozenset[str]:
        """The runs that were given one of the erased votes, or any vote on one of the erased replies."""
        votes, replies = set(erased.vote_ids), set(erased.reply_ids)
        rows = await self._read.all("runs_with_forgotten")
        return frozenset(
            row["run_id"] for row in rows if row["vote_id"] in votes or row["reply_id"] in replies
        )

    async def mark_rebuilds_of(self, run_ids: Iterable[str]) -> tuple[RebuildDue, ...]:
        """Marks the personas whose adapters came of these runs, as `mark_rebuild_due` does."""
        return await self._writer.submit(_mark_rebuilds_of(tuple(run_ids), self._clock.now()))

    async def mark_rebuild_due(self, persona: str, base_fingerprint: str) -> None:
        """The persona's adapter for this base is to be trained anew from v0 on what is left; again, later."""
        whose = {"persona": persona, "base_fingerprint": base_fingerprint, "now": self._clock.now()}
        await self._writer.submit(lambda session: session.run("mark_rebuild_due", **whose))

    async def rebuilds_due(self) -> tuple[RebuildDue, ...]:
        """The longest waiting first."""
        return tuple(RebuildDue(**row) for row in await self._read.all("rebuilds_due"))

    async def clear_rebuild_due(
        self, persona: str, base_fingerprint: str, *, until: float | None = None
    ) -> None:
        """A rebuild went live; ``until`` is when its rows were read: what was erased later stays due."""
        whose = {"persona": persona, "base_fingerprint": base_fingerprint, "until": until}
        await self._writer.submit(lambda session: session.run("clear_rebuild_due", **whose))

    async def kept(self, rater_hash: str) -> dict[str, list[dict[str, Any]]]:
        """Everything that is kept of a person, by sort; prompts are left out, since others speak in them."""
        return {name: await self._read.all(f"kept_{name}", rater_hash=rater_hash) for name in KEPT}


def _erase(rater_hash: str, now: float) -> Callable[[Session], Awaitable[Erased]]:
    async def unit(session: Session) -> Erased:
        who = {"rater_hash": rater_hash, "now": now}
        prompts = _ids(await session.all("forget_prompts", **who))
        replies = await _answers(session, rater_hash)
        said = await session.all("forget_said", **who)
        await session.run("forget_sent_to", **who)
        for statement in WITH_REPLY:
            await session.many(statement, [{"id": reply_id} for reply_id in replies])
        votes = _ids(await session.all("forget_votes", **who))
        votes += _ids(await session.all("forget_rewrites", now=now))
        consents = await session.all("forget_consents", **who)
        settings = await session.all("forget_settings", **who)
        for chat in await session.all("own_chats", **who):
            settings += await _leave(session, chat, now)
        events = await session.all("forget_events", **who)
        await session.run("forget_tickets")
        await session.run("forget_claims", **who)
        counts = {
            "messages": len(said),
            "replies": len(replies),
            "prompts": len(set(prompts) - set(replies)),
            "votes": len(votes),
            "consents": len(consents),
            "settings": len(settings),
            # The command and the press that asked for it are no words of their own.
            "events": sum(event["kind"] == "message" for event in events),
        }
        if not any(counts.values()):
            return Erased(0, (), ())
        ids = tuple(dict.fromkeys((*replies, *prompts)))
        row = await session.one("add_erasure", **who, votes=json.dumps(votes), replies=json.dumps(ids))
        return Erased((row or {})["id"], ids, tuple(votes), counts)

    return unit


def _mark_rebuilds_of(
    run_ids: Iterable[str], now: float
) -> Callable[[Session], Awaitable[tuple[RebuildDue, ...]]]:
    async def unit(session: Session) -> tuple[RebuildDue, ...]:
        due = {}
        for run_id in run_ids:
            for whose in await session.all("adapters_of_run", id=run_id):
                await session.run("mark_rebuild_due", **whose, now=now)
                due[tuple(whose.values())] = RebuildDue(**whose, since=now)
        return tuple(due.values())

    return unit


async def open_guarded(session: Session, reply: NewReply, reply_id: str, now: float) -> dict[str, Any] | None:
    """Opens a reply, without its prompt where that was composed before somebody was forgotten.

    Raises:
        Forgotten: whoever asked was.
    """
    if await session.one("forgotten_item", id=reply.inbox_id) is not None:
        raise Forgotten
    latest = await session.one("latest_erasure")
    is_outdated = latest is not None and reply.last_erasure not in {None, latest["id"]}
    values = asdict(reply) | ({"messages": "[]"} if is_outdated else {})
    await session.run("open_reply", id=reply_id, now=now, **values)
    if is_outdated:
        await session.run("forget_prompt_of_item", inbox_id=reply.inbox_id)
    return await session.one("reply_of_inbox_item", inbox_id=reply.inbox_id)


async def _answers(session: Session, rater_hash: str) -> list[str]:
    """The replies to a person's messages, and every other answer to the same, whoever asked for it."""
    children: dict[str, list[str]] = defaultdict(list)
    for row in await session.all("regenerated"):
        children[row["parent_reply_id"]].append(row["id"])
    found = dict.fromkeys(_ids(await session.all("replies_to", rater_hash=rater_hash)))
    waiting = list(found)
    while waiting:
        new = [child for child in children[waiting.pop()] if child not in found]
        found |= dict.fromkeys(new)
        waiting += new
    return list(found)


async def _leave(session: Session, chat: dict[str, Any], now: float) -> list[dict[str, Any]]:
    """Takes a chat's id out of every row, and returns the choices that were made for it."""
    for statement in LEFT:
        await session.run(statement, **chat, now=now)
    return await session.all("forget_settings_of_chat", place=f"{chat['platform']}:{chat['chat']}")


def _ids(rows: Iterable[dict[str, Any]]) -> list[Any]:
    return [row["id"] for row in rows]
