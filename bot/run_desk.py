"""What an operator asks of training runs: which there were, what the gate found, a yes or a veto."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from bot.errors import BotError
from bot.judgement import Judgement, judgement_of
from bot.reconcile import mirror
from data.home import Home
from data.run_records import Run
from data.store import Store
from training.verdict import report

__all__ = ["COMMANDS", "answer"]

COMMANDS = ("runs", "run", "run_approve", "run_veto")
OPERATOR = "operator"
VETOED = "An operator vetoed it."
# Its JSON is told in words.
UNTOLD = ("decision", "report")


async def answer(store: Store, home: Home, request: Mapping[str, Any]) -> Mapping[str, Any]:
    """Carries one of `COMMANDS` out.

    Raises:
        BotError: there is no such run, or its state forbids it.
    """
    command, run_id = request.get("command"), str(request.get("run"))
    if command == "runs":
        return {"runs": [_row(run) for run in await store.ledger.runs()]}
    run = await _found(store, run_id)
    if command == "run_approve" and not await store.ledger.approve(run_id, OPERATOR):
        raise BotError(f"Run {run_id} cannot be approved: it is {_state(run)}.")
    if command == "run_veto":
        if not await store.ledger.veto(run_id, OPERATOR, VETOED):
            raise BotError(f"Run {run_id} cannot be vetoed: it is {_state(run)}.")
        await _mirror(store, home, run.base_fingerprint)
    return {"run": _row(await _found(store, run_id)), "report": await _report(store, run)}


async def _found(store: Store, run_id: str) -> Run:
    run = await store.ledger.run(run_id)
    if run is None:
        raise BotError(f"There is no run {run_id}; troupe runs list shows all.")
    return run


def _row(run: Run) -> Mapping[str, Any]:
    values = {name: value for name, value in asdict(run).items() if name not in UNTOLD}
    return values | {"state": _state(run), "reason": run.error or run.reason}


def _state(run: Run) -> str:
    return "approved" if run.state == "awaiting_approval" and run.is_ready else run.state


async def _report(store: Store, run: Run) -> str:
    """The gate's report as Markdown; without the adapter's folder what the verdict says by itself."""
    found = await judgement_of(store, run)
    if found is not None and found.measures is not None:
        return report(found.verdict, found.measures)
    lines = ["## The gate", "", *_sentences(found)]
    if run.decision is None:
        return "\n".join([*lines, "The gate has not judged this run."]) + "\n"
    return "\n".join([*lines, run.reason or "It gave no reason."]) + "\n"


def _sentences(found: Judgement | None) -> list[str]:
    if found is None:
        return []
    marks = {True: "passed", False: "**not passed**"}
    return [*(f"- {marks[check.passed]}: {check.sentence}" for check in found.verdict.checks), ""]


async def _mirror(store: Store, home: Home, base_fingerprint: str) -> None:
    """Commands that never open the store hear of it too, where the mirror is this base's."""
    if not home.champions.is_file():
        return
    if json.loads(home.champions.read_text(encoding="utf-8"))["base_fingerprint"] != base_fingerprint:
        return
    aliases = await store.aliases(base_fingerprint)
    mirror(home, base_fingerprint, {one.persona: one for one in aliases if one.alias == "champion"})
