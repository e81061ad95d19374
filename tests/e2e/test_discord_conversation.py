"""The real discord.py, core and store, a stand-in engine: from a message to a stored vote."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from bot.platforms.discord_ import Discord
from bot.sentences import MENU
from tests.fakes.discord import APPLICATION, CHANNEL, MODERATORS, TOKEN, FakeDiscord, buttons_of
from tests.fakes.engine import FakeEngine
from tests.fakes.judged import judged, measures, verdict
from tests.fakes.troupe import troupe
from tests.waiting import until

HEY = f"<@{APPLICATION}>"


@contextlib.asynccontextmanager
async def bot(home, fake, engine, **more):
    async with troupe(home, engine.url, **more) as parts:
        platform = Discord(TOKEN, parts.core, menu=MENU)
        running = asyncio.create_task(platform.run())
        await until(lambda: fake.connected)
        try:
            yield parts
        finally:
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running
            for _ in range(10):
                await asyncio.sleep(0)


@pytest.fixture(name="world")
async def _world(monkeypatch):
    async with FakeDiscord() as fake, FakeEngine(delay_s=0.01) as engine:
        fake.redirect(monkeypatch)
        yield fake, engine


def rated(fake):
    """(message id, up) of the last message with vote buttons."""
    for message in reversed(fake.bot_messages()):
        data = buttons_of(message)
        if data:
            return message["id"], data[0]
    return None


async def test_a_mention_is_answered_streamed_and_rated_after_a_restart(world, tmp_path):
    fake, engine = world
    engine.delay_s, engine.reply = 0.05, "Word by word it grows. " * 12
    async with bot(tmp_path, fake, engine):
        await fake.say(f"{HEY} who are you")
        number, up = await until(lambda: rated(fake))
        assert len(fake.history[number]) > 1, "shown while it grew"
        assert fake.history[number][-1] == engine.reply.strip()
    async with bot(tmp_path, fake, engine) as parts:
        await fake.press(number, up, locale="zh-TW")
        whisper = (await until(lambda: fake.whispers))[0]
        assert "只問一次" in whisper["content"]
        assert buttons_of(whisper) == ["consent:yes", "consent:no", "consent:vote"]
        await fake.press(whisper["id"], "consent:vote", locale="zh-TW")
        await until(lambda: len(fake.whispers) == 2)
        (vote,) = [v for v in await parts.store.votes(up.split(":")[1]) if v.closed_at is None]
        assert (vote.value, vote.consent) == (1, "vote")


async def test_a_thumb_of_who_has_the_moderators_role_settles(world, tmp_path):
    fake, engine = world
    async with bot(tmp_path, fake, engine, moderators=(f"discord-role:{MODERATORS}",)) as parts:
        await fake.say(f"{HEY} who are you")
        number, up = await until(lambda: rated(fake))
        await fake.press(number, up, user=8, is_moderator=True)
        await fake.press(number, up, user=9)
        await until(lambda: len(fake.whispers) == 2)
        assert sorted(one.role for one in await parts.store.thumbs()) == ["moderator", "user"]


async def test_a_long_reply_is_split_without_loss_and_nobody_is_pinged(world, tmp_path):
    fake, engine = world
    engine.reply = "@everyone " + "A sentence that goes on. " * 150
    async with bot(tmp_path, fake, engine):
        await fake.say(f"{HEY} tell me everything")
        await until(lambda: rated(fake))
        assert len(fake.texts()) == 2
        assert all(len(text) <= 2000 for text in fake.texts())
        assert "".join(fake.texts()).replace(" ", "") == engine.reply.replace(" ", "")
    assert fake.pings == []


async def test_a_rate_limit_costs_time_and_not_the_reply(world, tmp_path):
    fake, engine = world
    async with bot(tmp_path, fake, engine):
        fake.limit_next.append(("POST channels/300000000000000001/messages", 0.3))
        await fake.say(f"{HEY} hello")
        await until(lambda: rated(fake))
    assert len(fake.texts()) == 1


async def test_a_message_redelivered_after_a_resume_is_answered_once(world, tmp_path):
    fake, engine = world
    async with bot(tmp_path, fake, engine):
        message = await fake.say(f"{HEY} hello")
        await until(lambda: rated(fake))
        await fake.drop()
        await until(lambda: fake.resumes == 1)
        await fake.dispatch("MESSAGE_CREATE", message)
        await fake.say(f"{HEY} again")
        await until(lambda: len(fake.texts()) == 2)
    assert len(engine.requests) == 2


async def test_slash_persona_changes_who_answers_in_the_channel(world, tmp_path):
    fake, engine = world
    async with bot(tmp_path, fake, engine) as parts:
        await fake.command("persona", "li_bai", locale="zh-CN")
        await until(lambda: fake.whispers)
        assert "李白" in fake.whispers[0]["content"]
        await fake.say(f"{HEY} 你好", user=9)
        _, up = await until(lambda: rated(fake))
        assert (await parts.store.reply(up.split(":")[1])).persona == "li_bai"


async def test_bots_are_not_answered(world, tmp_path):
    fake, engine = world
    async with bot(tmp_path, fake, engine):
        await fake.say(f"{HEY} hello", bot=True, user=66)
        await fake.say(f"{HEY} hello")
        await until(lambda: rated(fake))
    assert len(engine.requests) == 1


async def test_a_moderator_reviews_rewrites_and_compares_across_a_restart(world, tmp_path):
    fake, engine = world
    mod = {"user": 8, "is_moderator": True}
    roles = {"moderators": (f"discord-role:{MODERATORS}",)}
    async with bot(tmp_path, fake, engine, **roles):
        for text in ("who are you", "and your sister"):
            before = rated(fake)
            await fake.say(f"{HEY} {text}")
            await until(lambda: rated(fake) not in {before, None})  # noqa: B023 - waited for at once
        await fake.command("review", user=9)
        whisper = await whispered(fake, 1)
        assert "Only moderators" in whisper["content"]
        assert buttons_of(whisper) == []
        await fake.command("review", **mod)
        card = await whispered(fake, 2)
        assert "and your sister" in card["content"]
        assert card["flags"] & 64, "only the moderator sees it"
    async with bot(tmp_path, fake, engine, **roles) as parts:
        reply_id = buttons_of(card)[0].split(":")[1]
        original = (await parts.store.reply(reply_id)).text
        await fake.press(card["id"], f"review:{reply_id}:rewrite", **mod)
        form = (await until(lambda: fake.forms))[0]
        assert form["components"][0]["component"]["value"] == original
    async with bot(tmp_path, fake, engine, **roles) as parts:
        await fake.submit(form, "I have no sister.", **mod)
        card = await whispered(fake, 3)
        (vote,) = await parts.store.votes(reply_id)
        assert (vote.kind, vote.text, vote.role) == ("rewrite", "I have no sister.", "moderator")
        other_id = buttons_of(card)[0].split(":")[1]
        assert other_id != reply_id
        engine.reply = "Somebody else."
        await fake.press(card["id"], f"review:{other_id}:again", **mod)
        pair = await whispered(fake, 4)
        assert "Somebody else." in pair["content"]
        better = next(data for data in buttons_of(pair) if ":other:" in data)
        await fake.press(pair["id"], better, **mod)
        assert "Nothing is waiting" in (await whispered(fake, 5))["content"]
        (vote,) = await parts.store.votes(better.split(":")[3])
        assert (vote.kind, vote.value, vote.other_reply_id) == ("pair", 1, other_id)
    assert not any("Somebody else." in text for text in fake.texts()), "the channel never saw it"


async def test_a_moderator_decides_about_a_new_version_across_a_restart(world, tmp_path):
    fake, engine = world
    roles = {"moderators": (f"discord-role:{MODERATORS}",), "moderators_channel": f"discord:{CHANNEL}"}
    async with bot(tmp_path, fake, engine, **roles) as parts:
        run = await judged(parts.store, tmp_path / "adapters")
        await parts.core.gate_post.judged(run, verdict(), measures(words=20))
        posted = fake.bot_messages()
        assert [bool(buttons_of(message)) for message in posted] == [False] * (len(posted) - 1) + [True]
    async with bot(tmp_path, fake, engine, **roles) as parts:
        await parts.core.gate_post.catch_up()
        assert len(fake.bot_messages()) == len(posted)
        await fake.press(posted[-1]["id"], "gate:run:approve", user=9)
        assert "Only moderators" in (await whispered(fake, 1))["content"]
        await fake.press(posted[-1]["id"], "gate:run:approve", user=8, is_moderator=True)
        assert "It is approved" in (await whispered(fake, 2))["content"]
        assert "A = before, B = after: " in fake.texts()[-1]
        await fake.press(posted[-1]["id"], "gate:run:veto", user=8, is_moderator=True)
        assert "A moderator vetoed it." in (await whispered(fake, 3))["content"]
        assert (await parts.store.ledger.run("run")).state == "rejected"
    assert buttons_of(fake.bot_messages()[-1]) == [], "nothing is left to press"
    assert fake.pings == []


async def whispered(fake, count):
    await until(lambda: len(fake.whispers) >= count)
    return fake.whispers[count - 1]
