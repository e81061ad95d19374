"""The language that a text is answered in."""

from __future__ import annotations

import pytest

from data.script import lang_of, script_of


@pytest.mark.parametrize(
    ("text", "hint", "lang"),
    [
        ("霍格沃茨有几个学院？", None, "zh-CN"),
        ("霍格華茲有幾個學院？", None, "zh-TW"),
        ("How many houses are there?", "zh-CN", "en"),
        ("你好", None, "zh-CN"),
        ("你好", "zh-TW", "zh-TW"),
        ("你好", "zh-Hant-HK", "zh-TW"),
        ("你好", "en", "zh-CN"),
        ("然後呢", None, "zh-TW"),
        ("为什么呢", "zh-TW", "zh-CN"),
        ("Harry Potter 是谁", None, "zh-CN"),
        ("Who is 李白?", None, "en"),
        ("What does 床前明月光 mean?", "zh-CN", "en"),
        ("帮我 check 一下 email", None, "zh-CN"),
        ("我用 python 写 code", None, "zh-CN"),
        ("12 + 30 = ?", None, "en"),
        ("12 + 30 = ?", "zh-TW", "zh-TW"),
        ("", "zh-CN", "zh-CN"),
        ("😀", None, "en"),
    ],
)
def test_a_text_is_answered_in_its_own_script(text, hint, lang):
    assert script_of(text, hint) == lang


@pytest.mark.parametrize(
    ("tag", "lang"),
    [
        ("zh", "zh-CN"), ("zh-hans", "zh-CN"), ("zh_TW", "zh-TW"), ("zh-HK", "zh-TW"), ("yue", "zh-TW"),
        ("en-GB", "en"), ("de", "en"), ("", None), (None, None),
    ],
)  # fmt: skip
def test_a_platforms_tag_means_one_of_three(tag, lang):
    assert lang_of(tag) == lang
