"""What an operator sees when everything is up."""

from __future__ import annotations

import pytest

from bot.banner import greet
from bot.reconcile import Reconciler
from bot.settings import load_settings
from data.home import Home
from data.sqlite import open_store
from engine.client import HttpEngine
from engine.errors import EngineError
from personas.loader import load_cast
from tests.fakes.adapter import adapter
from tests.fakes.engine import FakeEngine
from tests.fakes.troupe import ROOT


@pytest.fixture(name="greeted")
async def _greeted(tmp_path, capsys):
    home = Home(tmp_path / "home")
    home.prepare()
    adapter(tmp_path / "shipped/li_bai/v0")
    cast = load_cast([ROOT / "personas"])

    async def greeted(**environment):
        async with FakeEngine(reply="Well met.") as fake, open_store(home.store) as store:
            engine = HttpEngine(fake.url)
            reconciler = Reconciler(store, engine, home, shipped=tmp_path / "shipped")
            await reconciler.once()
            fake.die_after = int(environment.pop("die_after", 0)) or None
            settings = load_settings(environment)
            try:
                await greet(cast, engine, reconciler, page="http://127.0.0.1:8080", settings=settings)
            finally:
                await engine.close()
            return capsys.readouterr().out, fake, cast

    return greeted


async def test_every_persona_answers_a_real_question_with_seconds_and_adapter(greeted):
    out, fake, cast = await greeted()
    assert len(fake.requests) == len(cast.personas)
    assert out.count("Well met.") == len(cast.personas)
    (name,) = fake.adapters
    assert f"s, adapter {name}" in out
    assert "s, adapter none (prompt only)" in out
    for persona, request in zip(cast.personas.values(), fake.requests, strict=True):
        asked = request["messages"][-1]["content"]
        opener = next(one[0] for one in persona.openers.values() if asked.endswith(one[0]))
        assert opener in out


async def test_the_lines_to_copy_name_page_terminal_engine_and_tokens(greeted):
    out, fake, _ = await greeted(TELEGRAM_TOKEN="12345:secret")
    for words in (
        "http://127.0.0.1:8080",
        ".venv/bin/troupe chat li_bai",
        f"curl {fake.url}/v1/chat/completions",
        "DISCORD_TOKEN_FILE",
    ):
        assert words in out
    assert "12345:secret" not in out
    assert "set TELEGRAM_TOKEN" not in out


async def test_an_engine_that_dies_meanwhile_is_its_error(greeted):
    with pytest.raises(EngineError):
        await greeted(die_after="1")
