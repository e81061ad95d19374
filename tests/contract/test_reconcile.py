"""What the aliases name is what the engine serves."""

from __future__ import annotations

import asyncio
import json

import pytest

from bot.reconcile import Reconciler
from data.home import Home
from data.run_records import NewRun
from data.sqlite import open_store
from engine.client import HttpEngine
from engine.errors import EngineUnavailable
from tests.fakes.adapter import adapter
from tests.fakes.engine import FINGERPRINT, FakeEngine


@pytest.fixture(name="world")
async def _world(tmp_path):
    home = Home(tmp_path / "var")
    home.prepare()
    async with FakeEngine() as fake, open_store(home.store) as store:
        engine = HttpEngine(fake.url)
        try:
            yield fake, store, home, Reconciler(store, engine, home, shipped=tmp_path / "shipped")
        finally:
            await engine.close()


def name(persona, digest):
    return f"{persona}@{digest[:8]}"


async def test_shipped_and_own_first_versions_are_registered_loaded_and_mirrored(world, tmp_path):
    fake, store, home, reconciler = world
    harry = adapter(tmp_path / "shipped/harry_potter/v0", seed=1)
    li_bai = adapter(home.adapters / "li_bai/v0", seed=2)
    adapter(home.adapters / "li_bai/.part-v1", seed=3)
    adapter(home.adapters / "li_bai/other-base", seed=4, fingerprint="0" * 64)
    await reconciler.once()
    assert set(fake.adapters) == {name("harry_potter", harry), name("li_bai", li_bai)}
    assert reconciler.champion("li_bai").name == name("li_bai", li_bai)
    assert reconciler.champion("nobody") is None
    assert reconciler.refused == {}
    written = json.loads(home.champions.read_text())
    assert written["base_fingerprint"] == FINGERPRINT
    assert written["champions"]["li_bai"]["path"] == str(home.adapters / "li_bai/v0")
    assert len(await store.adapters(FINGERPRINT)) == 2


async def test_an_engine_that_came_back_empty_is_filled_again(world, tmp_path):
    fake, _, _, reconciler = world
    digest = adapter(tmp_path / "shipped/li_bai/v0")
    await reconciler.once()
    fake.adapters.clear()
    await asyncio.gather(reconciler.once(), reconciler.once())
    assert set(fake.adapters) == {name("li_bai", digest)}


async def test_a_promotion_loads_the_new_one_and_lets_go_of_the_old(world, tmp_path):
    fake, store, home, reconciler = world
    old = adapter(tmp_path / "shipped/li_bai/v0", seed=1)
    new = adapter(home.adapters / "li_bai/v1", seed=2)
    fake.adapters["somebody@12345678"] = "elsewhere"
    await reconciler.once()
    assert reconciler.champion("li_bai").digest == old
    await store.promote("li_bai", FINGERPRINT, new, actor="operator")
    await reconciler.once()
    assert set(fake.adapters) == {name("li_bai", new), "somebody@12345678"}
    assert json.loads(home.champions.read_text())["champions"]["li_bai"]["name"] == name("li_bai", new)
    await store.set_alias("li_bai", FINGERPRINT, "challenger", old)
    await reconciler.once()
    assert {name("li_bai", new), name("li_bai", old)} <= set(fake.adapters)


async def test_what_a_run_is_still_trying_becomes_nobodys_first_champion(world):
    fake, store, home, reconciler = world
    adapter(home.adapters / "li_bai/tried", seed=1)
    await store.ledger.open_run(NewRun("li_bai", FINGERPRINT, "corpus", 7, id="tried"))
    await reconciler.once()
    assert reconciler.champion("li_bai") is None
    assert await store.adapters(FINGERPRINT) == ()
    assert fake.adapters == {}


@pytest.mark.parametrize("damage", ["flip", "cut", "pickle"])
async def test_a_damaged_folder_is_never_registered(world, tmp_path, damage):
    fake, _, _, reconciler = world
    folder = tmp_path / "shipped/li_bai/v0"
    adapter(folder)
    weights = folder / "adapter_model.safetensors"
    if damage == "flip":
        weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    elif damage == "cut":
        weights.write_bytes(weights.read_bytes()[:-9])
    else:
        (folder / "adapter_model.bin").write_bytes(b"evil")
    await reconciler.once()
    assert fake.adapters == {}
    assert reconciler.champion("li_bai") is None
    assert list(reconciler.refused) == ["li_bai/v0"]


async def test_a_champion_that_the_engine_refuses_falls_back_to_the_previous_one(world, tmp_path):
    fake, store, home, reconciler = world
    old = adapter(tmp_path / "shipped/li_bai/v0", seed=1)
    rejected = adapter(home.adapters / "li_bai/v1", seed=2)
    new = adapter(home.adapters / "li_bai/v2", seed=3)
    await reconciler.once()
    await store.promote("li_bai", FINGERPRINT, new, actor="operator")
    for path in (home.adapters / "li_bai/v2").iterdir():
        path.unlink()
    (home.adapters / "li_bai/v2").rmdir()
    await reconciler.once()
    assert reconciler.champion("li_bai").digest == old
    assert name("li_bai", new) in reconciler.refused
    assert name("li_bai", rejected) not in fake.adapters


async def test_a_server_that_takes_no_adapters_serves_by_prompt_alone(world, tmp_path):
    fake, _, home, reconciler = world
    adapter(tmp_path / "shipped/li_bai/v0")
    fake.ours = False
    await reconciler.once()
    assert reconciler.champion("li_bai") is None
    assert not home.champions.exists()


async def test_an_engine_that_is_away_is_asked_again(world, tmp_path):
    fake, _, _, reconciler = world
    digest = adapter(tmp_path / "shipped/li_bai/v0")
    port = fake.port
    await fake.__aexit__()
    with pytest.raises(EngineUnavailable):
        await reconciler.once()
    async with FakeEngine(port=port) as again:
        async with asyncio.timeout(30):
            running = asyncio.ensure_future(reconciler.run())
            while name("li_bai", digest) not in again.adapters:
                await asyncio.sleep(0.01)
        running.cancel()
        await asyncio.wait({running})
