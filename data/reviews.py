"""The moderators' queue: who has which reply before them, and what they made of it.

```
waiting ──next──► claimed ──judge──► judged     (again: the same moderator changes their mind)
   ▲                 ├──skip────► skipped       (for that moderator only)
   └─ release, or ───┘
      the claim ran out
```
A claim is one row; a unique index lets nobody else have it as long as it lasts. What may be shown at all is
the view ``reviewable`` of `data/sql/migrations/0004_review.sql`: no private chats, nobody who said no.
First come replies on which moderators disagree, then flagged ones, then thumbs down, then the newest.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from data import ballots
from data.clock import Clock
from data.ids import new_id
from data.records import Ballot, InboxItem, NewReply, Reply, Result, Utterance, VoteOfRater
from data.statements import Session
from data.writer import Writer

__all__ = ["ReviewCounts", "ReviewItem", "Reviews"]

# Enough to see what a reply answers.
MOST_SAID = 5
# Counting stops there: nobody judges more in a sitting.
MOST_COUNTED = 1000
# In this order.
CANDIDATES = ("own_claim", "urgent_review", "newest_review")


@dataclass(frozen=True, slots=True)
class ReviewItem:
    """A reply to be judged; ``said`` is what came before it in the chat, oldest first."""

    reply: Reply
    said: tuple[Utterance, ...]


@dataclass(frozen=True, slots=True)
class ReviewCounts:
    """``waiting`` stops at `MOST_COUNTED`; ``judged`` is by this moderator."""

    waiting: int
    judged: int


class Reviews:
    """The part of the store that moderators work with; ``moderator`` is their rater hash everywhere."""

    def __init__(self, writer: Writer, read: Session, clock: Clock) -> None:
        self._writer = writer
        self._read = read
        self._clock = clock

    async def next(self, moderator: str, persona: str | None, *, lease_s: float) -> ReviewItem | None:
        """The reply that the moderator has already, else the first that is free, claimed; None without any.

        Args:
            moderator: who asks; never gets an answer to their own words.
            persona: whose replies; None for everybody's.
            lease_s: how long it is nobody else's.
        """
        now = self._clock.now()
        whose = {"moderator": moderator, "persona": persona}

        async def unit(session: Session) -> str | None:
            await session.run("drop_late_claims", now=now)
            found = None
            for statement in CANDIDATES:
                found = found or await session.one(statement, **whose)
            await session.run("drop_own_claim", moderator=moderator)
            if found is None:
                return None
            await session.run("claim_review", reply_id=found["id"], until=now + lease_s, now=now, **whose)
            return str(found["id"])

        reply_id = await self._writer.submit(unit)
        return None if reply_id is None else await self._item(reply_id)

    async def hold(self, reply_id: str, moderator: str, *, lease_s: float) -> ReviewItem | None:
        """Claims this very reply, for longer where it is claimed; None where it is not theirs to judge."""
        now = self._clock.now()

        async def unit(session: Session) -> bool:
            review = await _free(session, reply_id, moderator, now)
            if review is None or review["own_state"] == "judged":
                return review is not None
            await session.run("drop_late_claims", now=now)
            if review["own_state"] != "claimed":
                await session.run("drop_own_claim", moderator=moderator)
            whose = {"moderator": moderator, "persona": None}
            await session.run("claim_review", reply_id=reply_id, until=now + lease_s, now=now, **whose)
            return True

        return await self._item(reply_id) if await self._writer.submit(unit) else None

    async def judge(self, reply_id: str, ballot: Ballot) -> VoteOfRater:
        """Casts a moderator's vote about a reply that is theirs to judge, and ends the claim.

        ``no_reply`` where the reply may not be judged at all, ``taken`` where somebody else has it or has
        judged it. A pair names the reply and its alternative, the better one first.
        """
        now = self._clock.now()

        async def unit(session: Session) -> VoteOfRater:
            review = await _review(session, reply_id, ballot.rater_hash, now)
            if review is None or not await _is_about(session, reply_id, ballot):
                return VoteOfRater("no_reply")
            if not _is_free(review):
                return VoteOfRater("taken")
            if ballot.kind == "pair":
                await session.run("close_contrary_pair", now=now, **_named(ballot))
            cast = await ballots.cast(ballot, now)(session)
            await session.run("judge_review", reply_id=reply_id, moderator=ballot.rater_hash, now=now)
            return cast

        return await self._writer.submit(unit)

    async def skip(self, reply_id: str, moderator: str) -> None:
        """Leaves the reply to other moderators."""
        await self._run("skip_review", reply_id=reply_id, moderator=moderator, now=self._clock.now())

    async def release(self, reply_id: str, moderator: str) -> None:
        """Gives the reply back; it may come again."""
        await self._run("release_review", reply_id=reply_id, moderator=moderator)

    async def wanted(self, moderator: str) -> str | None:
        """The persona that the moderator last asked for."""
        row = await self._read.one("wanted_review", moderator=moderator)
        return None if row is None else row["wanted"]

    async def counts(self, moderator: str) -> ReviewCounts:
        row = await self._read.one("count_reviews", moderator=moderator, most=MOST_COUNTED)
        return ReviewCounts(**(row or {}))

    async def alternative(self, reply_id: str) -> Reply | None:
        """The newest other answer that was written for review."""
        row = await self._read.one("alternative_of", reply_id=reply_id)
        return None if row is None else Reply(**row)

    async def add_alternative(self, asked: InboxItem, new: NewReply, result: Result) -> Reply | None:
        """Keeps another answer to the prompt of ``new.parent_reply_id``; no chat and no history has it.

        None where that prompt was forgotten meanwhile.

        Args:
            asked: who wanted it, as a row of the inbox that is done; every reply answers one.
            new: its ``inbox_id`` is not read.
            result: the words.
        """
        now = self._clock.now()
        reply_id = new_id(now)

        async def unit(session: Session) -> dict[str, Any] | None:
            parent = await session.one("reply_by_id", id=new.parent_reply_id)
            if parent is None or parent["messages"] != new.messages:
                return None
            item = await session.one("add_to_inbox", **asdict(asked), now=now)
            if item is None:
                return None
            await session.run("settle_inbox_item", id=item["id"], state="done", error=None, now=now)
            values = asdict(new) | {"inbox_id": item["id"]}
            await session.run("open_reply", id=reply_id, now=now, **values)
            await session.run("complete_reply", id=reply_id, now=now, **asdict(result))
            return await session.one("reply_by_id", id=reply_id)

        row = await self._writer.submit(unit)
        return None if row is None else Reply(**row)

    async def _item(self, reply_id: str) -> ReviewItem | None:
        row = await self._read.one("reply_by_id", id=reply_id)
        if row is None:
            return None
        said = await self._read.all("said_before", reply_id=reply_id, most=MOST_SAID)
        return ReviewItem(Reply(**row), tuple(Utterance(**one) for one in said))

    async def _run(self, statement: str, **values: Any) -> None:
        await self._writer.submit(lambda session: session.run(statement, **values))


async def _review(session: Session, reply_id: str, moderator: str, now: float) -> dict[str, Any] | None:
    return await session.one("review_for", reply_id=reply_id, moderator=moderator, now=now)


async def _free(session: Session, reply_id: str, moderator: str, now: float) -> dict[str, Any] | None:
    review = await _review(session, reply_id, moderator, now)
    return review if review is not None and _is_free(review) else None


def _is_free(review: dict[str, Any]) -> bool:
    """Whether the moderator may judge: they hold it or held it to the end, or nobody else did."""
    if review["is_held"]:
        return False
    return review["own_state"] in {"claimed", "judged"} or not review["is_judged"]


async def _is_about(session: Session, reply_id: str, ballot: Ballot) -> bool:
    if ballot.kind != "pair":
        return ballot.reply_id == reply_id
    others = {ballot.reply_id, ballot.other_reply_id} - {reply_id}
    if len(others) != 1 or reply_id not in {ballot.reply_id, ballot.other_reply_id}:
        return False
    other = await session.one("reply_by_id", id=others.pop())
    return other is not None and other["parent_reply_id"] == reply_id


def _named(ballot: Ballot) -> dict[str, Any]:
    return {name: getattr(ballot, name) for name in ("reply_id", "other_reply_id", "rater_hash")}
