"""/privacy and /forget through the core: what a person is shown, and what is left after the button."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bot.platform import Command, Incoming, Place, Press
from data.home import Home, rater_hash
from data.script import LANGS
from tests.fakes.engine import FakeEngine
from tests.fakes.port import CAPABILITIES, FakePort
from tests.fakes.troupe import troupe
from tests.waiting import until

DIRECT = Place("telegram", "90210777123")
GROUP = Place("telegram", "-5", guild="-5")
WORD = "sesame"


@pytest.fixture(name="engine")
async def _engine():
    async with FakeEngine(reply=f"{WORD} it is") as engine:
        yield engine


@pytest.fixture(name="port")
def _port():
    return FakePort(caps=replace(CAPABILITIES, max_units=2000))


@pytest.fixture(name="parts")
async def _parts(tmp_path, engine, port):
    async with troupe(tmp_path, engine.url) as parts:
        parts.core.attach(port)
        yield parts


def command(name, *, user="ann", place=DIRECT, lang="en"):
    return Command(place, f"c-{name}-{user}", user, name, is_direct=place is DIRECT, lang_hint=lang)


def press(data, *, user="ann", place=DIRECT, lang="en"):
    return Press(place, f"p-{data}-{user}", user, data, is_direct=place is DIRECT, lang_hint=lang)


async def answered(parts, port, text, *, user="ann", place=DIRECT):
    before = len(port.with_votes())
    incoming = Incoming(place, text, user, user.title(), text, is_direct=place is DIRECT, mentions_bot=True)
    await parts.core.receive([incoming])
    await until(lambda: len(port.with_votes()) > before)
    return port.with_votes()[-1][1]


def written(tmp_path):
    return b"".join(path.read_bytes() for path in tmp_path.glob("store.db*"))


@pytest.mark.parametrize("lang", LANGS)
async def test_privacy_says_what_the_answer_is_now_and_changes_it(parts, tmp_path, lang):
    told = []
    for answer in ("", "yes", "no", "vote"):
        if answer:
            await parts.core.press(press(f"consent:{answer}"))
        outcome = await parts.core.command(command("privacy", lang=lang))
        assert [button.data for button in outcome.buttons] == ["consent:yes", "consent:no", "consent:vote"]
        told.append(outcome.text)
    assert len(set(told)) == 4
    assert await parts.store.consent(rater_hash(Home(tmp_path).secret(), "telegram", "ann")) == "vote"


async def test_forgetting_is_asked_for_once_more_and_then_nothing_is_left(parts, port, tmp_path):
    reply_id = await answered(parts, port, f"{WORD} is mine")
    await parts.core.press(press(f"vote:{reply_id}:u"))
    await parts.core.press(press("consent:yes"))
    question = await parts.core.command(command("forget"))
    everything, keep = question.buttons
    assert (everything.label, keep.label) == ("Forget everything", "Keep")
    assert await parts.core.press(press(keep.data))
    assert WORD.encode() in written(tmp_path)
    outcome = await parts.core.press(press(everything.data))
    assert outcome.is_forgotten
    assert len(outcome.text) <= 200, "Telegram shows no more of it"
    assert WORD.encode() not in written(tmp_path)
    assert DIRECT.chat.encode() not in written(tmp_path)
    assert await parts.core.history(DIRECT, "harry_potter", "ann") == ()
    late = await parts.core.press(press(f"vote:{reply_id}:d"))
    assert "no longer be rated" in late.text
    # A new acquaintance: the question is asked again, and nothing of before is in the prompt.
    fresh = await answered(parts, port, "hello")
    assert WORD not in (await parts.store.reply(fresh)).messages
    assert (await parts.core.press(press(f"vote:{fresh}:u"))).buttons[0].data == "consent:yes"


async def test_the_question_forgets_only_whom_it_was_put_to(parts, port):
    await answered(parts, port, "hello", user="bob", place=GROUP)
    question = await parts.core.command(command("forget"))
    outcome = await parts.core.press(press(question.buttons[0].data, user="bob"))
    assert not outcome.is_forgotten
    assert "/forget" in outcome.text
    for data in ("forget:everything", "forget:everything:", "forget:", "forget:everything:0"):
        assert not (await parts.core.press(press(data))).is_forgotten
    bot = replace(press(question.buttons[0].data), is_bot=True)
    assert not (await parts.core.press(bot)).is_forgotten
    assert await parts.store.erasures.latest() == 0


@pytest.mark.parametrize("name", ["privacy", "forget"])
async def test_in_a_group_on_telegram_the_answer_waits_for_a_private_chat(parts, port, name):
    await parts.core.press(press("consent:no"))
    await parts.core.receive([command(name, place=GROUP)])
    await until(lambda: port.texts)
    assert f"/{name}" in port.texts[0]
    assert port.buttons == {next(iter(port.messages)): ()}


async def test_over_telegram_the_question_and_its_answer_go_through_the_inbox(parts, port, tmp_path):
    await answered(parts, port, f"{WORD} is mine")
    await parts.core.receive([command("forget")])
    shown = await until(lambda: next((row for row in port.buttons.values() if "forget" in str(row)), None))
    await parts.core.receive([press(shown[0].data)])
    ((_, outcome),) = await until(lambda: port.acknowledged)
    assert outcome.is_forgotten
    assert WORD.encode() not in written(tmp_path)


async def test_who_is_forgotten_while_an_answer_is_written_leaves_nothing_of_it(
    parts, port, engine, tmp_path
):
    engine.delay_s = 0.2
    engine.reply = "walnut and walnut and walnut"
    first = Incoming(DIRECT, "m", "ann", "Ann", f"{WORD} is mine", is_direct=True)
    await parts.core.receive([first, replace(first, message_id="n", text=f"{WORD} again")])
    await until(lambda: port.texts)
    question = await parts.core.command(command("forget"))
    await parts.core.press(press(question.buttons[0].data))
    assert port.texts[0] != engine.reply, "it is still being written"
    await until(lambda: port.texts == [engine.reply])
    engine.delay_s, engine.reply = 0.0, "welcome"
    await answered(parts, port, "hello", user="bob", place=GROUP)
    assert port.texts == ["walnut and walnut and walnut", "welcome"], "what waited is not answered any more"
    assert len(port.with_votes()) == 1, "what is not kept cannot be rated"
    assert not any(word in written(tmp_path) for word in (b"walnut", WORD.encode()))
