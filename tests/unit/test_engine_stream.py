"""Nothing half is ever shown: no half character, half tag or half stop string."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from engine.stream import Detokenizer, ReplyStream, StopStrings, ThinkFilter, held_suffix
from tests.fakes import tiny

HARD = "你好🦉 𠮷野家 e\u0301 👩‍👩‍👧 naïve <b>x</b>"


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    backend = tiny.tokenizer_for(tiny.CHATML).backend_tokenizer
    return Tokenizer.from_str(backend.to_str())


def pieces(text: str, cuts: list[int]) -> list[str]:
    places = sorted({cut % (len(text) + 1) for cut in cuts} | {0, len(text)})
    return [text[a:b] for a, b in pairwise(places)]


def test_every_piece_is_whole_characters(tokenizer):
    ids = tokenizer.encode(HARD, add_special_tokens=False).ids
    assert len(ids) > len(HARD) / 2
    stream = Detokenizer(tokenizer)
    shown = [stream.push(token) for token in ids]
    assert "".join(shown) == HARD
    assert not any("\ufffd" in text for text in shown)


def test_half_a_character_at_the_end_is_dropped(tokenizer):
    ids = tokenizer.encode("ab🦉", add_special_tokens=False).ids
    stream = ReplyStream(tokenizer)
    assert "".join(map(stream.push, ids[:-1])) + stream.finish() == "ab"


def test_bytes_that_are_no_text_never_show(tokenizer):
    half = tokenizer.encode("🐍", add_special_tokens=False).ids[:-1]
    assert half
    stream = Detokenizer(tokenizer)
    shown = "".join(stream.push(i) for i in [*half, *tokenizer.encode("ok", add_special_tokens=False).ids])
    assert shown == "ok"


@settings(max_examples=200, deadline=None)
@given(
    text=st.text(alphabet="<think>/ab\n", max_size=60) | st.just("a<think>x</think>b<think>y"),
    cuts=st.lists(st.integers(0, 200), max_size=12),
)
def test_thoughts_are_gone_however_the_text_is_cut(text, cuts):
    whole = ThinkFilter()
    expected = whole.push(text) + whole.finish()
    cut = ThinkFilter()
    assert "".join(cut.push(piece) for piece in pieces(text, cuts)) + cut.finish() == expected
    assert not re.search(r"<think>", expected)


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("<think>no</think>\n\nyes", "yes"),
        ("<think>never closed", ""),
        ("a <think>b</think> c", "a  c"),
        ("a < b and <thin", "a < b and <thin"),
        ("</think>\nyes", "yes"),
    ],
)
def test_what_is_left_of_thoughts(text, seen):
    stream = ThinkFilter()
    assert "".join(map(stream.push, text)) + stream.finish() == seen


def test_a_thought_that_the_template_opened():
    stream = ThinkFilter(inside=True)
    assert "".join(map(stream.push, "hm, well</think>\n\nHello")) + stream.finish() == "Hello"


@settings(max_examples=200, deadline=None)
@given(
    text=st.text(alphabet="abc", max_size=30),
    stop=st.text(alphabet="abc", min_size=1, max_size=4),
    cuts=st.lists(st.integers(0, 200), max_size=12),
)
def test_a_stop_string_cuts_where_find_would(text, stop, cuts):
    stream = StopStrings([stop])
    shown = "".join(stream.push(piece) for piece in pieces(text, cuts)) + stream.finish()
    assert stream.stopped == (stop in text)
    assert shown == text.partition(stop)[0]


def test_of_several_stop_strings_the_first_complete_one_ends_the_reply():
    stream = StopStrings(["abcd", "c"])
    assert "".join(map(stream.push, "xabcd")) == "xab"
    assert stream.stopped
    assert stream.push("more") + stream.finish() == ""


def test_only_what_could_become_a_stop_is_held_back():
    stream = StopStrings(["\nUser:"])
    assert stream.push("fine\nUs") == "fine"
    assert stream.push("ual") == "\nUsual"
    assert held_suffix("abc", ["cde"]) == 1
    assert held_suffix("abc", ["abc"]) == 0
