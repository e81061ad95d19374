"""Lore files: how they are read, and which section a question finds."""

from __future__ import annotations

from pathlib import Path

import pytest

from personas.errors import PersonaBroken
from personas.loader import load_persona
from personas.lore import parse_lore, read_lore
from tests.unit.lore_questions import ASKED, SMALL_TALK

FOLDERS = Path(__file__).parents[2] / "personas"
WAND = """\
# A comment.
common: Harry, 哈利

## wand
keys: wand, 魔杖
zh-CN: 魔杖是冬青木的。
zh-TW: 魔杖是冬青木的。
en: The wand is holly.
fact: wand.wood | name | zh-CN: 冬青; zh-TW: 冬青; en: holly / Holly | never-wrong
fact: wand.length | number | zh-CN: 十一; en: eleven / 11

## ron
keys: Ron, 罗恩, 榮恩
zh-CN: 罗恩是朋友。
zh-TW: 榮恩是朋友。
en: Ron is a friend.
"""


def test_a_section_is_read_with_its_facts():
    section = parse_lore(WAND).section("wand")
    assert section is not None
    assert section.keys == ("wand", "魔杖")
    assert section.text("en") == "The wand is holly."
    wood, length = section.facts
    assert (wood.id, wood.kind, wood.never_wrong) == ("wand.wood", "name", True)
    assert wood.forms == {"zh-CN": ("冬青",), "zh-TW": ("冬青",), "en": ("holly", "Holly")}
    assert not length.never_wrong
    assert length.forms["en"] == ("eleven", "11")
    assert parse_lore(WAND).section("broom") is None


def test_what_was_said_before_tells_which_section_a_short_question_is_about():
    lore = load_persona(FOLDERS / "harry_potter").lore
    assert lore.nearest("and who is he?", "en") == ()
    (first, *_) = lore.nearest(
        "and who is he?", "en", before="any dark lord?\nVoldemort. His real name was Riddle."
    )
    assert "Voldemort" in first.text("en")


@pytest.mark.parametrize("slug", sorted(ASKED))
@pytest.mark.parametrize("lang", ["zh-CN", "zh-TW", "en"])
def test_nine_of_ten_questions_find_their_section_in_every_script(slug, lang):
    lore = load_persona(FOLDERS / slug).lore
    asked = ASKED[slug][lang]
    missed = {
        question: [section.slug for section in lore.nearest(question, lang)]
        for question, wanted in asked.items()
        if wanted not in [section.slug for section in lore.nearest(question, lang)]
    }
    assert len(missed) <= len(asked) // 10, missed


@pytest.mark.parametrize("slug", sorted(ASKED))
def test_small_talk_and_sums_bring_no_lore(slug):
    lore = load_persona(FOLDERS / slug).lore
    assert {text: found for text in SMALL_TALK if (found := lore.nearest(text, "en"))} == {}


def test_a_question_in_traditional_characters_finds_what_is_keyed_in_simplified():
    text = (
        "## swan\nkeys: 天鹅\nzh-CN: 湖里有天鹅。\nzh-TW: 湖裡有天鵝。\nen: A swan lives on the lake.\n"
        "## dog\nkeys: 狗\nzh-CN: 门口有狗。\nzh-TW: 門口有狗。\nen: A dog lies at the door.\n"
    )
    for question in ("你見過湖裡的天鵝嗎", "你见过天鹅吗"):
        assert parse_lore(text).nearest(question, "zh-TW")[0].slug == "swan"


def test_a_latin_key_is_found_as_a_whole_word_only():
    lore = parse_lore(WAND)
    assert lore.nearest("who is ron?", "en")[0].slug == "ron"
    assert lore.nearest("what went wrong there", "en") == ()


def test_a_chinese_name_is_found_inside_running_text():
    assert parse_lore(WAND).nearest("我觉得罗恩很好玩", "zh-CN")[0].slug == "ron"
    assert parse_lore(WAND).nearest("聽說榮恩很好玩", "zh-TW")[0].slug == "ron"


def test_the_personas_own_name_says_nothing():
    assert parse_lore(WAND).nearest("哈利，在吗", "zh-CN") == ()
    assert parse_lore(WAND).nearest("Harry, are you there", "en") == ()


def test_a_sum_about_known_things_is_still_a_sum():
    assert parse_lore(WAND).nearest("3 wands and 4 wands, how many wands?", "en") == ()


def test_there_are_never_more_sections_than_asked_for():
    lore = load_persona(FOLDERS / "li_bai").lore
    question = "杜甫、孟浩然、汪伦、高适、贺知章都是你的朋友吗"
    assert len(lore.nearest(question, "zh-CN", limit=1)) == 1
    assert len(lore.nearest(question, "zh-CN", limit=3)) <= 3


def test_an_empty_lore_finds_nothing():
    assert parse_lore("").nearest("魔杖呢", "zh-CN") == ()


BODY = "zh-CN: 甲\nzh-TW: 甲\nen: a\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("## wand\nzh-CN: 甲\nzh-TW: 甲\n", ["line 1", "wand", "en"]),
        (f"## wand\n{BODY}colour: red\n", ["line 5", "colour", "keys"]),
        (f"## wand\n{BODY}just words\n", ["line 5", "just words"]),
        (f"## wand\n{BODY}en: b\n", ["line 5", "second 'en'"]),
        (f"## wand\n{BODY}## wand\n{BODY}", ["two sections called wand", "rename"]),
        (f"## My wand\n{BODY}", ["line 1", "My wand", "lower-case"]),
        ("keys: wand\n", ["line 1", "no section"]),
        (f"## wand\n{BODY}fact: wand.wood | tree | en: holly\n", ["line 5", "year/number/name/place"]),
        (f"## wand\n{BODY}fact: wand.wood | name\n", ["line 5", "a fact is"]),
        (f"## wand\n{BODY}fact: wand.wood | name | en: holly | always\n", ["line 5", "a fact is"]),
        (f"## wand\n{BODY}fact: wand.wood | name | fr: houx\n", ["line 5", "fr: houx"]),
        (f"## wand\n{BODY}fact: a | name | en: b\nfact: a | name | en: c\n", ["two facts called a"]),
    ],
)
def test_a_mistake_in_lore_is_one_sentence_with_the_place_and_the_remedy(text, words):
    with pytest.raises(PersonaBroken) as caught:
        parse_lore(text)
    sentence = str(caught.value)
    assert "lore.md" in sentence
    assert "\n" not in sentence
    for word in words:
        assert word in sentence


def test_a_missing_or_unreadable_lore_file_is_named(tmp_path):
    with pytest.raises(PersonaBroken, match=r"no lore\.md"):
        read_lore(tmp_path / "lore.md")
    (tmp_path / "lore.md").write_bytes(b"\xff\xfe\x00broken")
    with pytest.raises(PersonaBroken, match="cannot be read"):
        read_lore(tmp_path / "lore.md")
