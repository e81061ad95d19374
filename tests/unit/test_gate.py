"""Who may go live: not worse on any guard, better by held-out votes, and in words a moderator can read."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from tests.fakes.measured import REPLIES, REPLIES_ASKED, guard_of, measured, voted, with_guard
from training.gate import MARGINS, Rules, judge, report
from training.measures import GUARDS, Changed, Lengths

RULES = Rules()


def failed(measures, rules=RULES):
    return [check.name for check in judge(measures, rules).failed]


def check_of(measures, name, rules=RULES):
    return next(check for check in judge(measures, rules).checks if check.name == name)


def replies(name, *, before, after, asked=300):
    """So many bad replies before and after, no item bad twice."""
    numbers = np.arange(asked)
    return guard_of(name, numbers >= before, (numbers < before) | (numbers >= before + after))


@pytest.fixture(name="better", scope="module")
def _better():
    return measured(lean=2.0)


def test_as_good_everywhere_and_better_by_votes_passes(better):
    verdict = judge(better, RULES)
    assert verdict.passed
    assert [check.name for check in verdict.checks] == [*GUARDS, "votes", "length"]
    assert all(check.low > -check.margin for check in verdict.checks[:-1])


@pytest.mark.parametrize("name", GUARDS)
def test_five_points_worse_on_one_guard_is_refused_for_that_guard(name):
    assert failed(measured(lean=2.0, worse=(name,))) == [name]


@pytest.mark.parametrize("name", GUARDS)
def test_a_guard_that_is_missing_or_empty_is_refused_by_its_name(better, name):
    absent = replace(better, guards=tuple(guard for guard in better.guards if guard.name != name))
    for measures in (absent, with_guard(better, guard_of(name, [], []))):
        assert failed(measures) == [name]
        assert check_of(measures, name).sentence.startswith(f"{name} was not measured")


def test_a_guard_of_too_few_items_proves_nothing(better):
    few = with_guard(better, guard_of("safety", [1] * 99, [1] * 99))
    assert "was asked 99 items; 1 more are needed" in check_of(few, "safety").sentence
    assert not check_of(few, "safety").passed
    assert check_of(with_guard(better, guard_of("safety", [1] * 100, [1] * 100)), "safety").passed


@pytest.mark.parametrize(
    ("name", "before", "after", "passes"),
    [
        ("language", 3, 6, True),
        ("language", 3, 7, False),
        ("language", 12, 11, True),
        ("language", 12, 24, False),
        ("repetition", 0, 1, True),
        ("repetition", 3, 4, False),
        ("repetition", 6, 4, False),
    ],
)
def test_a_floor_holds_and_only_languages_is_waived_where_the_champion_is_below(
    better, name, before, after, passes
):
    asked = 900 if before == 12 and passes else 300
    guard = replies(name, before=before * asked // 300, after=after * asked // 300, asked=asked)
    assert check_of(with_guard(better, guard), name).passed is passes


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (lambda rows: rows[:28], "12 more held-out votes are needed for a verdict: 28 of 40 are there."),
        (lambda rows: [], "40 more held-out votes"),
        (
            lambda rows: [replace(one, is_good=True) for one in rows],
            "8 more held-out replies that were not liked",
        ),
        (
            lambda rows: [replace(one, is_good=False) for one in rows],
            "8 more held-out replies that were liked",
        ),
        (
            lambda rows: [replace(one, conversation_id=f"c{number % 4}") for number, one in enumerate(rows)],
            "2 more conversations with held-out votes are needed for a verdict: 4 of 6 are there.",
        ),
    ],
    ids=["few", "none", "all liked", "none liked", "few conversations"],
)
def test_votes_that_are_too_few_for_a_verdict_say_how_many_are_missing(better, rows, says):
    measures = replace(better, held_out=tuple(rows(list(better.held_out))))
    assert failed(measures) == ["votes"]
    assert check_of(measures, "votes").sentence.startswith(says)


@pytest.mark.parametrize(
    "reward",
    [
        lambda one: 0.0,
        lambda one: 0.3,
        lambda one: -one.reward,
        lambda one: -1.0 if one.is_good else 1.0,
    ],
    ids=["nothing learnt", "everything likelier", "rewards turned round", "all votes flipped"],
)
def test_rewards_that_do_not_follow_the_votes_are_refused(better, reward):
    held_out = tuple(replace(one, reward=reward(one)) for one in better.held_out)
    assert failed(replace(better, held_out=held_out)) == ["votes"]


def test_all_votes_flipped_do_not_pass(better):
    """The challenger learnt the taste that is not the one it is judged by."""
    held_out = tuple(replace(one, is_good=not one.is_good) for one in better.held_out)
    assert failed(replace(better, held_out=held_out)) == ["votes"]


@pytest.mark.parametrize(
    ("letters", "lean", "expected"),
    [
        (45.0, 2.0, []),
        (16.0, 2.0, []),
        (60.0, 2.0, []),
        (61.0, 2.0, ["length"]),
        (14.0, 2.0, ["length"]),
        (37.0, 0.0, ["votes"]),
        (38.0, 0.0, ["votes", "length"]),
        (22.0, 0.0, ["votes", "length"]),
    ],
)
def test_a_length_may_follow_the_votes_inside_the_band_and_without_them_stays(
    better, letters, lean, expected
):
    held_out = voted(np.random.default_rng(1), lean=lean)
    measures = replace(better, held_out=held_out, lengths=Lengths(30, 30, letters))
    assert failed(measures) == expected


def test_the_band_is_around_the_first_version_so_that_lengths_cannot_creep(better):
    assert failed(replace(better, lengths=Lengths(20, 36, 43))) == ["length"]


def test_rules_are_what_the_operator_sets(better):
    guard = guard_of("lore", [0.8] * 500, [0.77] * 500)
    measures = with_guard(better, guard)
    assert failed(measures) == ["lore"]
    assert failed(measures, Rules(margins={**MARGINS, "lore": 0.04})) == []
    assert failed(better, Rules(preference_bound=0.99)) == ["votes"]


@pytest.mark.parametrize(("lean", "replies", "passes"), [(0.0, 60, True), (-3.0, 60, False), (0.0, 20, True)])
def test_what_need_not_be_better_must_not_be_clearly_worse(better, lean, replies, passes):
    held_out = voted(np.random.default_rng(3), replies=replies, lean=lean)
    measures = replace(better, held_out=held_out)
    rules = Rules(must_improve=False)
    assert failed(measures, rules) == ([] if passes else ["votes"])
    assert failed(measures) == ["votes"]
    longer = replace(measures, lengths=Lengths(30, 30, 40))
    assert "length" in failed(longer, rules), "nobody asked for longer replies"


def drawn(seed):
    """Champion and challenger equally good, both by luck where replies are generated."""
    random, measures = np.random.default_rng(seed), measured(seed)
    for name, bad in REPLIES.items():
        champion, challenger = random.random((2, REPLIES_ASKED)) > bad / REPLIES_ASKED
        measures = with_guard(measures, guard_of(name, champion, challenger))
    return measures


def test_equal_challengers_pass_the_guards_mostly_and_the_gate_hardly_ever():
    """The bootstrap itself, on independent worlds: what `training.operating` claims with normal bounds."""
    verdicts = [judge(drawn(seed), RULES) for seed in range(20)]
    guards = [all(check.passed for check in verdict.checks if check.name in GUARDS) for verdict in verdicts]
    assert sum(guards) >= 16
    assert sum(verdict.passed for verdict in verdicts) <= 2


def test_the_report_names_each_failed_check_and_why(better):
    worse = measured(worse=("lore", "character"), lengths=Lengths(30, 30, 70))
    verdict = judge(worse, RULES)
    assert [check.name for check in verdict.failed] == ["lore", "character", "votes", "length"]
    page = report(verdict, worse)
    for check in verdict.failed:
        assert f"- {check.sentence}" in page
        assert any(f"({check.name})" in line and "**not passed**" in line for line in page.splitlines())
    assert "**Not passed (lore, character, votes, length):** the present version stays" in page
    assert page.count("| passed |") == 5


def test_the_reports_table_says_before_after_worst_and_bound(better):
    guard = guard_of("lore", [0.8] * 500, [0.79] * 500)
    page = report(judge(with_guard(better, guard), RULES), better)
    assert "| facts of the persona's world (lore) | 80.0 % | 79.0 % | 79.0 % | 78.0 % | passed |" in page
    assert "| letters of a reply (length) | 30 | 31 | – | 15 to 60 | passed |" in page


def test_the_report_of_something_unmeasured_shows_no_figures(better):
    measures = replace(better, guards=better.guards[1:], held_out=better.held_out[:30])
    page = report(judge(measures, RULES), measures)
    assert "(lore) | – | – | – | – | **not passed** |" in page
    assert "(votes) | 50.0 % | 50.0 % | unknown | 50.0 % | **not passed** |" in page


@pytest.mark.parametrize(
    ("mode", "says"), [("auto", "goes to a first share of"), ("approve", "waits for a moderator to approve")]
)
def test_the_conclusion_says_what_happens_next(better, mode, says):
    assert says in report(judge(better, Rules(mode=mode)), better)


def test_never_wrong_answers_that_changed_are_told_one_by_one_and_stop_nothing(better):
    changes = (
        Changed("born", "你哪年出生？", "701年", "702年"),
        Changed("owl", "What was\nyour owl called?", "Hedwig", "Errol"),
    )
    measures = replace(better, never_wrong=changes)
    verdict = judge(measures, RULES)
    assert verdict.passed
    page = report(verdict, measures)
    assert "- 你哪年出生？ (born): “701年” became “702年”." in page
    assert "- What was your owl called? (owl): “Hedwig” became “Errol”." in page
    assert "never be wrong" not in report(verdict, better)


def test_importing_the_gate_needs_neither_torch_nor_numpy():
    code = "import sys, training.gate; sys.exit(bool({'torch', 'numpy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
