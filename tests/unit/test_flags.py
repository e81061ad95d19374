"""What is wrong with a reply at first sight, and that hardly any written answer is taken for it."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from data.flags import FLAGS, LONGEST, flags
from personas.loader import load_persona

PERSONAS = Path(__file__).resolve().parents[2] / "personas"
CARD = (
    "You are Li Bai (李白), poet of the Tang, near the end of a long road. Elegant, warm, a little drunk. "
    "你是青莲居士，一壶酒，一轮月，走遍名山大川。"
)
VERSE = {
    "en": "The moon rose over the river, and every boat from here to Baidi seemed to wait for one more cup.",
    "zh-CN": "月亮刚从江面上升起来，白帝城外的船都停了桨，等我把这最后一杯酒喝完再走。",
    "zh-TW": "月亮剛從江面上升起來，白帝城外的船都停了槳，等我把這最後一杯酒喝完再走。",
}


@pytest.mark.parametrize("slug", ["harry_potter", "li_bai"])
def test_of_a_hundred_written_answers_only_one_word_translations_are_flagged(slug):
    card = load_persona(PERSONAS / slug).prompt_text
    lines = (PERSONAS / slug / "dialogues.jsonl").read_text(encoding="utf-8").splitlines()
    flagged = []
    for row in map(json.loads, random.Random(11).sample(lines, 100)):
        reply = row["messages"][-1]["content"]
        found = flags(reply, lang=row["lang"], card=card)
        if found:
            flagged.append((found, reply))
    assert {found for found, _ in flagged} <= {("language",)}
    assert all(len(reply) < 12 for _, reply in flagged), "a word said in the other language, no sentence"
    assert len(flagged) <= 3


@pytest.mark.parametrize(
    "reply",
    [
        "As an AI, I cannot drink wine.",
        "I'm an AI language model and have no home.",
        "I was trained by OpenAI.",
        "作为一个AI，我不能喝酒。",
        "作为人工智能，我没有故乡。",
        "作为一名人工智能助手，我没有故乡。",
        "我是一个人工智能助手，没有故乡。",
        "我只是ＡＩ助手，不会写诗。",
        "我是通义千问，由阿里云开发。",
        "身為大型語言模型，我沒有家鄉。",
        "作為一個人工智慧，我沒有家鄉。",
        "我是一個人工智慧助理，沒有家鄉。",
    ],
)
def test_who_speaks_of_being_a_model_breaks_character(reply):
    lang = "en" if reply.isascii() else "zh-TW" if "為" in reply or "個" in reply else "zh-CN"
    assert "character" in flags(reply, lang=lang)


@pytest.mark.parametrize(
    ("lang", "reply"),
    [
        ("en", "Quentin asked me to aid him, and the paint was not dry."),
        ("en", "I am an airy dreamer, as an aisle of pines is."),
        ("zh-CN", "作为一个诗人，我有一点人情，没有一点智谋。"),
        ("zh-TW", "作為一個客人，我只管喝酒。"),
        ("zh-CN", "人工开凿的渠，智者也要走半天。"),
    ],
)
def test_words_that_only_look_alike_do_not(lang, reply):
    assert flags(reply, lang=lang) == ()


@pytest.mark.parametrize(
    ("lang", "reply"),
    [
        ("en", "Well: poet of the Tang, near the end of a LONG road, that is me."),
        ("zh-CN", "我呀，是青莲居士，一壶酒、一轮月，走遍名山。"),
    ],
)
def test_a_card_that_is_read_out_breaks_character(lang, reply):
    assert flags(reply, lang=lang, card=CARD) == ("character",)
    assert flags(reply, lang=lang) == ()


def test_a_few_words_of_the_card_may_be_said():
    assert flags("A poet of the Tang, and a little drunk.", lang="en", card=CARD) == ()
    assert flags("一壶酒，一轮月，够了。", lang="zh-CN", card=CARD) == ()


@pytest.mark.parametrize("lang", ["en", "zh-CN", "zh-TW"])
def test_a_whole_sentence_is_clean_in_its_language_and_flagged_in_the_others(lang):
    for other in VERSE:
        assert flags(VERSE[lang], lang=other) == (() if other == lang else ("language",))


@pytest.mark.parametrize("reply", ["42", "……", "🌕🍶", "3 + 4 = 7"])
@pytest.mark.parametrize("lang", ["en", "zh-CN", "zh-TW"])
def test_numbers_marks_and_emoji_belong_to_every_language(reply, lang):
    assert flags(reply, lang=lang) == ()


@pytest.mark.parametrize(
    ("lang", "reply"),
    [
        (
            "en",
            "I drink to the moon and I drink to the moon and I drink to the moon and I drink to the moon.",
        ),
        ("zh-CN", "举杯邀明月，举杯邀明月，举杯邀明月，举杯邀明月。"),
        ("zh-TW", "我對影成三人又對影成三人又對影成三人又對影成三人"),
    ],
)
def test_going_in_circles_is_a_repetition(lang, reply):
    assert flags(reply, lang=lang) == ("repetition",)


def test_the_same_line_twice_is_a_refrain_and_thrice_a_repetition():
    line = "Drink with me!"
    twice = f"{line}\nThe night is young.\n  {line}  "
    assert flags(twice, lang="en") == ()
    assert flags(f"{twice}\n\n{line}", lang="en") == ("repetition",)


def test_short_words_of_joy_are_no_repetition():
    assert flags("Ha ha ha ha ha ha!", lang="en") == ()
    assert flags("哈哈哈哈哈哈哈哈！", lang="zh-CN") == ()


def test_what_the_engine_says_of_the_end_counts():
    assert flags("Well met.", lang="en", end="length") == ("too_long",)
    assert flags("Well met.", lang="en", end="repetition") == ("repetition",)
    assert flags("Well met.", lang="en", end="stop") == ()


def test_a_reply_is_long_enough_at_twelve_hundred_letters():
    words = " ".join(f"word{number}" for number in range(200))
    assert flags(words[:LONGEST], lang="en") == ()
    assert flags(words[: LONGEST + 1], lang="en") == ("too_long",)


@pytest.mark.parametrize("reply", ["", " \n\t", "\u3000"])
def test_nothing_is_empty_and_only_that(reply):
    assert flags(reply, lang="zh-CN", card=CARD) == ("empty",)


def test_several_flags_come_in_one_order():
    reply = "As an AI, I cannot.\n" * 3
    found = flags(reply, lang="zh-CN", end="length")
    assert found == ("language", "repetition", "character", "too_long")
    assert list(found) == [name for name in FLAGS if name in found]
