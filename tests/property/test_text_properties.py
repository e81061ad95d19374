"""Splitting and cleaning hold for the nastiest texts."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.text import Unit, clean, has_open_fence, split, units

NASTY = [
    "a", " ", "\n", "\n\n", "```", "```py\n", "~~~", "`", "李", "。", "，", "😀", "👨‍👩‍👧‍👦", "👍🏽", "🇨🇳",
    "e", "\u0301", "\u0335", "\x00", "\u200d", "\u0958", "\u1100", "\u1161", "\u11a8", "\u202e", "\ufe0f",
    "```" + "x" * 90, "`" * 40, "\u0344", "1️⃣", "\ud800", "\u200b",
]  # fmt: skip
texts = st.lists(st.sampled_from(NASTY), max_size=120).map("".join)


@given(texts)
@settings(max_examples=400, deadline=None)
def test_cleaning_twice_is_cleaning_once(text):
    once = clean(text)
    assert clean(once) == once
    once.encode("utf-8")


@given(texts, st.integers(64, 140), st.sampled_from(["utf16", "character"]))
@settings(max_examples=400, deadline=None)
def test_a_split_loses_nothing_and_every_part_fits(text: str, limit: int, unit: Unit):
    pieces = split(text, limit, unit)
    assert "".join(piece.body for piece in pieces) == text
    assert all(units(piece.text, unit) <= limit for piece in pieces)
    assert all(piece.body for piece in pieces) or not text
    assert all(not has_open_fence(piece.text) for piece in pieces[:-1])


@given(st.lists(st.sampled_from(["😀", "👍🏽", "🇨🇳", "李", "e\u0301", "👨‍👩‍👧‍👦"]), max_size=120))
@settings(max_examples=200, deadline=None)
def test_no_character_that_a_reader_sees_is_cut(characters):
    bodies = [piece.body for piece in split("".join(characters), 64, "utf16")]
    left = list(characters)
    for body in bodies:
        taken = ""
        while len(taken) < len(body):
            taken += left.pop(0)
        assert taken == body


@given(texts, texts, st.integers(64, 100))
@settings(max_examples=300, deadline=None)
def test_parts_already_shown_do_not_change_while_the_reply_grows(text, more, limit):
    text, whole = clean(text), clean(text) + clean(more)
    before, after = split(text, limit), split(whole, limit)
    for early, late in zip(before[:-2], after, strict=False):
        assert early == late


@pytest.mark.parametrize("size", [100_000])
def test_a_hundred_kilobytes_are_split_quickly(size):
    pieces = split("李白" * (size // 2), 2000)
    assert sum(len(piece.body) for piece in pieces) == size
