"""A bot killed in mid-reply finishes what it began, says nothing twice and forgets no thumb."""

from __future__ import annotations

import asyncio
import contextlib
import random
import sqlite3
import sys
from pathlib import Path

import pytest

from data.home import Home
from data.sqlite import open_store
from tests.fakes.engine import FakeEngine
from tests.fakes.telegram import FakeTelegram
from tests.waiting import until

ROOT = Path(__file__).resolve().parents[2]
KILLS = 12
# On a loaded machine: a deadline only says that something hangs.
PATIENCE_S = 60.0
WORDS = " ".join(f"word{number}" for number in range(30))


@contextlib.asynccontextmanager
async def life(home, fake, engine):
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(ROOT / "tests/fault/bot_driver.py"), str(home), fake.url, engine.url,
        cwd=ROOT, env={"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def thumbs(fake, chat):
    found = [message["message_id"] for message in fake.bot_messages(chat)]
    return next((number for number in found if fake.buttons(chat, number)), None)


def answers(fake):
    return {answer["callback_query_id"] for answer in fake.answers}


@pytest.mark.slow
async def test_twelve_kills_in_mid_reply_lose_nothing_and_double_nothing(tmp_path):
    draw = random.Random(11)
    voted = {}
    async with FakeTelegram() as fake, FakeEngine(reply=WORDS) as engine:
        for chat in range(1, KILLS + 1):
            engine.delay_s = 0.0
            async with life(tmp_path, fake, engine):
                if chat > 1:
                    await finished(fake, chat - 1, tmp_path)
                    number = thumbs(fake, chat - 1)
                    if number:
                        data = fake.buttons(chat - 1, number)[0]
                        press = fake.press(chat - 1, number, data, user=chat - 1)
                        await until(lambda press=press: press in answers(fake), seconds=PATIENCE_S)
                        voted[data.split(":")[1]] = 1
                engine.delay_s = 0.03
                fake.say(f"question {chat}", chat=chat, user=chat)
                await until(lambda chat=chat: sent_to(fake, chat), seconds=PATIENCE_S)
                # The moment of the kill is what is drawn here; nothing waits for it.
                await asyncio.sleep(draw.uniform(0.0, 0.8))
        engine.delay_s = 0.0
        async with life(tmp_path, fake, engine):
            await finished(fake, KILLS, tmp_path)
            await settled(tmp_path)
        await check(tmp_path, fake, voted)


def sent_to(fake, chat):
    """The texts of every send to a chat, edits not counted."""
    return [
        sent["text"]
        for name, sent in fake.calls
        if name.lower() == "sendmessage" and str(sent["chat_id"]) == str(chat)
    ]


async def finished(fake, chat, home):
    """The reply is whole, or its first part is one that nobody knows about and that is never sent again."""

    def ended():
        return thumbs(fake, chat) or WORDS in "".join(fake.texts(chat)) or unknown(home, chat)

    await until(ended, seconds=PATIENCE_S)


def rows(home, statement, *values):
    with contextlib.closing(sqlite3.connect(f"file:{home / 'store.db'}?mode=ro", uri=True)) as connection:
        return connection.execute(statement, values).fetchall()


def unknown(home, chat):
    return rows(home, "SELECT id FROM outbox WHERE state = 'unknown' AND chat = ?", str(chat))


async def settled(home):
    await until(
        lambda: not rows(home, "SELECT id FROM inbox WHERE state IN ('pending', 'handling')"),
        seconds=PATIENCE_S,
    )


async def check(home, fake, voted):
    for chat in range(1, KILLS + 1):
        texts = fake.texts(chat)
        assert len([text for text in texts if text.startswith("word0")]) <= 1, texts
        sends = sent_to(fake, chat)
        assert len(sends) == len(set(sends)), "no text is sent twice"
        if not unknown(home, chat):
            assert texts[0] == WORDS
    with Home(home).lock():
        async with open_store(Home(home).store) as store:
            assert set((await store.states())["inbox"]) == {"done"}
            for reply in voted:
                (vote,) = await store.votes(reply)
                assert vote.value == 1
    assert len(voted) >= KILLS // 2
