"""What may be done with a run: each function is one step, carried out within a unit of the writer.

A step returns whether the run is now where it leads. Repeated, it finds that done and changes nothing; one
that the run's state forbids (`data.run_states`) changes nothing either and says no.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from data.adapters import crown, named, point, register
from data.errors import VotesGone
from data.records import Adapter
from data.run_records import NewRun, Run, RunChange, WayBack
from data.run_states import LEGAL, RunState
from data.statements import Session

__all__ = [
    "approve", "claim", "fail", "find", "give_up", "judged", "open_run", "promote_run", "promote_version",
    "roll_back", "roll_back_persona", "snapshotted", "start_canary", "supersede", "trained", "veto",
    "way_back", "widen",
]  # fmt: skip

MOST_ATTEMPTS = 3


async def find(session: Session, run_id: str) -> Run | None:
    row = await session.one("run_by_id", id=run_id)
    return None if row is None else Run(**row)


async def open_run(
    session: Session, new: NewRun, run_id: str, votes: Sequence[tuple[int, float]], now: float
) -> str | None:
    """Adds the run and its votes.

    Raises:
        VotesGone: one of them was withdrawn, changed or taken since they were read.
    """
    if await find(session, run_id) is not None:
        return run_id
    if await session.one("add_run", **asdict(new) | {"id": run_id}, now=now) is None:
        return None
    rows = await session.all("free_votes", persona=new.persona, kind=new.kind)
    if not {vote_id for vote_id, _ in votes} <= {row["id"] for row in rows}:
        raise VotesGone
    await session.many(
        "add_run_vote", [{"run_id": run_id, "vote_id": vote, "weight": weight} for vote, weight in votes]
    )
    return run_id


async def snapshotted(session: Session, run: Run, now: float, *, digest: str) -> bool:
    if run.state != "claimed":
        return run.snapshot_digest == digest
    return await _move(session, run, "snapshotted", now, RunChange(snapshot_digest=digest))


async def claim(
    session: Session, now: float, *, owner: str, lease_s: float, run_id: str | None = None
) -> Run | None:
    """Gives the oldest waiting run to a worker; one whose attempts are used up fails instead."""
    for row in await session.all("claimable_runs", now=now):
        run = Run(**row)
        if run_id not in {None, run.id}:
            continue
        if run.attempt >= MOST_ATTEMPTS:
            error = f"{run.attempt} attempts ended without a result; the last worker was {run.owner}."
            await _move(session, run, "failed", now, RunChange(error=error))
            continue
        values = {"id": run.id, "was": run.state, "attempt": run.attempt, "owner": owner}
        claimed = await session.one("claim_run", **values, lease_until=now + lease_s, now=now)
        if claimed is not None:
            return Run(**claimed)
    return None


async def trained(
    session: Session, run: Run, now: float, *, owner: str, attempt: int, adapter: Adapter, report: str | None
) -> RunState | None:
    """Registers what an attempt made; returns the run's state, None where the attempt is not the run's."""
    if (run.owner, run.attempt) != (owner, attempt):
        return None
    if run.state != "training":
        return run.state if run.challenger == adapter.digest else None
    await register(session, adapter, now)
    target: RunState = "promoted" if run.kind == "corpus" else "evaluating"
    change = RunChange(challenger=adapter.digest, report=report)
    if not await _move(session, run, target, now, change):
        return None
    if target == "promoted" and await named(session, run.persona, run.base_fingerprint, "champion") is None:
        await point(session, run.persona, run.base_fingerprint, "champion", adapter.digest, now)
    return target


async def fail(session: Session, run: Run, now: float, *, owner: str, attempt: int, error: str) -> bool:
    if (run.owner, run.attempt) != (owner, attempt) or run.state not in {"training", "failed"}:
        return False
    return await give_up(session, run, now, error=error)


async def give_up(session: Session, run: Run, now: float, *, error: str) -> bool:
    return run.state == "failed" or await _move(session, run, "failed", now, RunChange(error=error))


async def judged(
    session: Session, run: Run, now: float, *, passed: bool, decision: str, reason: str, needs_approval: bool
) -> bool:
    target: RunState = "rejected"
    if passed:
        target = "awaiting_approval" if needs_approval else "evaluating"
    if run.state != "evaluating":
        return run.decision == decision
    return await _move(session, run, target, now, RunChange(decision=decision, reason=reason))


async def approve(session: Session, run: Run, now: float, *, actor: str) -> bool:
    if run.state != "awaiting_approval":
        return run.approved_by is not None and run.state in {"canary", "promoted"}
    if run.approved_by is not None:
        return True
    moved = await _move(session, run, "awaiting_approval", now, RunChange(approved_by=actor))
    return moved and await _audit(session, run, now, actor=actor, act="approve")


async def veto(session: Session, run: Run, now: float, *, actor: str, reason: str) -> bool:
    if run.state in {"canary", "promoted"}:
        return await roll_back(session, run, now, actor=actor, reason=reason, act="veto")
    if run.state not in {"evaluating", "awaiting_approval"}:
        return run.state in {"rejected", "rolled_back"}
    moved = await _move(session, run, "rejected", now, RunChange(reason=reason))
    return moved and await _audit(session, run, now, actor=actor, act="veto", reason=reason)


async def start_canary(session: Session, run: Run, now: float, *, share: int) -> bool:
    if run.state == "canary":
        return run.share == share
    if not run.is_ready:
        return False
    champion = await named(session, run.persona, run.base_fingerprint, "champion")
    change = RunChange(share=share, share_since=now, canary_since=now, champion_before=champion)
    if not await _move(session, run, "canary", now, change):
        return False
    await point(session, run.persona, run.base_fingerprint, "challenger", run.challenger, now)
    return True


async def widen(session: Session, run: Run, now: float, *, share: int) -> bool:
    """A wider share of the canary; never a narrower one: the counts so far would mean another thing."""
    if run.state != "canary" or run.share is None or share < run.share:
        return False
    return share == run.share or await _move(
        session, run, "canary", now, RunChange(share=share, share_since=now)
    )


async def promote_run(session: Session, run: Run, now: float, *, actor: str) -> bool:
    """Ends the canary well.

    Raises:
        VotesGone: another promoted run has learnt one of its votes.
    """
    if run.state != "canary":
        return run.state == "promoted"
    if await _votes_are_learnt_elsewhere(session, run):
        raise VotesGone
    return await _promote(session, run, now, actor=actor)


async def promote_version(
    session: Session, persona: str, base_fingerprint: str, digest: str, now: float, *, actor: str
) -> None:
    """Makes a version champion by an operator's hand, whatever the loop thinks of it.

    A run that made it counts as promoted from now on, so that its votes are consumed, unless another run has
    them by now. A canary of another version ends: the champion that it was compared with is gone.
    """
    whose = {"persona": persona, "base_fingerprint": base_fingerprint}
    if await named(session, persona, base_fingerprint, "champion") == digest:
        return
    canary = await _canary(session, persona, base_fingerprint)
    if canary is not None and canary.challenger != digest:
        await supersede(session, canary, now, reason="Another version was made champion by hand.")
    row = await session.one("run_of_adapter", **whose, digest=digest)
    run = None if row is None else Run(**row)
    if run is not None and not await _votes_are_learnt_elsewhere(session, run):
        await _promote(session, run, now, actor=actor)
        return
    await crown(session, persona, base_fingerprint, digest, now)
    await session.run("add_audit", actor=actor, act="promote", subject=persona, detail=digest, now=now)


async def roll_back(
    session: Session, run: Run, now: float, *, actor: str, reason: str, act: str = "roll_back"
) -> bool:
    """Undoes a canary, or the promotion of what is champion still.

    The rolled-back version keeps no alias: ``previous`` is what is served when the champion's folder breaks.
    A live incremental run of the persona is superseded, for it learns from the version that is gone, votes
    and all; so is a canary against it.
    """
    persona, base = run.persona, run.base_fingerprint
    if run.state == "promoted":
        if await named(session, persona, base, "champion") != run.challenger:
            return False
        await _step_back(session, run, now)
    elif run.state != "canary":
        return run.state == "rolled_back"
    moved = await _move(session, run, "rolled_back", now, RunChange(reason=reason))
    return moved and await _audit(session, run, now, actor=actor, act=act, reason=reason)


async def way_back(session: Session, persona: str, base_fingerprint: str) -> WayBack | None:
    """Where a rollback would lead; None where there is nothing to undo."""
    champion = await named(session, persona, base_fingerprint, "champion")
    canary = await _canary(session, persona, base_fingerprint)
    if canary is not None:
        return WayBack(canary.id, champion, is_canary=True)
    if champion is None:
        return None
    previous = await named(session, persona, base_fingerprint, "previous")
    row = await session.one(
        "run_of_adapter", persona=persona, base_fingerprint=base_fingerprint, digest=champion
    )
    run = None if row is None else Run(**row)
    if run is not None and run.state == "promoted":
        return WayBack(run.id, run.champion_before or previous, is_canary=False)
    return None if previous is None else WayBack(None, previous, is_canary=False)


async def roll_back_persona(
    session: Session, persona: str, base_fingerprint: str, now: float, *, actor: str, reason: str
) -> WayBack | None:
    way = await way_back(session, persona, base_fingerprint)
    if way is None:
        return None
    run = None if way.run_id is None else await find(session, way.run_id)
    if run is not None:
        await roll_back(session, run, now, actor=actor, reason=reason)
        return way
    await point(session, persona, base_fingerprint, "champion", way.digest, now)
    await point(session, persona, base_fingerprint, "previous", None, now)
    await _supersede_learners(session, persona, base_fingerprint, now)
    detail = f"{way.digest}: {reason}"
    await session.run("add_audit", actor=actor, act="roll_back", subject=persona, detail=detail, now=now)
    return way


async def supersede(session: Session, run: Run, now: float, *, reason: str) -> bool:
    return run.state == "superseded" or await _move(session, run, "superseded", now, RunChange(reason=reason))


async def _move(session: Session, run: Run, to: RunState, now: float, change: RunChange) -> bool:
    if to not in LEGAL[run.state]:
        return False
    values = {"id": run.id, "was": run.state, "attempt": run.attempt, "state": to}
    if await session.one("move_run", **values, **asdict(change), now=now) is None:
        return False
    if run.state == "canary" and to != "canary":
        await point(session, run.persona, run.base_fingerprint, "challenger", None, now)
    return True


async def _promote(session: Session, run: Run, now: float, *, actor: str) -> bool:
    digest = run.challenger
    if digest is None:
        return False
    champion, previous = await crown(session, run.persona, run.base_fingerprint, digest, now)
    change = RunChange(promoted_at=now, champion_before=champion, previous_before=previous)
    moved = await _move(session, run, "promoted", now, change)
    return moved and await _audit(session, run, now, actor=actor, act="promote")


async def _step_back(session: Session, run: Run, now: float) -> None:
    persona, base = run.persona, run.base_fingerprint
    previous = await named(session, persona, base, "previous")
    await point(session, persona, base, "champion", run.champion_before or previous, now)
    before = None if run.champion_before is None else run.previous_before
    await point(session, persona, base, "previous", None if before == run.challenger else before, now)
    await _supersede_learners(session, persona, base, now)


async def _supersede_learners(session: Session, persona: str, base_fingerprint: str, now: float) -> None:
    for row in await session.all("live_runs"):
        run = Run(**row)
        is_theirs = (run.persona, run.base_fingerprint) == (persona, base_fingerprint)
        if is_theirs and (run.kind == "incremental" or run.state == "canary"):
            await supersede(session, run, now, reason="The version that it learns from was rolled back.")


async def _canary(session: Session, persona: str, base_fingerprint: str) -> Run | None:
    runs = [Run(**row) for row in await session.all("live_runs")]
    whose = (persona, base_fingerprint, "canary")
    return next((run for run in runs if (run.persona, run.base_fingerprint, run.state) == whose), None)


async def _votes_are_learnt_elsewhere(session: Session, run: Run) -> bool:
    return run.kind == "incremental" and await session.one("votes_learnt_elsewhere", id=run.id) is not None


async def _audit(
    session: Session, run: Run, now: float, *, actor: str, act: str, reason: str | None = None
) -> bool:
    detail = f"run {run.id}" if reason is None else f"run {run.id}: {reason}"
    await session.run("add_audit", actor=actor, act=act, subject=run.persona, detail=detail, now=now)
    return True
