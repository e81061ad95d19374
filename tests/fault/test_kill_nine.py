"""kill -9 of `troupe run` or of an engine in mid-reply: no message or vote is lost, no reply comes twice."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import socket
import sqlite3
import sys
from pathlib import Path

import pytest

from tests.fakes.discord import APPLICATION, FakeDiscord, buttons_of
from tests.fakes.discord import TOKEN as DISCORD_TOKEN
from tests.fakes.engine import FakeEngine
from tests.fakes.process import troupe_process
from tests.fakes.telegram import TOKEN as TELEGRAM_TOKEN
from tests.fakes.telegram import FakeTelegram
from tests.waiting import until

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
TELEGRAM_KILLS, DISCORD_KILLS, STAND_IN_KILLS, ENGINE_KILLS = 6, 5, 4, 4
# Two seconds of talking: longer than any platform's interval, so that a kill finds it half shown.
REPLY = " ".join(f"word{number}" for number in range(100))
DELAY_S = 0.02
# On a loaded machine: a deadline only says that something hangs.
PATIENCE_S = 60.0
GENERATING = "SELECT 1 FROM reply WHERE state = 'generating'"


def rows(home, statement):
    with contextlib.closing(sqlite3.connect(f"file:{home / 'store.db'}?mode=ro", uri=True)) as connection:
        return connection.execute(statement).fetchall()


def are_done(home, count):
    """Whether so many messages were stored and all of them were answered."""
    return rows(home, "SELECT state FROM inbox WHERE kind = 'message'") == [("done",)] * count


def halves(texts):
    """The texts in which a reply was shown unfinished."""
    return [text for text in spoken(texts) if text != REPLY]


def spoken(texts):
    """Replies, without what is said about a loaded machine's slow engine."""
    return [text for text in texts if text.startswith("word0")]


def telegram_texts(fake, chat):
    """Every text that a chat's messages went through."""
    return [text for (where, _), texts in fake.history.items() if where == chat for text in texts]


def discord_texts(calls):
    return [body["content"] for _, path, body in calls if "/messages" in path]


def rated(fake, chat):
    """The message under which a chat has thumbs, and what the first of them says."""
    found = [(m["message_id"], fake.buttons(chat, m["message_id"])) for m in fake.bot_messages(chat)]
    return next(((number, buttons[0]) for number, buttons in found if buttons), None)


async def test_telegram_messages_and_votes_survive_kills_that_come_too_fast_to_answer_anything(tmp_path):
    """Each life is shorter than a reply: three of them once used up a message's three attempts."""
    home, draw = tmp_path / "home", random.Random(7)
    async with FakeTelegram() as fake, FakeEngine(delay_s=DELAY_S, reply=REPLY) as engine:
        environment = {
            "TROUPE_ENGINE_URLS": engine.url,
            "TELEGRAM_TOKEN": TELEGRAM_TOKEN,
            "TROUPE_TELEGRAM_API_URL": fake.url,
        }
        chats = range(1, TELEGRAM_KILLS + 1)
        for chat in chats:
            async with troupe_process(home, environment=environment) as running:
                await until(lambda: running.said("telegram.listening"), seconds=PATIENCE_S)
                fake.say(f"question {chat}", chat=chat, user=chat)
                wanted = draw.choice((1, 2))
                await until(
                    lambda c=chat, w=wanted: len(halves(telegram_texts(fake, c))) >= w, seconds=PATIENCE_S
                )
                await running.kill()
        engine.delay_s = 0.0
        async with troupe_process(home, environment=environment) as running:
            await until(lambda: are_done(home, TELEGRAM_KILLS), seconds=PATIENCE_S)
            thumbs = {chat: found for chat in chats if (found := rated(fake, chat))}
            presses = {fake.press(chat, *thumb, user=chat) for chat, thumb in thumbs.items()}
            await until(
                lambda: presses <= {answer["callback_query_id"] for answer in fake.answers},
                seconds=PATIENCE_S,
            )
            await running.kill()
    replies = {chat: spoken(fake.texts(chat)) for chat in chats}
    assert all(len(texts) == 1 for texts in replies.values()), "one reply for one question"
    unknown = rows(home, "SELECT chat FROM outbox WHERE state = 'unknown' AND slot = 'reply'")
    assert {int(chat) for (chat,) in unknown} == set(chats) - set(thumbs)
    assert all(replies[chat] == [REPLY] for chat in thumbs)
    assert len(rows(home, "SELECT 1 FROM vote WHERE closed_at IS NULL")) == len(thumbs) > 0


async def test_discord_replies_come_once_and_whole_through_kills_in_mid_reply(tmp_path):
    home, draw = tmp_path / "home", random.Random(8)
    async with FakeDiscord() as fake, FakeEngine(delay_s=DELAY_S, reply=REPLY) as engine:
        environment = {
            "TROUPE_ENGINE_URLS": engine.url,
            "DISCORD_TOKEN": DISCORD_TOKEN,
            "FAKE_DISCORD": fake.url,
        }
        for kill in range(DISCORD_KILLS):
            async with troupe_process(home, environment=environment) as running:
                await until(lambda: fake.connected, seconds=PATIENCE_S)
                before = len(fake.calls)
                await fake.say(f"<@{APPLICATION}> question {kill}")
                wanted = draw.choice((1, 2))
                await until(
                    lambda b=before, w=wanted: len(halves(discord_texts(fake.calls[b:]))) >= w,
                    seconds=PATIENCE_S,
                )
                await until(
                    lambda k=kill: len(rows(home, "SELECT 1 FROM inbox")) == k + 1, seconds=PATIENCE_S
                )
                await running.kill()
            await until(lambda: not fake.connected, seconds=PATIENCE_S)
        engine.delay_s = 0.0
        async with troupe_process(home, environment=environment) as running:
            await until(lambda: are_done(home, DISCORD_KILLS), seconds=PATIENCE_S)
            assert await running.end(seconds=PATIENCE_S) == 0
    assert spoken(fake.texts()) == [REPLY] * DISCORD_KILLS
    assert len([message for message in fake.bot_messages() if buttons_of(message)]) == DISCORD_KILLS


@contextlib.asynccontextmanager
async def stand_in(port):
    """The torch-free engine as a process that answers."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.fakes.engine", "--port", str(port),
        "--delay", str(DELAY_S), "--reply", REPLY,
        cwd=ROOT, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        async with asyncio.timeout(20):
            await process.stdout.readline()
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def test_an_engine_killed_in_mid_reply_is_waited_for_and_the_reply_comes_whole_and_once(tmp_path):
    home = tmp_path / "home"
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    async with FakeTelegram() as fake:
        environment = {
            "TROUPE_ENGINE_URLS": f"http://127.0.0.1:{port}",
            "TELEGRAM_TOKEN": TELEGRAM_TOKEN,
            "TROUPE_TELEGRAM_API_URL": fake.url,
        }
        async with troupe_process(home, environment=environment) as running:
            await until(lambda: running.said("telegram.listening"), seconds=PATIENCE_S)
            for chat in range(1, STAND_IN_KILLS + 1):
                async with stand_in(port) as engine:
                    fake.say(f"question {chat}", chat=chat, user=chat)
                    await until(lambda c=chat: halves(telegram_texts(fake, c)), seconds=PATIENCE_S)
                    engine.kill()
                    await until(lambda c=chat: len(fake.texts(c)) == 2, seconds=PATIENCE_S)
                async with stand_in(port):
                    await until(lambda c=chat: are_done(home, c), seconds=PATIENCE_S)
            assert await running.end(seconds=PATIENCE_S) == 0
    for chat in range(1, STAND_IN_KILLS + 1):
        assert spoken(fake.texts(chat)) == [REPLY]
        assert any("resting" in text for text in fake.texts(chat))


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
            await until(lambda: running.said("bot.up") and fake.connected, seconds=PATIENCE_S)
            for turn in range(1, ENGINE_KILLS + 1):
                await fake.say(f"<@{APPLICATION}> question {turn}")
                await until(lambda: rows(home, GENERATING), seconds=PATIENCE_S)
                os.kill(json.loads((home / "engine.json").read_text())["pid"], signal.SIGKILL)
                assert rows(home, GENERATING), "the kill came in mid-reply"
                await until(lambda t=turn: are_done(home, t), seconds=PATIENCE_S)
            assert await running.end(seconds=PATIENCE_S) == 0
        replies = [buttons_of(message)[0] for message in fake.bot_messages() if buttons_of(message)]
    # A random model may find no words; it never answers one question twice.
    assert len(set(replies)) == len(replies) <= ENGINE_KILLS
