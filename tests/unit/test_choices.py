"""Which option a model prefers, and what a broken line of a set says."""

from __future__ import annotations

import pytest

from training.choices import preferred, read_choices
from training.copying import Case, is_copied, read_cases
from training.errors import CorpusBroken
from training.offlist import OffList


def test_the_option_wins_that_is_likeliest_for_its_length():
    assert preferred(["short", "a much longer option"], [-5.0, -12.0]) == 1
    assert preferred(["short", "a much longer option"], [-2.0, -12.0]) == 0
    # Three bytes a character: length is what the model has to say, not what is seen.
    assert preferred(["汤圆", "abcdef"], [-6.0, -6.1]) == 0


@pytest.mark.parametrize(
    ("read", "line", "reason"),
    [
        (
            read_choices,
            '{"id": "x", "lang": "en", "question": "q", "options": ["a"], "right": 1}',
            "right must",
        ),
        (read_choices, '{"id": "x"}', "options"),
        (
            read_cases,
            '{"id": "x", "lang": "en", "kind": "card", "lines": [], "question": "q", "value": "v"}',
            "kind must",
        ),
    ],
)
def test_a_broken_line_is_named_with_what_is_wrong(tmp_path, read, line, reason):
    path = tmp_path / "set.jsonl"
    path.write_text(f"\n{line}\n", encoding="utf-8")
    with pytest.raises(CorpusBroken, match=rf"set\.jsonl, line 2: .*{reason}.*; mend or remove the line"):
        read(path)


def test_a_value_is_copied_whatever_its_case():
    case = Case("a", "en", "lore", ("The mill is Brindlow.",), "the mill?", "Brindlow")
    assert is_copied(case, "It's BRINDLOW, of course.")
    assert not is_copied(case, "Brindle, I think.")


def test_a_reply_off_the_list_is_judged_by_what_it_is_nearest_to():
    judge = OffList(
        [
            ("XX-OFF-01", "That is Muggle magic to me."),
            ("XX-UN-02", "You never told me."),
            ("XX-HG-01", "Four of them: red, blue, green and yellow."),
        ]
    )
    assert judge.fit("That's Muggle magic to me, sorry.") == "fitting"
    assert judge.fit("Four of them: red, blue, green, yellow.") == "out of place"
    assert judge.fit("Four legs are better than a yellow one that nobody here can ride.") == "of its own"
