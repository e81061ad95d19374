"""What a person typed of themselves leaves a text; what only looks like it stays."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.scrub import scrub


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("write me: ann.lee+chat@mail.example.org please", "write me: [e-mail] please"),
        ("我的邮箱是abc@qq.example，记住", "我的邮箱是[e-mail]，记住"),
        ("see https://x.example/a?key=abc123 and go", "see [link] and go"),
        ("看这个https://x.example/a，好笑", "看这个[link]，好笑"),
        ("打我电话13812345678吧", "打我电话[phone]吧"),
        ("+86 138 1234 5678 any time", "[phone] any time"),
        ("手機 0912-345-678 找我", "手機 [phone] 找我"),
        ("call +44 20 7946 0958 now", "call [phone] now"),
        ("身份证11010519491231002X别外传", "身份证[identity]别外传"),
        ("13812345678@abc", "[phone][mention]"),
        ("card 4111 1111 1111 1111 exp", "card [card] exp"),
        ("server at 192.168.10.24", "server at [address]"),
        ("hey <@123456789012345678> and @someone", "hey [mention] and [mention]"),
        ("join discord.gg/abcDEF now", "join [invite] now"),
        ("key sk-abcdefghijklmnop1234 leaked", "key [token] leaked"),
        ("bot 123456789:AAabcdefghijklmnopqrstuvwxyz_123456 x", "bot [token] x"),
    ],
)
def test_what_a_person_typed_of_themselves_becomes_a_placeholder(text, expected):
    assert scrub(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "born in 1980, 150 points, 7+8=15",
        "公元762年，我六十二岁，写了九百多首诗",
        "the number 4111 1111 1111 1112 is no card",
        "身份证号110105194912310021末位不对",
        "version 1.2.3.4.5 and 300.1.1.1",
        "e = mc2 @ 5pm",
        "十三八一二三四五六七八",
        "",
    ],
)
def test_what_only_looks_like_it_stays(text):
    assert scrub(text) == text


@given(st.text(max_size=200))
def test_scrubbing_again_changes_nothing(text):
    once = scrub(text)
    assert scrub(once) == once


@given(st.text(alphabet="abc 你好，。!?'\n", max_size=80))
def test_plain_talk_is_left_alone(text):
    assert scrub(text) == text
