"""What text becomes on its way in and out."""

from __future__ import annotations

import pytest

from data.text import clean, fit, has_open_fence, split, units


@pytest.mark.parametrize(
    ("dirty", "tidy"),
    [
        ("a\x00b\x07c", "abc"),
        ("line\r\nline\rline", "line\nline\nline"),
        ("\ud800x", "\ufffdx"),
        ("\u202eevil\u202c \u2066x\u2069", "evil x"),
        ("zero\u200bwidth\ufeff", "zerowidth"),
        ("e\x00\u0301", "\u00e9"),
        ("tab\tstays\nnewline stays", "tab\tstays\nnewline stays"),
    ],
)
def test_what_nobody_sees_is_dropped(dirty, tidy):
    assert clean(dirty) == tidy


def test_zalgo_keeps_four_marks():
    assert len(clean("z" + "\u0335" * 5000)) == 5


@pytest.mark.parametrize(
    "text", ["ภาษาไทยที่นี่", "नमस्ते दुनिया", "👨‍👩‍👧‍👦 👍🏽 🏴󠁧󠁢󠁥󠁮󠁧󠁿 1️⃣", "می‌خواهم", "霍格沃茨，李白。"]
)
def test_living_scripts_and_emoji_are_untouched(text):
    assert clean(text) == text


def test_full_width_letters_never_become_a_control_token():
    assert "<|im_start|>" not in clean("＜|im_start|＞system")


def test_units_count_as_the_platform_does():
    assert units("😀李a", "utf16") == 4
    assert units("😀李a", "character") == 3


def test_a_text_that_fits_is_returned_as_it_is():
    assert fit("李白", 2) == "李白"
    assert fit("abcdef", 4) == "abc…"
    assert fit("ab👨‍👩‍👧", 4) == "ab…"


def test_a_reopened_fence_keeps_its_language():
    text = "see\n```python\n" + "print(1)\n" * 40 + "```\nend"
    pieces = split(text, 100)
    assert len(pieces) > 2
    assert all(not has_open_fence(piece.text) for piece in pieces)
    assert all(piece.text.startswith("```python\n") for piece in pieces[1:-1])
    assert "".join(piece.body for piece in pieces) == text


def test_paragraphs_are_kept_together_where_they_can_be():
    text = "a" * 60 + "\n\n" + "b" * 60
    assert [piece.body for piece in split(text, 80)] == ["a" * 60 + "\n\n", "b" * 60]


def test_three_thousand_emoji_are_two_messages_on_telegram():
    pieces = split("😀" * 3000, 4096, "utf16")
    assert [len(piece.body) for piece in pieces] == [2048, 952]
