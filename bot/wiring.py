"""The learning loop's parts, made from the settings: for the running bot, and for commands without one."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

from bot.loop import Loop, News, Terms
from bot.runs import Runs
from bot.settings import Settings
from bot.timetable import Timetable
from bot.vote_runs import VoteRuns
from data.clock import Clock
from data.home import Home
from data.store import Store
from personas.loader import Cast
from training import canary
from training.gate import Rules
from training.schedule import Cron, Plan, QuietHours

__all__ = ["Ground", "make_loop", "make_runs", "opening_of", "recipe_for", "timetable_of"]

# A trainer of the starter took 6 GB at its worst; a larger base in nf4 about as much beside its weights.
WORKING_BYTES = 6 * 2**30
LAST_SHARE = 50


@dataclass(frozen=True, slots=True)
class Ground:
    """What every part stands on: the store and home of one bot and the base that its engine serves."""

    store: Store
    home: Home
    settings: Settings
    sets: Path
    base_folder: Path
    fingerprint: str
    clock: Clock


def recipe_for(base: str) -> str:
    """The name of the recipes for a base."""
    return "starter" if base == "starter" else "large"


def make_runs(ground: Ground) -> Runs:
    return Runs(
        ground.store,
        ground.home,
        sets=ground.sets,
        base=ground.settings.base,
        base_folder=ground.base_folder,
        fingerprint=ground.fingerprint,
    )


def opening_of(ground: Ground, *, recipe: str | None = None) -> VoteRuns:
    """Opens runs with the base's recipe, or with another of that name."""
    return VoteRuns(
        ground.store,
        ground.home,
        sets=ground.sets,
        base=ground.settings.base,
        fingerprint=ground.fingerprint,
        recipe=recipe or recipe_for(ground.settings.base),
        clock=ground.clock,
    )


def make_loop(
    ground: Ground,
    cast: Cast,
    *,
    news: News | None = None,
    changed: Callable[[], None] = lambda: None,
    refusal: Callable[[str], str | None] = lambda _name: None,
    resting: Callable[[], AbstractAsyncContextManager[None]] = contextlib.nullcontext,
    freed_bytes: Callable[[], int] = lambda: 0,
) -> Loop:
    return Loop(
        ground.store,
        cast,
        make_runs(ground),
        opening_of(ground),
        _terms(ground),
        fingerprint=ground.fingerprint,
        clock=ground.clock,
        news=news,
        changed=changed,
        refusal=refusal,
        resting=resting,
        freed_bytes=freed_bytes,
    )


def timetable_of(loop: Loop, clock: Clock) -> Timetable:
    """The loop's works, each at its own pace: training takes long, a canary is looked at meanwhile."""
    timetable = Timetable(clock)
    timetable.add("open", loop.open_due)
    timetable.add("train", loop.train)
    timetable.add("judge", loop.judge)
    timetable.add("canaries", loop.canaries)
    timetable.add("watch", loop.watch)
    return timetable


def _terms(ground: Ground) -> Terms:
    settings = ground.settings
    plan = Plan(
        Cron(settings.train_cron, settings.time_zone), QuietHours(settings.quiet_hours, settings.time_zone)
    )
    first = settings.canary_share
    return Terms(
        plan,
        gate=Rules(mode=settings.gate),
        canary=canary.Rules(
            shares=(first, LAST_SHARE) if first < LAST_SHARE else (first,),
            hours=settings.canary_hours,
            replies=settings.canary_replies,
        ),
        policy=settings.train_policy,
        threads=settings.threads,
        needed_bytes=WORKING_BYTES,
        least_rows=settings.train_rows,
    )
