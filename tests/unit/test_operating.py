"""How often equal and worse challengers pass, at the sizes of the project's sets and at others."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.fakes.measured import guard_of, measured, voted, with_guard
from training import operating
from training.gate import MARGINS, Rules
from training.measures import GUARDS, Lengths
from training.operating import characteristic, items_needed, normal_interval, normal_preference
from training.stats import paired_interval, preference_interval

RULES = Rules()


def zero_one(random, name, items, right, churn):
    """Scores of 0 or 1 of which ``churn`` change, half of them either way."""
    champion = random.random(items) < right
    lot = random.random(items)
    flips = np.where(champion, lot < churn / 2 / right, lot < churn / 2 / (1 - right))
    return guard_of(name, champion, champion ^ flips)


@pytest.fixture(name="found", scope="module")
def _found():
    return characteristic(measured(), RULES, resamplings=1000)


def test_an_equal_challenger_passes_all_guards_in_eighty_of_a_hundred_cases(found):
    assert found.equal_passes_guards >= 0.8


@pytest.mark.parametrize("name", GUARDS)
def test_one_five_points_worse_passes_that_guard_in_five_of_a_hundred_at_most(found, name):
    assert found.worse_passes[name] <= 0.05


@pytest.mark.parametrize(
    "votes",
    [
        {"replies": 40, "conversations": 8},
        {"replies": 40, "conversations": 40},
        {"replies": 60, "conversations": 25, "lean": 2.0},
        {"replies": 200, "conversations": 60},
    ],
    ids=lambda votes: " ".join(f"{name} {value}" for name, value in votes.items()),
)
def test_an_equal_challenger_passes_the_whole_gate_in_five_of_a_hundred_at_most(votes):
    found = characteristic(measured(3, **votes), RULES, resamplings=1000)
    assert 0 < found.equal_passes_gate <= 0.05


def test_small_sets_of_zeros_and_ones_are_too_small_where_training_changes_much():
    """Why lore, retention, sycophancy and safety are graded."""
    random = np.random.default_rng(2)
    measures = measured()
    for name, items in (("lore", 544), ("sycophancy", 260), ("safety", 240)):
        measures = with_guard(measures, zero_one(random, name, items, 0.8, 0.05))
    found = characteristic(measures, RULES)
    assert found.equal_passes_guards < 0.4
    # They are still safe: too few items refuse the good, they do not let the bad pass.
    assert max(found.worse_passes.values()) <= 0.05


def test_too_wide_a_margin_lets_the_worse_pass():
    found = characteristic(measured(), Rules(margins={**MARGINS, "lore": 0.08}))
    assert found.worse_passes["lore"] > 0.9


def test_a_challenger_that_was_measured_as_worse_does_not_hide_how_the_gate_treats_an_equal_one():
    worse = characteristic(measured(worse=GUARDS), RULES)
    assert worse.equal_passes_guards >= 0.8


def test_the_rate_is_the_champions_own_where_it_sits_at_a_floor():
    at_floor = guard_of("repetition", [0] * 3 + [1] * 297, [0] * 3 + [1] * 297)
    found = characteristic(with_guard(measured(), at_floor), RULES)
    assert 0.4 < found.equal_passes_guards < 0.8


def test_nothing_passes_that_could_not_be_judged():
    measures = measured()
    unmeasured = characteristic(replace(measures, guards=measures.guards[1:]), RULES)
    assert unmeasured.equal_passes_guards == unmeasured.equal_passes_gate == 0
    assert "lore" not in unmeasured.worse_passes
    few = characteristic(replace(measures, held_out=measures.held_out[:39]), RULES)
    assert (few.equal_passes_guards >= 0.8, few.equal_passes_gate) == (True, 0)
    long = characteristic(replace(measures, lengths=Lengths(10, 30, 10)), RULES)
    assert long.equal_passes_gate == 0


def test_the_same_seed_gives_the_same_characteristic():
    measures = measured()
    assert characteristic(measures, RULES) == characteristic(measures, RULES)
    assert characteristic(measures, RULES, seed=8) != characteristic(measures, RULES)


@pytest.mark.parametrize("items", [240, 544, 1019])
@pytest.mark.parametrize("churn", [0.02, 0.05])
def test_normal_bounds_of_differences_are_the_bootstraps(items, churn):
    random = np.random.default_rng(items)
    coarse = np.where(random.random(items) < churn, random.choice([-1.0, 1.0], items), 0.0)
    for differences, near in ((coarse, 0.003), (random.normal(0, 0.1, items), 0.0005)):
        mean, low = normal_interval(differences)
        expected = paired_interval(list(differences))
        assert mean == pytest.approx(expected.mean)
        assert low == pytest.approx(expected.low, abs=near)


@pytest.mark.parametrize(("replies", "conversations"), [(40, 20), (60, 25), (200, 60)])
@pytest.mark.parametrize("lean", [0.0, 1.0])
def test_normal_bounds_of_a_preference_are_the_bootstraps(replies, conversations, lean):
    widths = []
    for seed in range(6):
        rows = voted(np.random.default_rng(seed), replies=replies, conversations=conversations, lean=lean)
        rewards, good = np.array([one.reward for one in rows]), np.array([one.is_good for one in rows])
        groups = [one.conversation_id for one in rows]
        found = normal_preference(rewards, good, np.unique(groups, return_inverse=True)[1])
        expected = preference_interval(rewards, good, groups, resamples=2000)
        assert found.mean == pytest.approx(expected.mean)
        widths.append((found.mean - found.low) / (expected.mean - expected.low))
    assert np.mean(widths) == pytest.approx(1, abs=0.12)


def test_a_preference_without_both_labels_is_unknown():
    found = normal_preference(np.array([0.1, 0.2]), np.array([True, True]), np.array([0, 1]))
    assert (found.mean, found.low, found.high) == (0.5, 0.0, 1.0)


def test_the_sizes_in_the_docstring_are_those_that_are_needed():
    rows = [line.split() for line in operating.__doc__.splitlines() if " points  " in line]
    assert len(rows) == 3
    for margin, _, *needed in rows:
        spreads = (0.01, 0.02, 0.03, 0.05, 0.1**2)
        assert [f"{items_needed(int(margin) / 100, spread):,}" for spread in spreads] == needed
