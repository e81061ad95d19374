"""`troupe train`: one run now, in the sight of whoever asked for it.

The running bot owns the store, so it makes the run and takes the result over its control socket; where none
runs, this process takes the lock itself. A run from votes then waits for its canary, which needs people.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from bot.control import Handler, ask
from bot.errors import BotError, ControlUnavailable
from bot.leftovers import clear
from bot.reconcile import mirror
from bot.runs import LEASE_S, Runs
from bot.settings import Settings
from bot.trainer import Job
from bot.trainer import train as train_in_process
from bot.wiring import Ground, make_loop, make_runs, opening_of, recipe_for
from data.clock import SystemClock
from data.home import Home
from data.manifest import ManifestError, base_fingerprint
from data.run_records import Run
from data.sqlite import open_store
from personas.loader import Cast, Persona, load_cast

__all__ = ["Source", "Trained", "begin", "train_now", "training_handlers"]

OWNER = "command line"
RENEWALS_PER_LEASE = 3

Source = Literal["corpus", "votes"]


@dataclass(frozen=True, slots=True)
class Trained:
    """What came of a run; ``reason`` is the gate's sentence, None for one that has no gate."""

    run_id: str
    state: str
    reason: str | None = None


async def begin(ground: Ground, persona: Persona, *, source: str) -> str:
    """Opens a run of the persona's written dialogues or of its votes, and returns its id.

    Raises:
        BotError: another run of the persona is going on, or there is nothing to train on.
    """
    if source == "corpus":
        return await make_runs(ground).start_corpus(persona, recipe=recipe_for(ground.settings.base))
    run_id = await opening_of(ground).open(persona, "incremental")
    if run_id is None:
        raise BotError(f"A run of {persona.slug} is going on already; wait for it to end.")
    return run_id


def training_handlers(ground: Callable[[], Ground | None], cast: Cast) -> Mapping[str, Handler]:
    """What a running bot does for a command that trains: opens and hands out a run, keeps and ends it.

    Args:
        ground: None while there is nothing to train for.
        cast: whom there is to train.
    """

    def found() -> Ground:
        here = ground()
        if here is None:
            raise BotError(
                "The engine is away or cannot load our adapters, so there is nothing to train for."
            )
        return here

    begun: dict[str, Ground] = {}

    def runs_of(request: Mapping[str, Any]) -> Runs:
        """An engine that went away beside a trainer must not cost what the trainer made."""
        return make_runs(begun.get(str(request["id"])) or found())

    async def train(request: Mapping[str, Any]) -> Mapping[str, Any]:
        here = found()
        run_id = await begin(here, cast[str(request["persona"])], source=str(request["source"]))
        claim = await make_runs(here).claim(str(request["owner"]), run_id=run_id)
        if claim is None:
            raise BotError("A worker took the run; it will be trained there.")
        begun[run_id] = here
        return claim

    async def renew(request: Mapping[str, Any]) -> Mapping[str, Any]:
        whose = str(request["id"]), str(request["owner"]), int(request["attempt"])
        return {"ours": await runs_of(request).renew(*whose)}

    async def finish(request: Mapping[str, Any]) -> Mapping[str, Any]:
        whose = str(request["id"]), str(request["owner"]), int(request["attempt"])
        state = await runs_of(request).finish(*whose, error=request.get("error"))
        begun.pop(str(request["id"]), None)
        return {"state": state}

    return {"train": train, "renew": renew, "finish": finish}


async def train_now(
    settings: Settings, slug: str, *, source: Source, shipped: Path, sets: Path, base_folder: Path
) -> Trained:
    """Trains the persona.

    Raises:
        BotError: with the reason, when no adapter came out.
    """
    home = Home(settings.home.resolve())
    try:
        claim = await ask(home.control_socket, "train", persona=slug, source=source, owner=OWNER)
    except ControlUnavailable:
        return await _alone(
            settings, home, slug, source=source, shipped=shipped, sets=sets, base_folder=base_folder
        )
    job = Job(home.root / claim["snapshot"], home.root / claim["out"], base_folder, threads=settings.threads)
    error = await train_in_process(job, lambda: _renew(home, claim))
    whose = {"id": claim["id"], "owner": OWNER, "attempt": claim["attempt"]}
    answer = await ask(home.control_socket, "finish", **whose, error=error)
    return _checked(Trained(str(claim["id"]), str(answer.get("state"))))


async def _alone(
    settings: Settings,
    home: Home,
    slug: str,
    *,
    source: Source,
    shipped: Path,
    sets: Path,
    base_folder: Path,
) -> Trained:
    try:
        fingerprint = base_fingerprint(base_folder)
    except ManifestError as error:
        raise BotError(str(error)) from error
    home.prepare()
    with home.lock():
        async with open_store(home.store) as store:
            await clear(store, home)
            ground = Ground(store, home, settings, sets, base_folder, fingerprint, SystemClock())
            cast = load_cast([shipped, home.personas])
            run_id = await begin(ground, cast[slug], source=source)
            state = await make_runs(ground).train_here(OWNER, run_id=run_id, threads=settings.threads)
            trained = _checked(Trained(run_id, str(state)))
            if source == "votes":
                await make_loop(ground, cast).judge()
                trained = _of(await store.ledger.run(run_id)) or trained
            aliases = await store.aliases(fingerprint)
            mirror(home, fingerprint, {one.persona: one for one in aliases if one.alias == "champion"})
            return trained


async def _renew(home: Home, claim: Mapping[str, Any]) -> None:
    """Renews the lease until it is lost; a bot that is away for a moment is asked again."""
    whose = {"id": claim["id"], "owner": OWNER, "attempt": claim["attempt"]}
    is_ours = True
    while is_ours:
        await asyncio.sleep(LEASE_S / RENEWALS_PER_LEASE)
        with contextlib.suppress(BotError):
            is_ours = bool((await ask(home.control_socket, "renew", **whose)).get("ours"))


def _of(run: Run | None) -> Trained | None:
    return None if run is None else Trained(run.id, run.state, run.reason)


def _checked(trained: Trained) -> Trained:
    if trained.state not in {"promoted", "evaluating"}:
        raise BotError(f"Run {trained.run_id} made no valid adapter; its messages above say why.")
    return trained
