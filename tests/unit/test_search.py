"""Words and Han bigrams, and the ranking over them."""

from __future__ import annotations

import pytest

from data.search import Bm25, tokens


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("我爱李白的诗", ["我爱", "爱李", "李白", "白的", "的诗"]),
        ("月", ["月"]),
        ("Harry's owls", ["harry", "owl"]),
        ("Harry Potter 是谁", ["harry", "potter", "是谁"]),
        ("ＦＵＬＬ　ｗｉｄｔｈ", ["full", "width"]),
        ("742年，进京", ["742", "年", "进京"]),
        ("😀 ... !?", []),
        ("", []),
    ],
)
def test_text_is_cut_into_words_and_pairs_of_han_characters(text, found):
    assert tokens(text) == found


def test_a_name_inside_running_chinese_is_found():
    """A word border of a regular expression never finds it: Han characters are letters to Python."""
    index = Bm25([tokens("杜甫在洛阳"), tokens("我爱李白的诗"), tokens("今天下雨")])
    assert [number for number, _ in index.best(tokens("李白"), limit=3)] == [1]


def test_a_rare_word_says_more_than_a_frequent_one():
    documents = [["wine", "moon"], ["wine", "sword"], ["wine", "moon"], ["wine", "boat"]]
    index = Bm25(documents)
    assert index.best(["wine", "sword"], limit=1)[0][0] == 1
    assert index.rarity(1) > index.rarity(4)


def test_equal_scores_come_in_the_order_of_the_documents():
    index = Bm25([["moon"], ["moon"], ["moon"]])
    assert [number for number, _ in index.best(["moon"], limit=2)] == [0, 1]


def test_a_word_said_twice_in_the_question_counts_once():
    index = Bm25([["moon", "wine"], ["wine"]])
    assert index.scores(["moon", "moon"]) == index.scores(["moon"])


def test_unknown_words_and_an_empty_index_find_nothing():
    assert Bm25([]).best(["moon"], limit=3) == []
    assert Bm25([["moon"]]).best(["sun"], limit=3) == []
