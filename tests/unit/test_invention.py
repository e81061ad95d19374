"""Rows whose reply copies from the prompt come with another value each time."""

from __future__ import annotations

import random

import pytest

from personas.prompt import Turn
from training.corpus import Row
from training.invention import invented, letters_of, vary


def row(lang, fact, question, answer, **more):
    return Row(turns=(Turn(question, answer),), lang=lang, topic="t", facts=(fact,), **more)


HAN = row("zh-CN", "阿宝的猫叫汤圆。", "你家猫叫啥", "叫汤圆，又圆又懒。")
COUNT = row("en", "The lighthouse has 143 steps.", "how far up", "It is 143 of them, aye.")
NAME = row("en", "Her garden lies in Nettleby.", "where's your garden", "In Nettleby, behind the hedge.")
NOTHING = row("en", "The lighthouse has 143 steps.", "who painted it", "I do not know, friend.")


@pytest.mark.parametrize(("given", "value"), [(HAN, "汤圆"), (COUNT, "143"), (NAME, "Nettleby")])
def test_the_value_is_another_one_and_the_same_on_both_sides(given, value):
    for found in vary([given], times=5, seed=1):
        fact, answer = found.facts[0], found.turns[-1].assistant
        before, after = given.turns[-1].assistant.split(value)
        made_up = answer.removeprefix(before).removesuffix(after)
        assert made_up != value
        assert fact == given.facts[0].replace(value, made_up)
        assert answer == before + made_up + after


def test_a_row_that_copies_nothing_stays_as_it_is():
    assert vary([NOTHING], times=2, seed=1) == [NOTHING, NOTHING]


def test_values_differ_from_pass_to_pass_and_agree_for_one_seed():
    first, second = vary([COUNT], times=1, seed=1), vary([COUNT], times=1, seed=2)
    assert first != second
    assert first == vary([COUNT], times=1, seed=1)


def test_what_the_question_says_is_kept():
    asked = row("zh-CN", "阿宝住在灯笼街。", "你住灯笼街吗", "对，就在灯笼街，好找得很。")
    assert vary([asked], times=3, seed=1) == [asked] * 3


def test_made_up_han_values_stay_in_the_script_of_their_row():
    rows = [HAN, row("zh-TW", "阿寶的貓叫湯圓。", "你家貓叫啥", "叫湯圓，又圓又懶。")]
    letters = letters_of(rows)
    assert "汤" in letters["zh-CN"]
    assert "湯" not in letters["zh-CN"]
    found = invented(rows[1], letters["zh-TW"], random.Random(5))
    assert set(found.turns[-1].assistant) <= set(letters["zh-TW"]) | set("，。")


def test_lore_stands_among_other_lines_in_any_order():
    rows = [HAN, COUNT, NAME]
    found = [row for seed in range(20) for row in vary(rows, times=1, seed=seed) if row.lang == "en"]
    assert {len(row.facts) for row in found} == {1, 2}
    places = {
        at
        for row in found
        if row.turns[-1].user == NAME.turns[-1].user
        for at, fact in enumerate(row.facts)
        if fact.startswith("Her garden")
    }
    assert places == {0, 1}


def test_half_of_the_rows_without_a_card_get_one_of_the_cast():
    own = row("en", "Her garden lies in Nettleby.", "where", "In Nettleby.", card="You are Ada.")
    found = vary([NAME, own], times=200, seed=3, cards=["You are Harry."])
    bare = [each.card for each in found if each.turns[-1].user == NAME.turns[-1].user]
    assert 60 < bare.count("You are Harry.") < 140
    assert {each.card for each in found if each.turns[-1].user == "where"} == {"You are Ada."}
