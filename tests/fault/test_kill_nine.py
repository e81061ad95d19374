"""kill -9 in mid-reply: no acknowledged message or vote is lost, and no reply is sent twice."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3

import pytest

from tests.fakes.discord import APPLICATION, FakeDiscord, buttons_of
from tests.fakes.discord import TOKEN as DISCORD_TOKEN
from tests.fakes.engine import FakeEngine
from tests.fakes.process import troupe_process
from tests.fakes.telegram import TOKEN as TELEGRAM_TOKEN
from tests.fakes.telegram import FakeTelegram
from tests.waiting import until

pytestmark = pytest.mark.slow

TELEGRAM_KILLS, DISCORD_KILLS, ENGINE_KILLS = 10, 6, 4
REPLY = "One word after another until it is whole. " * 8


def rows(home, statement):
    with sqlite3.connect(f"file:{home / 'store.db'}?mode=ro", uri=True) as connection:
        return connection.execute(statement).fetchall()


def settled(home):
    """Whether every stored message reached an end."""
    return not rows(home, "SELECT 1 FROM inbox WHERE state IN ('pending', 'handling')")


async def test_telegram_messages_and_votes_survive_ten_kills_and_no_reply_comes_twice(tmp_path):
    home, chance = tmp_path / "home", random.Random(7)
    async with FakeTelegram() as fake, FakeEngine(delay_s=0.02, reply=REPLY) as engine:
        environment = {
            "TROUPE_ENGINE_URLS": engine.url,
            "TELEGRAM_TOKEN": TELEGRAM_TOKEN,
            "TROUPE_TELEGRAM_API_URL": fake.url,
        }
        for turn in range(TELEGRAM_KILLS):
            async with troupe_process(home, environment=environment) as running:
                await until(lambda: running.said("telegram.listening"), seconds=30)
                fake.say(f"question {turn}", chat=100 + turn, user=100 + turn)
                wanted = chance.randrange(3)
                await until(lambda t=turn, w=wanted: len(_texts(fake, 100 + t)) >= w, seconds=20)
                await running.kill()
        async with troupe_process(home, environment=environment) as running:
            await until(lambda: running.said("telegram.listening"), seconds=30)
            await until(
                lambda: (
                    len(rows(home, "SELECT 1 FROM inbox WHERE kind = 'message'")) == TELEGRAM_KILLS
                    and settled(home)
                ),
                seconds=60,
            )
            last = await until(lambda: _rated(fake), seconds=20)
            fake.press(last[0], last[1], last[2], user=last[0])
            await until(lambda: rows(home, "SELECT 1 FROM vote"), seconds=20)
            await running.kill()
        assert len(rows(home, "SELECT 1 FROM vote WHERE closed_at IS NULL")) == 1
    for turn in range(TELEGRAM_KILLS):
        texts = fake.texts(100 + turn)
        assert len(texts) <= 1, f"chat {turn} got {len(texts)} messages for one question"


async def test_discord_replies_come_once_and_whole_through_six_kills(tmp_path):
    home, chance = tmp_path / "home", random.Random(8)
    async with FakeDiscord() as fake, FakeEngine(delay_s=0.02, reply=REPLY) as engine:
        environment = {
            "TROUPE_ENGINE_URLS": engine.url,
            "DISCORD_TOKEN": DISCORD_TOKEN,
            "FAKE_DISCORD": fake.url,
        }
        for turn in range(DISCORD_KILLS):
            async with troupe_process(home, environment=environment) as running:
                await until(lambda: fake.connected, seconds=30)
                before = len(fake.calls)
                await fake.say(f"<@{APPLICATION}> question {turn}")
                wanted = 1 + chance.randrange(3)
                await until(lambda b=before, w=wanted: len(fake.calls) >= b + w, seconds=20)
                await running.kill()
                await until(lambda: not fake.connected)
        async with troupe_process(home, environment=environment) as running:
            await until(lambda: fake.connected, seconds=30)
            await until(lambda: settled(home), seconds=60)
            assert await running.end() == 0
    asked = len(rows(home, "SELECT 1 FROM inbox WHERE kind = 'message'"))
    whole = [text for text in fake.texts() if text == REPLY.strip()]
    assert len(fake.texts()) == len(whole) == asked


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


def _texts(fake, chat):
    return [text for (c, _), history in fake.history.items() if c == chat for text in history]


def _rated(fake):
    for (chat, number), message in sorted(fake.messages.items(), reverse=True):
        if message["from"]["is_bot"]:
            data = fake.buttons(chat, number)
            if data and data[0].startswith("vote:"):
                return chat, number, data[0]
    return None
