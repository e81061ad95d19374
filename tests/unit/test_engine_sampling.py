"""Which token comes next, and when a reply only repeats itself."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from engine.protocol import Sampling
from engine.sampling import choose, is_loop, uniform

LOGITS = torch.tensor([1.0, 3.0, 2.0, -1.0])
NONE = torch.tensor([], dtype=torch.int64)
EVEN = Sampling(temperature=1.0, top_p=1.0, top_k=0, repetition_penalty=1.0, seed=0)


def draws(sampling: Sampling, count: int = 4000) -> list[float]:
    taken = [choose(LOGITS, NONE, replace(sampling, seed=s), step=0) for s in range(count)]
    return [taken.count(token) / count for token in range(4)]


def test_temperature_nought_takes_the_likeliest():
    assert choose(LOGITS, NONE, replace(EVEN, temperature=0.0), step=0) == 1


def test_draws_follow_the_distribution():
    assert draws(EVEN) == pytest.approx(LOGITS.softmax(0).tolist(), abs=0.03)


def test_a_low_temperature_sharpens():
    assert draws(replace(EVEN, temperature=0.5)) == pytest.approx(
        (LOGITS / 0.5).softmax(0).tolist(), abs=0.03
    )


def test_top_k_and_top_p_leave_the_tail_out():
    assert draws(replace(EVEN, top_k=2), 500)[0::3] == [0, 0]
    assert draws(replace(EVEN, top_p=0.5), 200) == [0, 1, 0, 0]
    # Token 1 alone holds .66: the next one is needed to reach .8, and no third.
    assert draws(replace(EVEN, top_p=0.8), 500)[0::3] == [0, 0]


def test_the_penalty_lowers_what_was_said_and_no_other():
    greedy = replace(EVEN, temperature=0.0, repetition_penalty=2.0)
    assert choose(LOGITS, torch.tensor([1, 1]), greedy, step=0) == 2
    assert choose(-LOGITS, torch.tensor([3]), greedy, step=0) == 3


def test_noise_depends_on_seed_and_step_alone():
    assert uniform(7, 3) == uniform(7, 3)
    assert len({uniform(s, t) for s in range(30) for t in range(30)}) == 900
    assert all(0 <= uniform(s, 0) < 1 for s in range(-5, 500))


def test_a_loop_is_a_short_pattern_for_long():
    assert is_loop([5] * 48)
    assert is_loop([9, 9, *([1, 2, 3] * 16)])
    assert not is_loop([5] * 40)
    assert not is_loop([*range(24), *range(24)])
    assert not is_loop([*([1, 2, 3] * 15), 1, 2, 4])
