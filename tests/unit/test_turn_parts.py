"""The small pure parts of a turn: guard, history, inbox rows, token counts, sentences."""

from __future__ import annotations

import string
from itertools import pairwise

import pytest

from bot.guard import presentable
from bot.inbox import event_of, item_of
from bot.memory import turns_of
from bot.platform import Command, Incoming, Place, Press
from bot.sentences import MENU, REASONS, SENTENCES, button, sentence
from bot.tokens import Tokens
from data.ids import new_id
from data.records import Utterance
from data.script import LANGS, script_of
from engine.protocol import EngineInfo
from personas.errors import QuestionTooLong
from personas.prompt import Turn

PLACE = Place("telegram", "7")


@pytest.mark.parametrize(
    ("written", "final", "shown"),
    [
        ("<think>hm</think>Hello", True, "Hello"),
        ("<think>never closed", True, ""),
        ("Hello <thi", False, "Hello"),
        ("Hello <thi", True, "Hello <thi"),
        ("a < b", False, "a < b"),
        ("a <", False, "a"),
        ("</think>Hello", True, "Hello"),
        ("\n\n Hello\x00 \u202e", True, "Hello"),
        ("@everyone hello", True, "@everyone hello"),
    ],
)
def test_thoughts_and_invisible_characters_stay_inside(written, final, shown):
    assert presentable(written, final=final) == shown


def test_what_is_shown_only_grows_while_a_reply_is_written():
    text = "<think>no</think>One < two <thinner\nthree"
    shown = [presentable(text[:end], final=False) for end in range(len(text) + 1)]
    assert all(later.startswith(earlier) for earlier, later in pairwise(shown))
    assert presentable(text, final=True) == "One < two <thinner\nthree"


def said(reply, role, text, author="ann", name="Ann"):
    return Utterance(reply, role, author if role == "user" else None, name if role == "user" else None, text)


def test_only_finished_exchanges_are_history():
    rows = [
        said("r0", "assistant", "cut off by the window"),
        said("r1", "user", "one"), said("r1", "assistant", "two"),
        said("r2", "user", "unanswered"),
        said("r3", "user", "three"), said("r3", "assistant", "four"),
    ]  # fmt: skip
    assert turns_of(rows) == (Turn("one", "two"), Turn("three", "four"))


def test_several_speakers_in_a_row_carry_their_names():
    rows = [
        said("r", "user", "hi"),
        said("r", "user", "me too", "bob", "Bob"),
        said("r", "assistant", "both"),
    ]
    assert turns_of(rows) == (Turn("Ann: hi\nBob: me too", "both"),)


@pytest.mark.parametrize(
    "event",
    [
        Incoming(PLACE, "1", "ann", "Ann", "你好", is_direct=True, reply_to="9", sent_at=1.5),
        Command(PLACE, "2", "ann", "persona", "李白", is_direct=True, lang_hint="zh"),
        Press(Place("discord", "1", "2", "3"), "1", "ann", "vote:x:u", text="why", is_bot=True, roles=("4",)),
    ],
)
def test_an_event_survives_the_inbox(event):
    item = item_of(event, b"secret")
    assert event_of(item) == event
    assert "ann" not in item.user_hash


def test_a_press_and_a_message_of_one_number_are_two_rows():
    message = item_of(Incoming(PLACE, "1", "ann", "Ann", "x", is_direct=True), b"")
    press = item_of(Press(PLACE, "1", "ann", "vote:x:u"), b"")
    assert message.message_id != press.message_id


def test_half_a_character_in_a_name_harms_nobody():
    item = item_of(Incoming(PLACE, "1", "ann", "An\ud800", "x\ud83d", is_direct=True), b"")
    item.payload.encode("utf-8")
    assert event_of(item).user_name.startswith("An")


class CountingEngine:
    def __init__(self):
        self.asked = []

    async def count(self, text):
        self.asked.append(text)
        return len(text)


INFO = EngineInfo(None, None, 1024, None, None, None, can_load_adapters=False)


async def test_a_text_is_counted_by_the_engine_once():
    engine = CountingEngine()
    tokens = Tokens(engine)
    tokens.use(INFO)
    for _ in range(3):
        tokens.use(INFO)
        assert await tokens.planned(lambda count: count("李白") + count("Harry")) == 7
    assert engine.asked == ["李白", "Harry"]


async def test_a_guess_never_decides_that_a_question_is_too_long():
    tokens = Tokens(CountingEngine())

    def build(count):
        if count("李" * 10) > 10:
            raise QuestionTooLong
        return "fits"

    assert await tokens.planned(build) == "fits"
    with pytest.raises(QuestionTooLong):
        await tokens.planned(lambda count: build(lambda text: count(text) + 1))


def placeholders(text):
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


@pytest.mark.parametrize("name", SENTENCES)
def test_every_sentence_is_there_in_three_languages_with_the_same_blanks(name):
    by_language = SENTENCES[name]
    assert set(by_language) == set(LANGS)
    assert len({frozenset(placeholders(text)) for text in by_language.values()}) == 1
    for lang, text in by_language.items():
        assert script_of(text, lang) == lang, text


def test_buttons_fit_telegrams_callback_data():
    reply = new_id(1_800_000_000.0)
    longest = max((f"why:{reply}:{reason}" for reason in REASONS), key=len)
    assert len(longest.encode()) <= 64
    for lang in LANGS:
        assert all(button(name, lang) for name in (*REASONS, "yes", "no", "vote"))
        assert {name for name, _ in MENU[lang]} == {"persona", "reset", "help", "privacy", "forget", "review"}
    assert "7" in sentence("failed", "en", id=7)


def test_ids_sort_by_time_and_are_url_safe():
    early, late = new_id(1_800_000_000.0), new_id(1_800_000_000.002)
    assert early < late
    assert len(early) == 18
    assert early.isalnum()
    assert len({new_id(1.0) for _ in range(1000)}) == 1000
