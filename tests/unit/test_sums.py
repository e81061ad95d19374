"""Written sums come with other numbers, and stay right."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.checks.duplicates import fold
from data.stopwords import is_sum
from personas.prompt import Turn
from training.corpus import Row, read_rows
from training.sums import redrawn

ROOT = Path(__file__).resolve().parents[2]
SIGNS = {"knocked over": -1, "turned up": 1}


def row(question, reply, lang="en"):
    return Row((Turn(question, reply),), lang, "t")


@given(seed=st.integers(0, 10_000), word=st.sampled_from(sorted(SIGNS)))
def test_the_result_is_that_of_the_new_numbers(seed, word):
    first, second = 12, 5
    result = first + SIGNS[word] * second
    given_row = row(
        f"there were {first} goblets and then {second} {word}, so how many", f"{result}, I'd say."
    )
    turn = redrawn(given_row, random.Random(seed)).turns[0]
    new_first, new_second = map(int, re.findall(r"\d+", turn.user))
    (new_result,) = map(int, re.findall(r"\d+", turn.assistant))
    assert new_result == new_first + SIGNS[word] * new_second
    assert 0 <= new_result <= 20
    assert word in turn.user


@pytest.mark.parametrize(
    ("question", "reply", "lang"),
    [
        ("7+8=?", "15, easy.", "en"),  # bare: with other numbers it could be anybody's question
        ("tell me truly what two things and two things make", "four.", "en"),  # plus or times?
        ("the tower has 142 steps, did you count them on day 3", "No.", "en"),
        ("how many brooms are left of twelve when five are gone", "Seven, or 7 if you like.", "en"),
    ],
)
def test_what_is_not_understood_or_has_no_wording_stays(question, reply, lang):
    given_row = row(question, reply, lang)
    found = redrawn(given_row, random.Random(1))
    if question.startswith("how many"):
        assert found is not given_row
    else:
        assert found is given_row


def test_numbers_keep_their_form():
    chinese = row("桌上原有三只杯子又添了九只现在总共几只", "十二只，我数过。", "zh-CN")
    english = row("Seven owls sit there and eight more come along, total?", "Fifteen. Noisy, too.")
    for seed in range(40):
        turn = redrawn(chinese, random.Random(seed)).turns[0]
        assert not re.search("[0-9A-Za-z]", turn.user + turn.assistant)
        assert "二只" not in turn.user.replace("十二只", "")
        turn = redrawn(english, random.Random(seed)).turns[0]
        assert turn.user[0].isupper()
        assert turn.assistant[0].isupper()
        assert not re.search("[0-9]", turn.user + turn.assistant)


def test_hundreds_of_our_own_rows_are_understood():
    rows = [
        found
        for slug in ("harry_potter", "li_bai")
        for found in read_rows(ROOT / "personas" / slug / "dialogues.jsonl")
        if is_sum(found.question)
    ]
    changed = sum(redrawn(found, random.Random(1)) is not found for found in rows)
    assert changed > 400


@given(seed=st.integers(0, 10_000))
def test_a_bare_sum_changes_only_where_held_out_questions_are_known_and_never_into_one(seed):
    bare = row("7+8=?", "15.")
    assert redrawn(bare, random.Random(seed)) is bare
    every = {fold(f"{first}+{second}=?") for first in range(21) for second in range(21)}
    avoided = frozenset(every - {fold("3+4=?")})
    found = redrawn(bare, random.Random(seed), avoided)
    assert found is bare or found.turns[0] == Turn("3+4=?", "7.")
    free = redrawn(bare, random.Random(seed), frozenset()).turns[0]
    first, second = map(int, re.findall(r"\d+", free.user))
    assert free.assistant == f"{first + second}."


def test_ten_times_ten_is_written_in_characters():
    product = row("请你替我把六和七乘起来得多少", "四十二，没错。", "zh-CN")
    said = {redrawn(product, random.Random(seed)).turns[0].assistant for seed in range(3000)}
    assert "一百，没错。" in said
