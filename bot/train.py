"""`troupe train`: one run now, in the sight of whoever asked for it.

The running bot owns the store, so it makes the run and takes the result over its control socket; where none
runs, this process takes the lock itself.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bot.control import ask
from bot.errors import BotError, ControlUnavailable
from bot.reconcile import mirror
from bot.runs import LEASE_S, Runs
from bot.settings import Settings
from data.home import Home
from data.manifest import ManifestError, base_fingerprint
from data.sqlite import open_store
from personas.loader import load_cast

__all__ = ["recipe_for", "train_from_corpus"]

OWNER = "command line"
RENEWALS_PER_LEASE = 3


def recipe_for(base: str) -> str:
    return "starter" if base == "starter" else "large"


async def train_from_corpus(
    settings: Settings, slug: str, *, shipped: Path, sets: Path, base_folder: Path
) -> str:
    """Trains the persona on its written dialogues and returns the new version.

    Raises:
        BotError: with the reason, when no adapter came out.
    """
    home = Home(settings.home.resolve())
    try:
        claim = await ask(home.control_socket, "train", persona=slug, owner=OWNER)
    except ControlUnavailable:
        return await _alone(settings, home, slug, shipped=shipped, sets=sets, base_folder=base_folder)
    code = await _trained(home, claim, base_folder, settings.threads)
    error = None if code == 0 else f"the trainer ended with {code}"
    whose = {"id": claim["id"], "owner": OWNER, "attempt": claim["attempt"]}
    return _version(await ask(home.control_socket, "finish", **whose, error=error), claim["id"])


async def _alone(
    settings: Settings, home: Home, slug: str, *, shipped: Path, sets: Path, base_folder: Path
) -> str:
    try:
        fingerprint = base_fingerprint(base_folder)
    except ManifestError as error:
        raise BotError(str(error)) from error
    home.prepare()
    with home.lock():
        async with open_store(home.store) as store:
            runs = Runs(
                store, home, sets=sets, base=settings.base, base_folder=base_folder, fingerprint=fingerprint
            )
            persona = load_cast([shipped, home.personas])[slug]
            run_id = await runs.start_corpus(persona, recipe=recipe_for(settings.base))
            state = await runs.train_here(OWNER, threads=settings.threads)
            aliases = await store.aliases(fingerprint)
            mirror(home, fingerprint, {one.persona: one for one in aliases if one.alias == "champion"})
            return _version({"state": state}, run_id)


async def _trained(home: Home, claim: Mapping[str, Any], base: Path, threads: int | None) -> int:
    command = [sys.executable, "-m", "training"]
    command += ["--threads", str(threads)] if threads is not None else []
    command += ["run", "--snapshot", str(home.root / claim["snapshot"])]
    command += ["--out", str(home.root / claim["out"]), "--base", str(base)]
    process = await asyncio.create_subprocess_exec(*command)
    try:
        async with asyncio.TaskGroup() as tasks:
            renewing = tasks.create_task(_renew(home, claim))
            code = await process.wait()
            renewing.cancel()
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()
    return code


async def _renew(home: Home, claim: Mapping[str, Any]) -> None:
    while True:
        await asyncio.sleep(LEASE_S / RENEWALS_PER_LEASE)
        await ask(home.control_socket, "renew", id=claim["id"], owner=OWNER, attempt=claim["attempt"])


def _version(answer: Mapping[str, Any], run_id: str) -> str:
    if answer.get("state") != "promoted":
        raise BotError(f"Run {run_id} made no valid adapter; its messages above say why.")
    return run_id
