"""What an operator does on behalf of a person: a copy of everything that is kept of them, and forgetting."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bot.erase import forget
from bot.errors import BotError
from data.home import Home, rater_hash, write_atomically
from data.store import Store

__all__ = ["COMMANDS", "PERSON", "answer"]

COMMANDS = ("user_export", "user_forget")
# As in the settings' moderators, without roles.
PERSON = re.compile(r"(?P<platform>discord|telegram|web|terminal):(?P<user>[^\s:]+)")


async def answer(store: Store, home: Home, request: Mapping[str, Any]) -> Mapping[str, Any]:
    """Carries one of `COMMANDS` out for the person that the request names.

    Raises:
        BotError: nobody can be named so, or the file cannot be written.
    """
    name = str(request.get("person"))
    person = PERSON.fullmatch(name)
    if person is None:
        raise BotError(f"{name!r} names nobody; write PLATFORM:USER_ID, for example telegram:12345.")
    rater = rater_hash(home.secret(), person["platform"], person["user"])
    if request.get("command") == "user_export":
        return await _export(await store.erasures.kept(rater), name, Path(str(request.get("out"))))
    erased, swept = await forget(store, home, rater)
    return {
        "person": name,
        "erased": dict(erased.counts),
        "deleted": [*swept.snapshots, *swept.work],
        "rebuilds": sorted({due.persona for due in swept.rebuilds}),
    }


async def _export(kept: Mapping[str, Sequence[Mapping[str, Any]]], name: str, out: Path) -> Mapping[str, Any]:
    events = [{**event, "payload": json.loads(str(event["payload"]))} for event in kept["events"]]
    text = json.dumps({"person": name, **kept, "events": events}, ensure_ascii=False, indent=2)
    try:
        await asyncio.to_thread(write_atomically, out, f"{text}\n", mode=0o600)
    except OSError as error:
        raise BotError(f"{out} cannot be written: {error.strerror or error}.") from error
    return {"person": name, "out": str(out), "kept": {sort: len(rows) for sort, rows in kept.items()}}
