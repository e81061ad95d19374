"""The real discord.py over loopback against the double: translation, buttons, refusals, reconnects."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from bot.errors import PlatformRefused
from bot.platform import Button, Command, Incoming, Place, PortError, Press, RetryLater, VoteOutcome
from bot.platforms.discord_ import Discord
from tests.fakes.core import RecordingCore
from tests.fakes.discord import APPLICATION, CHANNEL, DIRECT, GUILD, TOKEN, FakeDiscord, buttons_of
from tests.waiting import until

MENU = {
    "en": [("help", "what I can do"), ("persona", "who speaks here"), ("reset", "start anew")],
    "zh-CN": [("help", "我能做什么"), ("persona", "谁在这里说话"), ("reset", "重新开始")],
    "zh-TW": [("help", "我能做什麼"), ("persona", "誰在這裡說話"), ("reset", "重新開始")],
}
HERE = Place("discord", CHANNEL, "", GUILD)


@pytest.fixture(name="fake")
async def _fake(monkeypatch):
    async with FakeDiscord() as fake:
        fake.redirect(monkeypatch)
        yield fake


@contextlib.asynccontextmanager
async def running(fake, core, *, token=TOKEN):
    platform = Discord(token, core, menu=MENU)
    task = asyncio.create_task(platform.run())
    try:
        await until(lambda: (fake.connected and core.ports) or task.done())
        if task.done():
            task.result()
        yield platform
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, PlatformRefused):
            await task
        for _ in range(10):  # cut connections close on a later turn of the loop
            await asyncio.sleep(0)


async def test_a_mention_is_known_and_cut_out(fake):
    core = RecordingCore()
    async with running(fake, core):
        said = await fake.say(f"<@{APPLICATION}> 李白 你好")
        (event,) = await until(lambda: core.events)
    assert isinstance(event, Incoming)
    assert (event.text, event.mentions_bot, event.mentions_others) == ("李白 你好", True, False)
    assert (event.place, event.message_id, event.is_direct) == (HERE, said["id"], False)


async def test_a_direct_message_has_no_guild(fake):
    core = RecordingCore()
    async with running(fake, core):
        await fake.say("hi", channel=DIRECT)
        (event,) = await until(lambda: core.events)
    assert (event.is_direct, event.place.guild) == (True, "")


async def test_somebody_else_named_and_everyone_are_no_mention(fake):
    core = RecordingCore()
    async with running(fake, core):
        await fake.say("<@400000000000000009> look")
        await fake.say("@everyone hello")
        await until(lambda: len(core.events) == 2)
    other, everyone = core.events
    assert (other.mentions_bot, other.mentions_others) == (False, True)
    assert (everyone.mentions_bot, everyone.mentions_others) == (False, False)


async def test_a_reply_to_the_bot_is_known_and_another_bot_is_marked(fake):
    core = RecordingCore()
    async with running(fake, core) as platform:
        number = await platform.send(HERE, "I said", nonce="n1")
        await fake.say("really?", reply_to=number)
        await fake.say("beep", bot=True, user=66)
        await until(lambda: len(core.events) == 2)
    assert core.events[0].replies_to_bot
    assert core.events[1].is_bot


async def test_the_same_nonce_makes_one_message(fake):
    async with running(fake, RecordingCore()) as platform:
        first = await platform.send(HERE, "once", nonce="abc")
        again = await platform.send(HERE, "once", nonce="abc")
    assert first == again
    assert fake.texts() == ["once"]


async def test_nothing_that_a_model_writes_pings(fake):
    async with running(fake, RecordingCore()) as platform:
        number = await platform.send(HERE, "@everyone <@400000000000000007> come", nonce="n")
        await platform.edit(HERE, number, "@here too")
    assert fake.texts() == ["@here too"]
    assert fake.pings == []


async def test_a_button_works_after_a_restart_and_the_answer_is_private(fake):
    core = RecordingCore()
    async with running(fake, core) as platform:
        number = await platform.send(
            HERE, "hi", nonce="n", buttons=[Button("👍", "vote:r1:u"), Button("👎", "vote:r1:d")]
        )
    assert buttons_of(fake.messages[number]) == ["vote:r1:u", "vote:r1:d"]
    core.outcome = VoteOutcome("May it?", (Button("Yes", "consent:yes"), Button("No", "consent:no")))
    async with running(fake, core):
        await fake.press(number, "vote:r1:u", locale="zh-TW")
        whisper = (await until(lambda: fake.whispers))[0]
        (press,) = core.events
        assert isinstance(press, Press)
        assert (press.data, press.lang_hint, press.place) == ("vote:r1:u", "zh-TW", HERE)
        assert whisper["content"] == "May it?"
        assert whisper["flags"] & 64, "only the person sees it"
        await fake.press(whisper["id"], "consent:yes")
        await until(lambda: len(core.events) == 2)
    assert core.events[1].data == "consent:yes"


async def test_the_question_whether_to_forget_is_private_and_its_button_is_known(fake):
    core = RecordingCore()
    data = f"forget:everything:{'0f' * 8}"
    core.outcome = VoteOutcome("Shall I?", (Button("Forget everything", data),))
    async with running(fake, core):
        await fake.command("reset")
        whisper = (await until(lambda: fake.whispers))[0]
        assert whisper["flags"] & 64, "only the person sees it"
        await fake.press(whisper["id"], data)
        await until(lambda: len(core.events) == 2)
    assert core.events[1].data == data


async def test_a_command_is_carried_out_and_answered_privately(fake):
    core = RecordingCore()
    core.outcome = VoteOutcome("李白 speaks here now.")
    async with running(fake, core):
        await fake.command("persona", "li_bai")
        await until(lambda: fake.whispers)
        await fake.command("help")
        await until(lambda: len(fake.whispers) == 2)
    first, second = core.events
    assert isinstance(first, Command)
    assert (first.name, first.argument, second.name) == ("persona", "li_bai", "help")
    assert fake.whispers[0]["content"] == "李白 speaks here now."


async def test_commands_are_synced_once_and_localised(fake):
    core = RecordingCore()
    async with running(fake, core):
        pass
    async with running(fake, core):
        pass
    assert fake.syncs == 1
    words = {command["name"]: command["description_localizations"] for command in fake.commands}
    assert words["persona"] == {"zh-CN": "谁在这里说话", "zh-TW": "誰在這裡說話"}


async def test_a_broken_connection_is_resumed_and_nothing_is_missed(fake):
    core = RecordingCore()
    async with running(fake, core):
        await fake.drop()
        await until(lambda: not fake.connected)
        await fake.say("said while away")
        await until(lambda: core.events)
    assert (fake.identifies, fake.resumes) == (1, 1)


async def test_the_service_asking_to_reconnect_is_followed(fake):
    core = RecordingCore()
    async with running(fake, core):
        await fake.reconnect()
        await until(lambda: fake.resumes == 1)
        await fake.say("after")
        await until(lambda: core.events)


async def test_a_garbled_payload_ends_the_client_with_an_error_for_the_supervisor(fake):
    core = RecordingCore()
    platform = Discord(TOKEN, core, menu=MENU)
    task = asyncio.create_task(platform.run())
    await until(lambda: fake.connected)
    await fake.garbage()
    with pytest.raises(ValueError):  # noqa: PT011 - the library's own error, whatever its text
        async with asyncio.timeout(30):
            await task


async def test_an_edited_message_is_not_a_new_one(fake):
    core = RecordingCore()
    async with running(fake, core):
        message = await fake.say("first")
        await until(lambda: core.events)
        await fake.edited(message, "second")
        await fake.say("third")
        await until(lambda: len(core.events) == 2)
    assert [event.text for event in core.events] == ["first", "third"]


async def test_a_short_rate_limit_is_waited_out_and_a_long_one_passed_on(fake):
    async with running(fake, RecordingCore()) as platform:
        fake.limit_next.append(("POST channels", 0.05))
        await platform.send(HERE, "late", nonce="a")
        assert fake.texts() == ["late"]
        fake.limit_next.append(("POST channels", 45.0))
        with pytest.raises(RetryLater) as caught:
            await platform.send(HERE, "never", nonce="b")
    assert caught.value.retry_after_s == 45.0


async def test_a_text_over_the_limit_is_a_port_error(fake):
    async with running(fake, RecordingCore()) as platform:
        with pytest.raises(PortError):
            await platform.send(HERE, "x" * 2001, nonce="n")


async def test_a_wrong_token_is_one_sentence_that_does_not_show_it(fake):
    with pytest.raises(PlatformRefused, match="DISCORD_TOKEN") as caught:
        async with running(fake, RecordingCore(), token="wrong.token.here"):
            pass
    assert "wrong.token" not in str(caught.value)


async def test_the_missing_intent_names_the_switch(fake):
    fake.content_intent = False
    with pytest.raises(PlatformRefused, match="Message Content Intent"):
        async with running(fake, RecordingCore()):
            pass
