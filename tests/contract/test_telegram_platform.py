"""The real python-telegram-bot over loopback against the double: translation, sending, refusals."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from bot.errors import PlatformRefused
from bot.platform import Button, Command, Incoming, Place, PortError, Press, RetryLater, VoteOutcome
from bot.platforms.telegram_ import Telegram
from tests.fakes.core import RecordingCore
from tests.fakes.telegram import TOKEN, FakeTelegram, Refusal
from tests.waiting import until

MENU = {"en": [("help", "what I can do")], "zh-CN": [("help", "我能做什么")]}
HERE = Place("telegram", "7")


@contextlib.asynccontextmanager
async def running(fake, core, *, token=TOKEN):
    platform = Telegram(token, core, menu=MENU, api_url=fake.url)
    task = asyncio.create_task(platform.run())
    try:
        await until(lambda: core.ports or task.done())
        if task.done():
            task.result()
        await until(lambda: any(method.lower() == "getupdates" for method, _ in fake.calls))
        yield platform
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, PlatformRefused):
            await task
        for _ in range(10):  # the cut long poll's transport closes on a later turn of the loop
            await asyncio.sleep(0)


async def test_a_private_message_arrives_whole():
    async with FakeTelegram() as fake:
        core = RecordingCore()
        async with running(fake, core):
            said = fake.say("你好 😀", language="zh-hans")
            await until(lambda: core.events)
        (event,) = core.events
        assert isinstance(event, Incoming)
        assert (event.text, event.user, event.is_direct, event.lang_hint) == ("你好 😀", "7", True, "zh-hans")
        assert (event.place, event.message_id) == (HERE, str(said["message_id"]))


async def test_a_batch_is_confirmed_only_after_it_was_stored():
    async with FakeTelegram() as fake:
        core = RecordingCore()
        async with running(fake, core):
            fake.say("one")
            await until(lambda: core.cursors)
            last = int(next(iter(core.cursors.values())))
            await until(lambda: fake.confirmed == last)
        assert last == 1001


async def test_polling_goes_on_where_the_stored_offset_says():
    async with FakeTelegram() as fake:
        core = RecordingCore()
        fake.say("handled before")
        core.cursors["telegram", "123456"] = "1001"
        async with running(fake, core):
            fake.say("new")
            await until(lambda: core.events)
        assert [event.text for event in core.events] == ["new"]


async def test_in_a_group_a_mention_is_known_and_cut_out():
    async with FakeTelegram() as fake:
        core = RecordingCore()
        async with running(fake, core):
            fake.say("李白 @troupe_bot 喝酒吗", chat=-5)
            fake.say("hello @somebody", chat=-5)
            fake.say("nothing", chat=-5)
            await until(lambda: len(core.events) == 3)
        mine, others, plain = core.events
        assert (mine.text, mine.mentions_bot, mine.place.guild) == ("李白   喝酒吗", True, "-5")
        assert (others.mentions_bot, others.mentions_others) == (False, True)
        assert not any((plain.mentions_bot, plain.mentions_others, plain.is_direct))


async def test_a_reply_to_the_bot_is_known():
    async with FakeTelegram() as fake:
        core = RecordingCore()
        async with running(fake, core) as platform:
            number = await platform.send(Place("telegram", "-5"), "I said", nonce="n")
            fake.say("really?", chat=-5, reply_to=int(number))
            await until(lambda: core.events)
        assert core.events[0].replies_to_bot


async def test_commands_are_read_and_those_for_other_bots_left_alone():
    async with FakeTelegram() as fake:
        core = RecordingCore()
        async with running(fake, core):
            fake.say("/persona@other_bot x", chat=-5)
            fake.say("/persona@troupe_bot  li_bai ", chat=-5)
            await until(lambda: core.events)
        (command,) = core.events
        assert isinstance(command, Command)
        assert (command.name, command.argument) == ("persona", "li_bai")


async def test_an_edit_is_marked_and_an_unreadable_update_costs_only_itself():
    async with FakeTelegram() as fake:
        core = RecordingCore()
        async with running(fake, core):
            message = fake.say("first")
            fake.push({"message": {"message_id": "?", "date": "yesterday"}})
            fake.push({"edited_message": {**message, "text": "second", "edit_date": message["date"] + 1}})
            await until(lambda: len(core.events) == 2)
        assert [(event.text, event.is_edit) for event in core.events] == [("first", False), ("second", True)]


async def test_a_press_is_answered_with_the_outcome():
    async with FakeTelegram() as fake:
        core = RecordingCore()
        async with running(fake, core) as platform:
            number = await platform.send(HERE, "hi", nonce="n", buttons=[Button("👍", "vote:abc:u")])
            fake.press(7, int(number), "vote:abc:u")
            await until(lambda: core.events)
            (press,) = core.events
            assert isinstance(press, Press)
            assert (press.data, press.user, press.is_direct) == ("vote:abc:u", "7", True)
            await platform.acknowledge(press, VoteOutcome("Thank you!"))
            assert fake.answers[-1]["text"] == "Thank you!"
            await platform.acknowledge(press, VoteOutcome("again"))  # too old: no error


async def test_a_question_goes_to_the_private_chat_or_opens_it():
    async with FakeTelegram() as fake:
        core = RecordingCore()
        question = VoteOutcome(
            "May this chat help?", (Button("yes", "consent:yes"), Button("no", "consent:no"))
        )
        async with running(fake, core) as platform:
            number = await platform.send(
                Place("telegram", "-5"), "hi", nonce="n", buttons=[Button("👍", "vote:a:u")]
            )
            fake.press(-5, int(number), "vote:a:u")
            await until(lambda: core.events)
            await platform.acknowledge(core.events[0], question)
            (private,) = fake.bot_messages(7)
            assert private["text"] == "May this chat help?"
            assert fake.buttons(7, private["message_id"]) == ["consent:yes", "consent:no"]
            fake.closed_chats.add(7)
            fake.press(-5, int(number), "vote:a:u")
            await until(lambda: len(core.events) == 2)
            await platform.acknowledge(core.events[1], question)
            assert fake.answers[-1]["url"].endswith("?start=consent")
            assert len(fake.bot_messages(-5)) == 1, "nobody else sees the question"


async def test_flood_control_is_passed_on_and_an_unchanged_edit_is_success():
    async with FakeTelegram() as fake:
        core = RecordingCore()
        async with running(fake, core) as platform:
            number = await platform.send(HERE, "same", nonce="n")
            await platform.edit(HERE, number, "same")
            fake.refuse.append(("editMessageText", Refusal(429, "Too Many Requests", retry_after=27)))
            with pytest.raises(RetryLater) as caught:
                await platform.edit(HERE, number, "other")
            assert caught.value.retry_after_s == 27


async def test_a_text_over_the_limit_is_a_port_error():
    async with FakeTelegram() as fake, running(fake, RecordingCore()) as platform:
        with pytest.raises(PortError, match="too long"):
            await platform.send(HERE, "😀" * 2049, nonce="n")


async def test_a_wrong_token_is_one_sentence_that_does_not_show_it():
    async with FakeTelegram() as fake:
        with pytest.raises(PlatformRefused, match="TELEGRAM_TOKEN") as caught:
            async with running(fake, RecordingCore(), token="1:wrongwrongwrong"):
                pass
        assert "wrongwrong" not in str(caught.value)


async def test_the_menu_is_set_for_each_language():
    async with FakeTelegram() as fake:
        async with running(fake, RecordingCore()):
            pass
        menus = [sent for method, sent in fake.calls if method == "setMyCommands"]
        assert [menu.get("language_code") for menu in menus] == [None, "zh"]
