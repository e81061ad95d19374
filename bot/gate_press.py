"""Presses under a gate's report: moderators approve a run, veto it or roll it back."""

from __future__ import annotations

from collections.abc import Callable

from bot.cards import speaker_of
from bot.gate_post import GatePost
from bot.gate_report import ROLLED_BACK, VETOED, standing
from bot.gate_words import word
from bot.moderators import Moderators
from bot.platform import Press, VoteOutcome
from data.ledger import Ledger
from data.script import lang_of
from data.store import Store
from personas.loader import Cast

__all__ = ["GATE", "decide_run"]

GATE = "gate"
# Not which one: nobody's hash may stay where forgetting does not reach.
ACTOR = "a moderator"


async def decide_run(
    press: Press,
    store: Store,
    post: GatePost,
    cast: Cast,
    *,
    moderators: Moderators,
    on_decision: Callable[[], None],
) -> VoteOutcome:
    """Does what a moderator pressed and says how the run stands; pressing again changes nothing.

    Args:
        press: its data is ``gate:<run_id>:approve|veto|rollback``.
        store: where runs are.
        post: the report, which shows what was decided.
        cast: who speaks.
        moderators: who may press.
        on_decision: called after the commit of whatever was decided.
    """
    lang = lang_of(press.lang_hint) or "en"
    if moderators.role_of(press) != "moderator":
        return VoteOutcome(word("moderators_only", lang))
    _, run_id, act = (press.data.split(":") + [""] * 2)[:3]
    if await store.ledger.run(run_id) is None:
        return VoteOutcome(word("no_run", lang))
    is_done = await _is_done(store.ledger, run_id, act)
    run = await store.ledger.run(run_id)
    if run is None:
        return VoteOutcome(word("no_run", lang))
    if is_done:
        on_decision()
        await post.shown(run)
    name = speaker_of(run.persona, cast, lang)
    told = word("run_is", lang, name=name, run=run.id, standing=standing(run, lang))
    return VoteOutcome(told if is_done else f"{word('unchanged', lang)} {told}")


async def _is_done(ledger: Ledger, run_id: str, act: str) -> bool:
    if act == "approve":
        return await ledger.approve(run_id, ACTOR)
    if act == "veto":
        return await ledger.veto(run_id, ACTOR, VETOED)
    return act == "rollback" and await ledger.roll_back(run_id, ACTOR, ROLLED_BACK)
