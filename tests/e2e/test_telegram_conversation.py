"""The real python-telegram-bot, core and store, a stand-in engine: from a message to a stored vote."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from bot.platforms.telegram_ import Telegram
from bot.sentences import MENU
from tests.fakes.engine import FakeEngine
from tests.fakes.telegram import TOKEN, FakeTelegram
from tests.fakes.troupe import troupe
from tests.waiting import until


@contextlib.asynccontextmanager
async def bot(home, fake, engine, **more):
    async with troupe(home, engine.url, **more) as parts:
        platform = Telegram(TOKEN, parts.core, menu=MENU, api_url=fake.url)
        polls = len(fake.calls)
        running = asyncio.create_task(platform.run())
        await until(lambda: any(method == "getupdates" for method, _ in fake.calls[polls:]))
        try:
            yield parts
        finally:
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running
            for _ in range(10):
                await asyncio.sleep(0)


@pytest.fixture(name="world")
async def _world():
    async with FakeTelegram() as fake, FakeEngine(delay_s=0.01) as engine:
        yield fake, engine


def thumbs(fake, chat=7):
    """(message id, up) of the last message with vote buttons."""
    for message in reversed(fake.bot_messages(chat)):
        data = fake.buttons(chat, message["message_id"])
        if data and data[0].startswith("vote:"):
            return message["message_id"], data[0]
    return None


async def test_a_message_is_answered_streamed_and_stored(world, tmp_path):
    fake, engine = world
    engine.reply = "One moment. " * 30
    async with bot(tmp_path, fake, engine) as parts:
        fake.say("who are you", language="en")
        number, up = await until(lambda: thumbs(fake))
        history = fake.history[7, number]
        assert len(history) > 1, "shown while it grew"
        assert history[-1] == engine.reply.strip()
        assert all(history[-1].startswith(text) for text in history)
        reply = await parts.store.reply(up.split(":")[1])
        assert (reply.persona, reply.state, reply.text) == ("harry_potter", "complete", engine.reply.strip())


async def test_a_thumb_works_after_a_restart_and_asks_for_consent_once(world, tmp_path):
    fake, engine = world
    async with bot(tmp_path, fake, engine):
        fake.say("你好", language="zh-hans")
        number, up = await until(lambda: thumbs(fake))
    async with bot(tmp_path, fake, engine) as parts:
        fake.press(7, number, up, language="zh-hans")
        question = await until(
            lambda: next(
                (m for m in fake.bot_messages(7) if "训练" in m["text"] or "帮助" in m["text"]), None
            )
        )
        answers = fake.buttons(7, question["message_id"])
        assert answers == ["consent:yes", "consent:no", "consent:vote"]
        fake.press(7, question["message_id"], "consent:yes", language="zh-hans")
        await until(lambda: len(fake.answers) == 2)
        (vote,) = [v for v in await parts.store.votes(up.split(":")[1]) if v.closed_at is None]
        assert (vote.value, vote.consent) == (1, "yes")
        fake.press(7, number, up.replace(":u", ":d"), language="zh-hans")
        await until(lambda: len(fake.answers) == 3)
        (vote,) = [v for v in await parts.store.votes(up.split(":")[1]) if v.closed_at is None]
        assert (vote.value, vote.consent) == (-1, "yes")


async def test_a_duplicated_message_is_answered_once(world, tmp_path):
    fake, engine = world
    async with bot(tmp_path, fake, engine):
        message = fake.say("once please")
        fake.push_again({"message": message})
        fake.push_again({"message": message})
        await until(lambda: thumbs(fake))
        fake.say("and another", user=7)
        await until(lambda: len([t for t in fake.texts(7) if t]) == 2)
        await asyncio.sleep(0)
    assert len(engine.requests) == 2


async def test_an_edited_message_is_not_answered_again(world, tmp_path):
    fake, engine = world
    async with bot(tmp_path, fake, engine):
        message = fake.say("first")
        await until(lambda: thumbs(fake))
        fake.push({"edited_message": {**message, "text": "changed", "edit_date": message["date"] + 1}})
        fake.say("second")
        await until(lambda: len(fake.texts(7)) == 2)
    assert len(engine.requests) == 2


async def test_commands_choose_the_persona_for_later_messages(world, tmp_path):
    fake, engine = world
    async with bot(tmp_path, fake, engine) as parts:
        fake.say("/persona 李白", language="zh-hans")
        await until(lambda: any("李白" in text for text in fake.texts(7)))
        fake.say("你是谁", language="zh-hans")
        _, up = await until(lambda: thumbs(fake))
        assert (await parts.store.reply(up.split(":")[1])).persona == "li_bai"


async def test_an_empty_and_an_endless_message_get_one_sentence_each(world, tmp_path):
    fake, engine = world
    async with bot(tmp_path, fake, engine):
        fake.push({"message": {**fake.say("x"), "message_id": 999, "text": "   "}})
        await until(lambda: any("empty message" in text for text in fake.texts(7)))
        fake.push({"message": {**fake.say("y"), "message_id": 1000, "text": "z" * 100_000}})
        await until(lambda: any("too long" in text for text in fake.texts(7)))


async def test_a_dead_engine_is_spoken_of_within_two_seconds_and_the_turn_goes_on_when_it_is_back(
    world, tmp_path
):
    fake, engine = world
    now = asyncio.get_running_loop().time
    async with bot(tmp_path, fake, engine):
        began = now()
        fake.say("an ordinary question", chat=8, user=8, language="en")
        await until(lambda: fake.texts(8))
        # What this machine, however loaded it is, takes for the first words of anything.
        ordinary_s = now() - began
        await until(lambda: thumbs(fake, 8))
        engine.die_after = 2
        began = now()
        fake.say("hello there my friend", language="en")
        await until(lambda: any("resting" in text for text in fake.texts(7)))
        assert now() - began - ordinary_s < 2
        number, _ = await until(lambda: thumbs(fake))
        final = fake.messages[7, number]["text"]
    assert sum(text == final for text in fake.texts(7)) == 1


async def test_in_a_group_only_who_names_the_bot_is_answered(world, tmp_path):
    fake, engine = world
    async with bot(tmp_path, fake, engine):
        fake.say("chatter", chat=-5)
        fake.say("@troupe_bot hello", chat=-5)
        await until(lambda: thumbs(fake, -5))
    assert len(engine.requests) == 1


async def test_a_moderator_reviews_in_private_what_a_group_was_told(world, tmp_path):
    fake, engine = world
    roles = {"moderators": ("telegram:8",)}
    async with bot(tmp_path, fake, engine, **roles) as parts:
        fake.say("a secret of mine", user=7)
        await until(lambda: thumbs(fake, 7))
        fake.say("@troupe_bot who are you", chat=-5)
        await until(lambda: thumbs(fake, -5))
        reply_id = thumbs(fake, -5)[1].split(":")[1]
        fake.say("/review", chat=-5, user=8)
        await until(lambda: any("private chat" in text for text in fake.texts(-5)))
        fake.say("/review", chat=7, user=7)
        await until(lambda: any("Only moderators" in text for text in fake.texts(7)))
        fake.say("/review", chat=8, user=8)
        card = await said(fake, 1)
        assert "who are you" in card["text"]
        assert "waiting: 1" in card["text"]
        fake.press(8, card["message_id"], f"review:{reply_id}:rewrite", user=8)
        question = await said(fake, 2)
    async with bot(tmp_path, fake, engine, **roles) as parts:
        fake.say("I am Harry.", chat=8, user=8, reply_to=question["message_id"])
        end = await said(fake, 3)
        assert "Nothing is waiting" in end["text"]
        assert fake.buttons(8, end["message_id"]) == ["consent:yes", "consent:no", "consent:vote"]
        (vote,) = await parts.store.votes(reply_id)
        assert (vote.kind, vote.text, vote.role) == ("rewrite", "I am Harry.", "moderator")
    assert not any("secret" in text for text in fake.texts(8))
    assert len(engine.requests) == 2, "what was written is nothing to be answered"


async def said(fake, count, chat=8):
    """The bot's message of that number in a chat."""
    return await until(lambda: next(iter(fake.bot_messages(chat)[count - 1 :]), None))
