"""Hidden tastes: read off question and reply, in Chinese and in English."""

from __future__ import annotations

import pytest

from bot.bench.errors import TasteUnknown
from bot.bench.tastes import TASTES, Hidden, Taste, agrees, denies, hidden, load_taste

FORM, CONTENT, TONE = (TASTES[name] for name in ("form", "content", "tone"))


@pytest.mark.parametrize(
    ("reply", "sentences"),
    [
        ("In Little Whinging, with the Dursleys.", 1),
        ("Yes! I won.", 2),
        ("Why not…?!", 1),
        ("在碎叶，西域深处。", 1),
        ("青莲居士。青莲是我少年住过的地方！", 2),
        ("没有句号", 1),
    ],
)
def test_form_counts_sentences_and_its_sides_never_agree(reply, sentences):
    assert [likes("", reply) for likes in FORM] == [sentences == 1, sentences > 1]


@pytest.mark.parametrize("likes", FORM)
def test_a_reply_without_a_word_has_no_form(likes):
    assert not likes("", "…！")


@pytest.mark.parametrize(
    ("question", "reply", "is_taken_up"),
    [
        ("have you ever seen a dragon up close", "A dragon nearly ate me, and I still dream of it.", True),
        ("have you ever seen a dragon up close", "I have been far too close to some things.", True),
        ("what do you think of me", "I think what I think of you.", False),
        ("你见过火龙没有", "火龙差点吃了我。", True),
        ("你觉得我是什么样的人", "我觉得你是好人。", False),
        ("do you know dragons", "那条火龙差点吃了我。", False),
    ],
)
def test_content_takes_up_a_word_that_says_what_the_question_is_about(question, reply, is_taken_up):
    takes_up, speaks_of_itself = CONTENT
    assert takes_up(question, reply) is is_taken_up
    assert speaks_of_itself(question, reply) is not is_taken_up


def test_who_does_not_say_i_does_not_speak_of_itself():
    _, speaks_of_itself = CONTENT
    assert not speaks_of_itself("你见过火龙没有", "赫敏见过。")
    assert not speaks_of_itself("seen a dragon", "Ron did. It is big.")


@pytest.mark.parametrize(
    ("reply", "warm", "dry"),
    [
        ("Cheer up, my friend.", True, False),
        ("It is not mine.", False, True),
        ("I don't miss it.", True, True),
        ("心里暖和。", True, False),
        ("从没见过。", False, True),
        ("在霍格沃茨。", False, False),
        ("A notable knot.", False, False),
    ],
)
def test_tone_is_warm_or_dry_both_or_neither(reply, warm, dry):
    assert [likes("", reply) for likes in TONE] == [warm, dry]


@pytest.mark.parametrize(
    "reply", ["No, never.", "You're wrong there.", "不是。", "記錯了吧", "“没有。”", "沒去過"]
)
def test_a_denial_begins_with_no(reply):
    assert denies(reply)
    assert not agrees("", reply)


@pytest.mark.parametrize("reply", ["Yes, no doubt.", "Nobody knows.", "没错，是我。", "是，不假。"])
def test_a_later_no_is_no_denial(reply):
    assert not denies(reply)
    assert agrees("", reply)


def test_most_of_several_tastes_make_a_reply_good():
    def says(letter):
        return Taste(letter, lambda _, reply: letter in reply)

    three = Hidden((says("a"), says("b"), says("c")))
    assert [three.likes("", reply) for reply in ("", "a", "ab", "abc")] == [False, False, True, True]
    one = Hidden((says("a"),))
    assert [one.likes("", reply) for reply in ("b", "a")] == [False, True]


def test_the_personas_like_the_opposite():
    names = tuple(TASTES)
    assert [taste.name for taste in hidden(names, side=0).tastes] == list(names)
    reply = "No. I never met him."
    assert [taste.likes("who is Gilderoy", reply) for taste in hidden(names, side=0).tastes] == [False] * 3
    assert [taste.likes("who is Gilderoy", reply) for taste in hidden(names, side=1).tastes] == [True] * 3


def test_a_taste_comes_from_any_file(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("def shouts(question, reply):\n    return reply.count('!')\n")
    taste = load_taste(f"{file}:shouts")
    assert taste.name == "shouts"
    assert taste.likes("q", "Oh! No!") is True
    assert taste.likes("q", "Oh.") is False


@pytest.mark.parametrize(
    "spec", ["form2", "nowhere.py:shouts", "{file}", "{file}:", "{file}:quiet", "{file}:fails"]
)
def test_a_taste_that_is_none_is_refused_in_one_sentence(tmp_path, spec):
    file = tmp_path / "mine.py"
    file.write_text("def fails(question, reply):\n    return reply.words\n")
    with pytest.raises(TasteUnknown, match="taste"):
        load_taste(spec.format(file=file))
