"""What the real python-telegram-bot sends and the double answers, against the Bot API's description."""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import replace

import pytest

from bot.platforms import telegram_
from bot.sentences import MENU
from tests.fakes.engine import FakeEngine
from tests.fakes.exchange import Exchange
from tests.fakes.specs import TelegramSpec, specification
from tests.fakes.telegram import TOKEN, FakeTelegram, Refusal
from tests.fakes.troupe import troupe
from tests.waiting import until

USED = {
    "getMe",
    "setMyCommands",
    "getUpdates",
    "sendMessage",
    "editMessageText",
    "sendChatAction",
    "answerCallbackQuery",
}


@pytest.fixture(name="spec", scope="module")
def _spec() -> TelegramSpec:
    return TelegramSpec(specification("telegram/api.min.json"))


@contextlib.asynccontextmanager
async def bot(home, fake, engine):
    async with troupe(home, engine.url, moderators=("telegram:9",)) as parts:
        running = asyncio.create_task(
            telegram_.Telegram(TOKEN, parts.core, menu=MENU, api_url=fake.url).run()
        )
        await until(lambda: any(method == "getupdates" for method, _ in fake.calls))
        try:
            yield
        finally:
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running
            for _ in range(10):  # the cut long poll's transport closes on a later turn of the loop
                await asyncio.sleep(0)


def rated(fake, chat):
    """(message id, its buttons) of the last message with vote buttons."""
    shown = [(m["message_id"], fake.buttons(chat, m["message_id"])) for m in fake.bot_messages(chat)]
    voted = [(number, data) for number, data in shown if data and data[0].startswith("vote:")]
    return voted[-1] if voted else None


async def conversation(fake, engine):
    """A command, flood control, a streamed reply, both thumbs, consent, an edit, a group, a review."""
    fake.say("/persona 李白", language="zh-hans")
    await until(lambda: fake.texts(7))
    fake.refuse.append(("sendChatAction", Refusal(429, "Too Many Requests: retry after 1", retry_after=1)))
    asked = fake.say("who are you", language="en")
    number, (up, down) = await until(lambda: rated(fake, 7))
    assert len(fake.history[7, number]) > 1, "shown while it grew"
    fake.press(7, number, up)
    question = await until(lambda: next((m for m in fake.bot_messages(7) if m["message_id"] > number), None))
    fake.press(7, question["message_id"], fake.buttons(7, question["message_id"])[0])
    await until(lambda: len(fake.answers) == 2)
    fake.press(7, number, down)
    await until(lambda: len(fake.answers) == 3)
    fake.push({"edited_message": {**asked, "text": "who were you", "edit_date": asked["date"] + 1}})
    engine.reply, engine.delay_s = "Short.", 0.0
    fake.say("really?", reply_to=number)
    await until(lambda: rated(fake, 7)[0] != number)
    fake.say("@troupe_bot hello", chat=-5, user=8)
    number, (up, _) = await until(lambda: rated(fake, -5))
    fake.closed_chats.add(8)
    fake.press(-5, number, up, user=8)
    await until(lambda: len(fake.answers) == 4)
    fake.say("/review", chat=9, user=9)
    card = await until(lambda: next(iter(fake.bot_messages(9)), None))
    rewrite = next(data for data in fake.buttons(9, card["message_id"]) if "rewrite" in data)
    fake.press(9, card["message_id"], rewrite, user=9)
    question = await until(lambda: next(iter(fake.bot_messages(9)[1:]), None))
    fake.say("Better.", chat=9, user=9, reply_to=question["message_id"])
    await until(lambda: fake.bot_messages(9)[2:])


def updates(fake: FakeTelegram) -> list[dict[str, object]]:
    batches = [exchange.answer for exchange in fake.exchanges if exchange.path.lower() == "getupdates"]
    return [update for batch in batches if batch["ok"] for update in batch["result"]]


async def test_a_whole_conversation_fits_the_specification(spec, monkeypatch, tmp_path):
    # Groups wait three seconds between edits; how long is checked elsewhere.
    hasty = replace(telegram_.CAPABILITIES, min_edit_interval_s=0.3, direct_edit_interval_s=0.3)
    monkeypatch.setattr(telegram_, "CAPABILITIES", hasty)
    reply = "One moment. " * 5
    async with (
        FakeTelegram() as fake,
        FakeEngine(reply=reply, delay_s=0.08) as engine,
        bot(tmp_path, fake, engine),
    ):
        await conversation(fake, engine)
    assert {spec.operation(exchange) for exchange in fake.exchanges} == USED
    assert {exchange.status for exchange in fake.exchanges} >= {200, 403, 429}
    findings = [finding for exchange in fake.exchanges for finding in spec.exchange(exchange)]
    assert not findings, "\n".join(dict.fromkeys(findings))
    # getUpdates' answers were checked as "Array of Update"; besides its number an update holds one thing.
    assert all(len(update) == 2 for update in updates(fake))
    kinds = {name for update in updates(fake) for name in update}
    assert kinds == {"update_id", "message", "edited_message", "callback_query"}


SENT = Exchange(
    "POST",
    "sendMessage",
    {"chat_id": "7", "text": "hi", "reply_markup": json.dumps({"inline_keyboard": [[{"text": "👍"}]]})},
    200,
    {
        "ok": True,
        "result": {
            "message_id": 1,
            "date": 1_780_000_000,
            "chat": {"id": 7, "type": "private"},
            "text": "hi",
        },
    },
)


def with_sent(**changes):
    form = {name: text for name, text in {**SENT.sent, **changes}.items() if text is not None}
    return replace(SENT, sent=form)


def with_result(**changes):
    result = {**SENT.answer["result"], **changes}
    return replace(SENT, answer={"ok": True, "result": {k: v for k, v in result.items() if v is not None}})


@pytest.mark.parametrize(
    ("wrong", "finding"),
    [
        (replace(SENT, path="sendMessages"), "no such method"),
        (with_sent(nonce="abc"), "unknown nonce"),
        (with_sent(text=None), "text is missing"),
        (with_sent(message_thread_id="first"), "message_thread_id: no JSON"),
        (with_sent(message_thread_id="1.5"), "1.5 is no Integer"),
        (with_sent(disable_notification="1"), "1 is no Boolean"),
        (with_sent(reply_parameters='{"message": 5}'), "ReplyParameters has no message"),
        (with_sent(reply_parameters="{}"), "ReplyParameters needs message_id"),
        (with_sent(reply_markup='{"inline_keyboard": [[{"callback_data": "a"}]]}'), "needs text"),
        (with_sent(reply_markup='{"inline_keyboard": [{"text": "a"}]}'), "is no list"),
        (with_result(message_id="1"), "message_id: '1' is no Integer"),
        (with_result(date=None), "Message needs date"),
        (with_result(chat={"id": True, "type": "private"}), "True is no Integer"),
        (with_result(content="hi"), "Message has no content"),
        (replace(SENT, answer={"ok": False, "error_code": 400}), "description: None is no String"),
        (
            replace(
                SENT, answer={"ok": False, "error_code": 429, "description": "?", "parameters": {"retry": 1}}
            ),
            "ResponseParameters has no retry",
        ),
    ],
)
def test_the_check_finds_what_is_wrong(spec, wrong, finding):
    assert spec.exchange(SENT) == []
    assert finding in " ".join(spec.exchange(wrong))
