"""kill -9 of the real engine in mid-reply: no acknowledged message is lost."""

from __future__ import annotations

import json
import os
import signal
import sqlite3

import pytest

from tests.fakes.discord import APPLICATION, FakeDiscord, buttons_of
from tests.fakes.discord import TOKEN as DISCORD_TOKEN
from tests.fakes.process import troupe_process
from tests.waiting import until

pytestmark = pytest.mark.slow

ENGINE_KILLS = 4


def rows(home, statement):
    with sqlite3.connect(f"file:{home / 'store.db'}?mode=ro", uri=True) as connection:
        return connection.execute(statement).fetchall()


async def test_a_real_engine_killed_four_times_in_mid_reply_costs_no_message(tmp_path):
    from tests.fakes.tiny import make_base

    home = tmp_path / "home"
    async with FakeDiscord() as fake:
        environment = {
            "TROUPE_BASE": str(make_base(tmp_path / "tiny")),
            "TROUPE_THREADS": "1",
            "DISCORD_TOKEN": DISCORD_TOKEN,
            "FAKE_DISCORD": fake.url,
        }
        async with troupe_process(home, environment=environment) as running:
            await until(lambda: running.said("bot.up") and fake.connected, seconds=60)
            for turn in range(ENGINE_KILLS):
                before = len(fake.calls)
                await fake.say(f"<@{APPLICATION}> question {turn}")
                await until(lambda b=before: len(fake.calls) > b, seconds=30)
                os.kill(json.loads((home / "engine.json").read_text())["pid"], signal.SIGKILL)
                await until(
                    lambda t=turn: len(rows(home, "SELECT 1 FROM inbox WHERE state = 'done'")) == t + 1,
                    seconds=90,
                )
            assert await running.end() == 0
        replies = [message for message in fake.bot_messages() if buttons_of(message)]
    assert len(replies) <= ENGINE_KILLS
    assert len(rows(home, "SELECT 1 FROM inbox WHERE state = 'done'")) == ENGINE_KILLS
