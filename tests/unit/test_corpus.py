"""How rows are dealt: what belongs together, and in which script."""

from __future__ import annotations

from collections import Counter

from personas.prompt import Turn
from training.corpus import Row, in_both_scripts, piles, related
from training.dataset import Example, batches

LONGEST = 4


def _row(number: int, topic: str, *, exchanges: int = 1, lang: str = "zh-CN", card: str = "") -> Row:
    turns = tuple(Turn(f"问{number}.{at}", f"说{number}.{at}") for at in range(exchanges))
    return Row(turns=turns, lang=lang, topic=topic, card=card)


ROWS = [
    *(_row(number, "wand") for number in range(9)),
    *(_row(number, "owl", exchanges=3) for number in range(9, 14)),
    _row(14, "wand", lang="en"),
    _row(15, "wand", card="You are a baker."),
]


def test_related_chats_hold_one_topic_and_language_and_every_row_once():
    dealt = related(ROWS, longest=LONGEST, seed=1)
    assert Counter(id(row) for chat in dealt for row in chat) == Counter(id(row) for row in ROWS)
    for chat in dealt:
        assert len({(row.topic, row.lang) for row in chat}) == 1
        assert sum(len(row.turns) for row in chat) <= LONGEST
    assert [ROWS[-1]] in dealt


def test_related_chats_are_dealt_anew_by_the_seed():
    first, again, other = (related(ROWS, longest=LONGEST, seed=seed) for seed in (1, 1, 2))
    assert first == again != other


def test_piles_hold_one_language_and_every_row_once():
    dealt = piles(ROWS, longest=LONGEST, seed=1)
    assert Counter(id(row) for pile in dealt for row in pile) == Counter(id(row) for row in ROWS)
    assert {len(pile) for pile in dealt} <= set(range(1, LONGEST + 1))
    assert all(len({row.lang for row in pile}) == 1 for pile in dealt)


def test_a_step_has_its_size_and_of_short_examples_what_its_tokens_hold():
    short = [Example((1,) * 20, (1,) * 20) for _ in range(30)]
    long = [Example((2,) * 90, (2,) * 90) for _ in range(30)]
    groups = batches([*short, *long], size=4, seed=1, fill=200)
    assert Counter(id(each) for group in groups for each in group) == Counter(map(id, [*short, *long]))
    longest = max(len([each for each in group if len(each.ids) == 20]) for group in groups)
    assert longest == 10
    assert all(len(group) <= 4 for group in groups if max(len(each.ids) for each in group) == 90)


def test_a_share_of_simplified_rows_comes_in_traditional_characters():
    rows = [
        Row((Turn("你几岁了", "十七岁。"),), "zh-CN", "age", facts=("他十七岁。",), memory=("他叫陈龙。",)),
        Row((Turn("how old", "Seventeen."),), "en", "age"),
    ]
    chinese, english = in_both_scripts(rows, share=1, seed=0)
    assert (chinese.lang, chinese.turns) == ("zh-TW", (Turn("你幾歲了", "十七歲。"),))
    assert (chinese.facts, chinese.memory) == (("他十七歲。",), ("他叫陳龍。",))
    assert english == rows[1]
    assert in_both_scripts(rows, share=0, seed=0) == rows
