"""What becomes of each thumb, and what a run still lacks."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import get_args

import pytest

from bot.next_run import FATES
from data.records import CastThumb
from training.eligibility import Fate, decide, is_held_out, lacking


def conversation(*, held_out):
    return next(f"c{number}" for number in range(1000) if is_held_out(f"c{number}") is held_out)


TALK, MEASURED = conversation(held_out=False), conversation(held_out=True)


def thumb(number, rater="ann", *, value=1, **more):
    values = {"conversation_id": TALK, "consent": "yes", "role": "user", "reason": None} | more
    values = {"guard": None, "messages": 3, "silent_others": 0} | values
    return CastThumb(number, f"r{number}", persona="li_bai", rater_hash=rater, value=value, **values)


def proven(rater="ann", many=14):
    """Thumbs with which a rater agreed with a moderator."""
    own = [thumb(number, rater) for number in range(1000, 1000 + many)]
    gold = [replace(one, rater_hash="moderator", role="moderator", id=one.id + 5000) for one in own]
    return [*own, *gold]


def fate(one, others=()):
    verdicts = decide([*proven(), one, *others])
    return next(verdict.fate for verdict in verdicts if verdict.thumb is one)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, "trains"),
        ({"conversation_id": MEASURED}, "held_out"),
        ({"consent": "vote"}, "counts_only"),
        ({"consent": "unasked"}, "unasked"),
        ({"consent": "no"}, "refused"),
        ({"consent": "no", "consumed": True}, "refused"),
        ({"consumed": True}, "consumed"),
        ({"consumed": True, "reason": "wrong_fact", "tries": 2}, "consumed"),
        ({"tries": 1}, "trains"),
        ({"tries": 2}, "tired"),
        ({"tries": 2, "conversation_id": MEASURED}, "held_out"),
        ({"tries": 2, "silent_others": 1}, "others_unasked"),
        ({"silent_others": 1}, "others_unasked"),
        ({"guard": "loop"}, "flagged"),
        ({"reason": "wrong_fact", "value": -1}, "wrong_fact"),
        ({"value": -1}, "unsure"),
        ({"rater_hash": "stranger"}, "trains"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value) or "agreed",
)
def test_the_first_reason_that_applies_is_the_fate(change, expected):
    one = replace(thumb(1), **change)
    found = fate(one)
    if "rater_hash" in change:
        # A stranger's single thumb passes only at the base rate that the proven votes made.
        assert found in {"trains", "unsure"}
    else:
        assert found == expected


def test_what_moderators_say_settles_and_their_quarrel_waits():
    against = replace(thumb(1, "moderator", value=-1, role="moderator"), id=77)
    one = thumb(1)
    assert fate(one, [against]) == "outvoted"
    another = replace(thumb(1, "other", role="moderator"), id=78)
    assert fate(one, [against, another]) == "disputed"


def test_what_was_learnt_is_learnt_though_its_rater_is_over_the_cap_by_now():
    votes = [replace(thumb(number, "busy"), consumed=number % 2 == 0) for number in range(60)]
    fates = Counter(verdict.fate for verdict in decide([*votes, *proven("moderated")]))
    assert fates["consumed"] == 30
    assert 0 < fates["over_cap"] < 30


def test_what_was_learnt_still_tells_how_far_its_rater_can_be_trusted():
    learnt = [replace(one, consumed=True) for one in proven()]
    new = thumb(1)
    assert [verdict.fate for verdict in decide([*learnt, new])][-1] == "trains"


def test_what_was_learnt_is_no_row_of_the_next_run():
    verdicts = decide([replace(one, consumed=True) for one in proven(many=60)])
    assert lacking(verdicts)["rows"] == 50


def test_every_fate_has_its_words():
    assert set(FATES) == set(get_args(Fate))


def test_who_said_no_or_nothing_is_not_counted_and_who_said_only_the_vote_is():
    one = thumb(1, "newcomer")
    alone = decide([one])[0].good
    refused = decide([one, replace(thumb(1, "b", consent="no"), id=2)])[0].good
    counted = decide([one, replace(thumb(1, "b", consent="vote"), id=2)])[0].good
    silent = decide([one, replace(thumb(1, "b", consent="unasked"), id=2)])[0].good
    assert alone == refused == silent < counted


def test_about_fifteen_of_a_hundred_conversations_are_held_out_for_ever():
    held = [is_held_out(f"conversation {number}") for number in range(10_000)]
    assert 0.13 < sum(held) / len(held) < 0.17
    assert held == [is_held_out(f"conversation {number}") for number in range(10_000)]


def test_a_run_lacks_nothing_when_rows_raters_both_labels_and_a_hold_out_are_there():
    raters = [f"rater {number}" for number in range(6)]
    votes = []
    for number in range(120):
        is_up = number % 3 > 0
        talk = MEASURED if number < 45 else TALK
        votes.append(thumb(number, raters[number % 6], value=1 if is_up else -1, conversation_id=talk))
        votes.append(
            replace(thumb(number, "moderator", value=1 if is_up else -1, role="moderator"), id=number + 5000)
        )
    verdicts = decide(votes)
    assert lacking(verdicts) == {}
    few = lacking(verdicts[:200])
    assert set(few) <= {"rows", "ups", "downs", "raters", "held_out"}
    assert lacking([])["rows"] == 50


def test_the_thumb_of_who_never_talked_here_weighs_half():
    talker, voter = thumb(1, "talker"), thumb(2, "voter", messages=0)
    heard, doubted = (verdict.good for verdict in decide([talker, voter]))
    assert heard > doubted > 0.7
