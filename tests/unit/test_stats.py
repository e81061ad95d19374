"""Intervals for one look hold as often as they say, and sequences at all looks together."""

from __future__ import annotations

import math
import subprocess
import sys
import time
from functools import cache

import numpy as np
import pytest

from training.stats import (
    Interval,
    difference_sequence,
    paired_interval,
    preference_interval,
    rate_sequence,
    wilson,
)

LOOK_EVERY, LAST_LOOK = 20, 2000
LOOKS = range(LOOK_EVERY, LAST_LOOK + 1, LOOK_EVERY)
NEVER = 10 * LAST_LOOK


class TestWilson:
    @pytest.mark.parametrize(
        ("right", "asked", "low", "high"),
        [(14, 20, 0.48, 0.86), (35, 50, 0.56, 0.81), (140, 200, 0.63, 0.76)],
    )
    def test_it_has_the_published_values(self, right, asked, low, high):
        found = wilson(right, asked)
        assert found.mean == pytest.approx(0.7)
        assert found.low == pytest.approx(low, abs=0.006)
        assert found.high == pytest.approx(high, abs=0.006)

    def test_nothing_right_still_leaves_room_above(self):
        assert wilson(0, 10).low == pytest.approx(0, abs=1e-9)
        assert wilson(0, 10).high == pytest.approx(0.2775, abs=1e-4)
        assert wilson(10, 10).high == pytest.approx(1)

    def test_more_confidence_is_wider(self):
        assert wilson(14, 20, confidence=0.99).low < wilson(14, 20).low

    def test_nothing_asked_says_nothing(self):
        assert wilson(0, 0) == Interval(0.5, 0.0, 1.0)


class TestPairedInterval:
    @pytest.mark.parametrize("kinds", ["few", "many"])
    def test_it_agrees_with_the_normal_theory(self, kinds):
        draw = np.random.default_rng(1)
        values = draw.choice([-1.0, 0.0, 1.0], 1000, p=[0.1, 0.75, 0.15])
        if kinds == "many":
            values = draw.normal(0.05, 0.5, 1000)
        half = 1.6449 * values.std() / math.sqrt(1000)
        found = paired_interval(values.tolist())
        assert found.mean == pytest.approx(values.mean())
        assert found.low == pytest.approx(values.mean() - half, abs=0.08 * half)
        assert found.high == pytest.approx(values.mean() + half, abs=0.08 * half)

    def test_one_in_twenty_lower_bounds_is_above_the_truth(self):
        draw = np.random.default_rng(2)
        truth = 0.05
        sets = draw.choice([-1.0, 0.0, 1.0], (600, 300), p=[0.1, 0.75, 0.15])
        missed = sum(paired_interval(one, resamples=1000).low > truth for one in sets.tolist())
        assert 0.03 < missed / 600 < 0.075

    def test_repeats_of_one_conversation_are_not_news(self):
        values = np.random.default_rng(3).normal(0.1, 1, 60)
        repeated, groups = np.repeat(values, 10).tolist(), [f"c{n}" for n in range(60) for _ in range(10)]
        alone, together = paired_interval(values.tolist()), paired_interval(repeated, groups=groups)
        assert together.low == pytest.approx(alone.low, abs=0.01)
        assert paired_interval(repeated).low > alone.low + 0.1

    def test_groups_of_unlike_size_weigh_by_their_items(self):
        found = paired_interval([1.0, 1.0, 1.0, -1.0], groups=["a", "a", "a", "b"])
        assert found == Interval(0.5, -1.0, 1.0)

    def test_the_same_seed_gives_the_same_bounds(self):
        values = np.random.default_rng(4).normal(size=200).tolist()
        assert paired_interval(values) == paired_interval(values)
        assert paired_interval(values) != paired_interval(values, seed=8)

    @pytest.mark.parametrize(("values", "groups"), [([], None), ([0.3], None), ([0.3, 0.4], ["c", "c"])])
    def test_one_unit_says_nothing_and_passes_no_gate(self, values, groups):
        found = paired_interval(values, groups=groups)
        assert (found.low, found.high) == (-math.inf, math.inf)

    @pytest.mark.parametrize("decimals", [0, 9])
    def test_a_thousand_items_are_drawn_ten_thousand_times_in_a_blink(self, decimals):
        values = np.random.default_rng(5).normal(size=1000).round(decimals).tolist()
        paired_interval(values, resamples=10)
        began = time.process_time()
        paired_interval(values)
        assert time.process_time() - began < 1  # 0.02 and 0.26 s, and as much again for a busy machine


class TestPreferenceInterval:
    def test_it_is_how_often_the_good_reply_wins(self):
        rewards, is_good = [3.0, 1.0, 2.0, 1.0], [True, True, False, False]
        assert preference_interval(rewards, is_good, list("abcd")).mean == 2.5 / 4

    def test_it_agrees_with_hanley_and_mcneil(self):
        draw = np.random.default_rng(6)
        is_good = np.arange(500) < 350
        rewards = draw.normal(size=500) + 0.8 * is_good
        found = preference_interval(rewards.tolist(), is_good.tolist(), [str(n) for n in range(500)])
        area = found.mean
        first, second = area / (2 - area), 2 * area * area / (1 + area)
        variance = area * (1 - area) + 349 * (first - area**2) + 149 * (second - area**2)
        half = 1.6449 * math.sqrt(variance / (350 * 150))
        assert area == pytest.approx(0.714, abs=0.03)  # of normals 0.8 apart
        assert found.low == pytest.approx(area - half, abs=0.25 * half)
        assert found.high == pytest.approx(area + half, abs=0.25 * half)

    def test_chance_is_inside_where_rewards_mean_nothing(self):
        draw = np.random.default_rng(7)
        inside = 0
        for _ in range(200):
            is_good, groups = draw.random(80) < 0.7, [f"c{n}" for n in draw.integers(0, 40, 80)]
            rewards = draw.normal(size=80).tolist()
            found = preference_interval(rewards, is_good.tolist(), groups, resamples=500)
            inside += found.low <= 0.5 <= found.high
        assert 0.84 <= inside / 200 <= 0.96

    def test_one_chatty_conversation_does_not_settle_it(self):
        rewards = [float(n % 2) for n in range(100)] + [0.0, 1.0] * 3
        is_good = [n % 2 == 1 for n in range(100)] + [True, False] * 3
        groups = ["chatty"] * 100 + list("aabbcc")
        assert preference_interval(rewards, is_good, [str(n) for n in range(106)]).low > 0.8
        assert preference_interval(rewards, is_good, groups).low < 0.5

    @pytest.mark.parametrize("is_good", [[True] * 3, [False] * 3, []])
    def test_one_label_says_nothing(self, is_good):
        rewards = [0.1, 0.2, 0.3][: len(is_good)]
        assert preference_interval(rewards, is_good, ["c"] * len(is_good)) == Interval(0.5, 0.0, 1.0)

    def test_one_conversation_says_nothing(self):
        found = preference_interval([2.0, 1.0], [True, False], ["c", "c"])
        assert found == Interval(1.0, 0.0, 1.0)

    def test_five_hundred_replies_take_no_two_seconds(self):
        draw = np.random.default_rng(8)
        is_good = (draw.random(500) < 0.7).tolist()
        began = time.process_time()
        preference_interval(draw.normal(size=500).tolist(), is_good, [f"c{n}" for n in range(500)])
        assert time.process_time() - began < 2


def peeked(worse_by: float, runs: int, seed: int) -> list[tuple[int, int]]:
    """When the sequence, and when plain z, first called b worse; looks every 20 votes of a 70 % base."""
    draw = np.random.default_rng(seed)
    at = np.array(LOOKS) - 1
    ups_a = (draw.random((runs, LAST_LOOK)) < 0.7).cumsum(axis=1)[:, at]
    ups_b = (draw.random((runs, LAST_LOOK)) < 0.7 - worse_by).cumsum(axis=1)[:, at]
    return [
        (first(apart, ours, theirs), first(z_apart, ours, theirs))
        for ours, theirs in zip(ups_a.tolist(), ups_b.tolist(), strict=True)
    ]


def first(is_apart, ours, theirs):
    return next((n for n, a, b in zip(LOOKS, ours, theirs, strict=True) if is_apart(a, b, n)), NEVER)


def apart(a, b, n):
    found = difference_sequence(a, n, b, n)
    return found.low > 0 or found.high < 0


def z_apart(a, b, n):
    share_a, share_b = a / n, b / n
    variance = (share_a * (1 - share_a) + share_b * (1 - share_b)) / n
    return abs(share_a - share_b) > 1.96 * math.sqrt(variance)


class TestDifferenceSequence:
    def test_equal_arms_are_hardly_ever_called_apart_however_often_one_looks(self):
        """Plain z at the same looks of the same votes is wrong more often than once in four."""
        found = peeked(0.0, 1000, seed=9)
        assert sum(ours < NEVER for ours, _ in found) / 1000 <= 0.05
        assert sum(plain < NEVER for _, plain in found) / 1000 > 0.25

    @pytest.mark.parametrize(("worse_by", "within"), [(0.10, 450), (0.20, 200), (0.30, 100)])
    def test_a_worse_arm_is_found(self, worse_by, within):
        assert np.median([ours for ours, _ in peeked(worse_by, 300, seed=10)]) <= within

    def test_the_truth_stays_inside_where_arms_differ_in_size(self):
        draw = np.random.default_rng(11)
        missed = 0
        for _ in range(400):
            ups_a = (draw.random(1800) < 0.9).cumsum()[8::9].tolist()
            ups_b = (draw.random(200) < 0.8).cumsum().tolist()
            counts = enumerate(zip(ups_a, ups_b, strict=True), 1)
            bounds = (difference_sequence(a, 9 * n, b, n) for n, (a, b) in counts)
            missed += any(not found.low <= -0.1 <= found.high for found in bounds)
        assert missed / 400 <= 0.05

    def test_it_is_b_minus_a(self):
        found = difference_sequence(100, 1000, 300, 1000)
        assert found.mean == pytest.approx(0.2)
        assert 0.1 < found.low < found.mean < found.high < 0.3

    def test_a_first_vote_says_nothing(self):
        assert difference_sequence(1, 1, 0, 1) == Interval(-1.0, -1.0, 1.0)
        assert difference_sequence(0, 0, 5, 9) == Interval(0.0, -1.0, 1.0)


@cache
def bounds_of(bad: int, n: int) -> Interval:
    return rate_sequence(bad, n)


class TestRateSequence:
    @pytest.mark.parametrize("share", [0.003, 0.01, 0.1, 0.5, 0.9])
    def test_the_true_share_stays_inside_at_every_look(self, share):
        """By each side with 2.5 % at the most: half of what the confidence leaves."""
        bad = (np.random.default_rng(12).random((1000, 600)) < share).cumsum(axis=1)
        low = high = 0
        for row in bad.tolist():
            seen = [bounds_of(many, n) for n, many in enumerate(row, 1) if n % 5 == 0]
            low += any(one.low > share for one in seen)
            high += any(one.high < share for one in seen)
        assert low / 1000 <= 0.025
        assert high / 1000 <= 0.025

    def test_two_hundred_replies_show_a_share_grown_from_one_to_six_percent(self):
        draw = np.random.default_rng(13)

        def found(share):
            rows = (draw.random((1000, 200)) < share).cumsum(axis=1).tolist()
            crossed = [any(bounds_of(bad, n).low > 0.01 for n, bad in enumerate(row, 1)) for row in rows]
            return sum(crossed) / 1000

        assert found(0.06) > 0.9
        assert found(0.01) < 0.02

    def test_bad_and_good_mirror_each_other(self):
        bad, good = rate_sequence(30, 200), rate_sequence(170, 200)
        assert bad.low == pytest.approx(1 - good.high)
        assert bad.high == pytest.approx(1 - good.low)

    def test_nothing_bad_bounds_from_above(self):
        found = rate_sequence(0, 200)
        assert (found.mean, found.low) == (0, 0)
        assert 0.015 < found.high < 0.04

    def test_nothing_counted_says_nothing(self):
        assert rate_sequence(0, 0) == Interval(0.5, 0.0, 1.0)


def test_sequences_need_no_numpy():
    """The bot is installed without it."""
    code = (
        "import sys; sys.modules['numpy'] = None\n"
        "from training.canary import Arm, Rules, harm\n"
        "harm(Arm(100, 9, 1, {'slow': 5}), Arm(100, 9, 1, {'slow': 50}), Rules())"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
