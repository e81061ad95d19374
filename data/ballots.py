"""Votes and consent as units of the writer: a vote row is never edited, a change inserts and closes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from data.records import Answer, Ballot, VoteOfRater
from data.statements import Session

__all__ = ["answer_consent", "cast", "give_reason"]

# A matter for the lore, whoever is right: it opens a ticket.
WRONG_FACT = "wrong_fact"
COPIED = ("reply_id", "rater_hash", "role", "kind", "value", "reason", "other_reply_id", "text", "source")


def cast(ballot: Ballot, now: float) -> Callable[[Session], Awaitable[VoteOfRater]]:
    async def unit(session: Session) -> VoteOfRater:
        reply = await session.one("reply_by_id", id=ballot.reply_id)
        if reply is None or (reply["text"] is None and reply["state"] != "generating"):
            return VoteOfRater("no_reply")
        row = {name: getattr(ballot, name) for name in COPIED}
        live = await session.one(
            "live_vote", reply_id=ballot.reply_id, rater_hash=ballot.rater_hash, kind=ballot.kind
        )
        if live is not None and _says_the_same(live, row):
            return VoteOfRater("same")
        consent = await session.one("live_consent", rater_hash=ballot.rater_hash)
        if consent is None:
            await session.run("add_consent", rater_hash=ballot.rater_hash, answer="asked", now=now)
        await _replace(session, live, row, consent, now)
        return VoteOfRater("new" if live is None else "changed", ask_consent=consent is None)

    return unit


def give_reason(
    reply_id: str, rater_hash: str, reason: str, text: str | None, now: float
) -> Callable[[Session], Awaitable[VoteOfRater]]:
    async def unit(session: Session) -> VoteOfRater:
        live = await session.one("live_vote", reply_id=reply_id, rater_hash=rater_hash, kind="thumb")
        if live is None:
            return VoteOfRater("no_vote")
        row = {name: live[name] for name in COPIED} | {"reason": reason, "text": text or live["text"]}
        if _says_the_same(live, row):
            return VoteOfRater("same")
        consent = await session.one("live_consent", rater_hash=rater_hash)
        await _replace(session, live, row, consent, now)
        return VoteOfRater("changed")

    return unit


def answer_consent(rater_hash: str, answer: Answer, now: float) -> Callable[[Session], Awaitable[None]]:
    async def unit(session: Session) -> None:
        current = await session.one("live_consent", rater_hash=rater_hash)
        if current is not None and current["answer"] == answer:
            return
        if current is not None:
            await session.run("close_consent", id=current["id"], now=now)
        await session.run("add_consent", rater_hash=rater_hash, answer=answer, now=now)
        for live in await session.all("live_votes_of_rater", rater_hash=rater_hash):
            row = {name: live[name] for name in COPIED}
            await _replace(session, live, row, {"answer": answer}, now)

    return unit


def _says_the_same(live: dict[str, Any], row: dict[str, Any]) -> bool:
    """A thumb pressed again without a word keeps the reason that was given before."""
    if any(live[name] != row[name] for name in ("value", "other_reply_id", "role")):
        return False
    return all(row[name] is None or live[name] == row[name] for name in ("reason", "text"))


async def _replace(
    session: Session,
    live: dict[str, Any] | None,
    row: dict[str, Any],
    consent: dict[str, Any] | None,
    now: float,
) -> None:
    if live is not None:
        await session.run("close_vote", id=live["id"], now=now)
    answer = "unasked" if consent is None or consent["answer"] == "asked" else consent["answer"]
    added = await session.one("add_vote", **row, consent=answer, now=now)
    was_told = live is not None and live["reason"] == WRONG_FACT
    if added is not None and (row["kind"], row["reason"]) == ("thumb", WRONG_FACT) and not was_told:
        await session.run("open_ticket", vote_id=added["id"], now=now)
