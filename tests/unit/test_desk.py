"""The operator's desk: what is live, promotion and going back, with or without a running bot."""

from __future__ import annotations

import asyncio
import contextlib
import json

import pytest

from bot import control
from bot.desk import COMMANDS, Desk, consult
from bot.errors import BotError
from data.home import Home
from data.records import Adapter
from data.sqlite import open_store
from tests.fakes.adapter import adapter
from tests.fakes.engine import FINGERPRINT
from tests.waiting import until


@pytest.fixture(name="home")
def _home(tmp_path):
    home = Home(tmp_path / "home")
    home.prepare()
    return home


@pytest.fixture(name="world")
async def _world(home):
    """Two versions of one persona, the first of them champion."""
    async with open_store(home.store) as store:
        for version, seed in (("v0", 1), ("v1", 2)):
            folder = home.adapters / "li_bai" / version
            digest = adapter(folder, seed=seed)
            row = Adapter(digest, "li_bai", version, FINGERPRINT, str(folder))
            await store.add_adapter(row, champion_if_none=True)
        yield store, Desk(store, home, FINGERPRINT)


async def live(desk):
    rows = (await desk.answer({"command": "adapters"}))["adapters"]
    return {row["version"]: row["aliases"] for row in rows}


async def test_promoting_keeps_the_old_version_and_rolling_back_goes_to_it(world, home):
    _, desk = world
    assert await live(desk) == {"v0": ["champion"], "v1": []}
    moved = await desk.answer({"command": "promote", "persona": "li_bai", "version": "v1"})
    assert moved["version"] == "v1"
    assert await live(desk) == {"v0": ["previous"], "v1": ["champion"]}
    mirrored = json.loads(home.champions.read_text())
    assert mirrored["champions"]["li_bai"]["name"] == moved["name"]
    assert (await desk.answer({"command": "rollback", "persona": "li_bai"}))["version"] == "v0"
    assert await live(desk) == {"v0": ["champion"], "v1": ["previous"]}


async def test_a_version_goes_by_its_model_name_too(world):
    _, desk = world
    rows = (await desk.answer({"command": "adapters"}))["adapters"]
    name = next(row["name"] for row in rows if row["version"] == "v1")
    assert (await desk.answer({"command": "promote", "persona": "li_bai", "version": name}))["name"] == name


async def test_what_is_not_there_is_named_and_what_is_damaged_does_not_go_live(world, home):
    _, desk = world
    with pytest.raises(BotError, match="no version v9 for this base; there are: v0, v1"):
        await desk.answer({"command": "promote", "persona": "li_bai", "version": "v9"})
    with pytest.raises(BotError, match="no previous version"):
        await desk.answer({"command": "rollback", "persona": "li_bai"})
    (home.adapters / "li_bai/v1/adapter_model.safetensors").write_bytes(b"swapped")
    with pytest.raises(BotError, match="cannot go live"):
        await desk.answer({"command": "promote", "persona": "li_bai", "version": "v1"})
    assert (await live(desk))["v0"] == ["champion"]


async def test_without_a_base_only_votes_are_answered(world, home):
    store, _ = world
    desk = Desk(store, home, None)
    assert await desk.answer({"command": "votes"}) == {"votes": []}
    with pytest.raises(BotError, match="engine is away"):
        await desk.answer({"command": "adapters"})


async def test_a_running_bot_is_asked_and_otherwise_the_store_itself(home):
    async with open_store(home.store):
        pass
    assert await consult(home, home.root, "votes") == {"votes": []}

    async def answer(request):
        return {"asked": request["command"], "persona": request.get("persona")}

    serving = asyncio.create_task(control.serve(home.control_socket, dict.fromkeys(COMMANDS, answer)))
    try:
        await until(home.control_socket.is_socket)
        with home.lock():
            answered = await consult(home, home.root, "rollback", persona="li_bai")
        assert answered == {"asked": "rollback", "persona": "li_bai"}
    finally:
        serving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await serving


async def test_a_base_that_is_not_there_is_one_sentence(home, tmp_path):
    async with open_store(home.store):
        pass
    with pytest.raises(BotError) as told:
        await consult(home, tmp_path / "nowhere", "adapters")
    assert "\n" not in str(told.value)
