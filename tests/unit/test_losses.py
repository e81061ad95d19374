"""The losses by hand; that they equal TRL's is shown in tests/e2e/test_losses_oracle.py."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from training.losses import balance, completion_log_probs, dpo, kto, kto_kl, likelihood, metrics

BETA = 0.1
NO_KL = torch.tensor(0.0)


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def kto_of(policy, reference, is_good, *, weights=None, kl=NO_KL, desirable=1.0, undesirable=1.0):
    return kto(
        policy,
        reference,
        torch.tensor(is_good, dtype=torch.bool),
        torch.ones(len(policy)) if weights is None else torch.tensor(weights),
        kl,
        beta=BETA,
        desirable=desirable,
        undesirable=undesirable,
    )


class TestKTO:
    def test_where_nothing_was_learnt_every_row_costs_half_its_weight(self):
        same = torch.tensor([-12.0, -3.0, -40.0])
        loss = kto_of(same, same, [True, False, True], weights=[1.0, 0.9, 0.5])
        assert loss.item() == pytest.approx(0.5 * (1.0 + 0.9 + 0.5) / 3)

    def test_the_loss_is_the_papers(self):
        loss = kto_of(
            torch.tensor([-10.0, -20.0]),
            torch.tensor([-14.0, -19.0]),
            [True, False],
            kl=torch.tensor(0.5),
            desirable=1.25,
            undesirable=2.0,
        )
        good = 1.25 * (1 - sigmoid(BETA * (4.0 - 0.5)))
        bad = 2.0 * (1 - sigmoid(BETA * (0.5 + 1.0)))
        assert loss.item() == pytest.approx((good + bad) / 2)

    def test_good_replies_are_pushed_up_and_bad_ones_down(self):
        policy = torch.tensor([-5.0, -5.0], requires_grad=True)
        kto_of(policy, torch.tensor([-5.0, -5.0]), [True, False]).backward()
        assert policy.grad[0] < 0 < policy.grad[1]

    def test_a_row_and_the_same_row_with_its_label_flipped_cost_one_together(self):
        policy, reference = torch.tensor([-7.0]), torch.tensor([-30.0])
        together = kto_of(policy, reference, [True]) + kto_of(policy, reference, [False])
        assert together.item() == pytest.approx(1.0)

    def test_a_row_of_no_weight_moves_nothing(self):
        policy = torch.tensor([-5.0, -9.0, -2.0], requires_grad=True)
        kto_of(policy, torch.zeros(3), [True, True, False], weights=[1.0, 0.0, 0.0]).backward()
        assert policy.grad[0] != 0
        assert policy.grad[1:].tolist() == [0.0, 0.0]

    def test_a_row_far_off_the_reference_costs_no_nan(self):
        policy = torch.tensor([-4000.0, 4000.0], requires_grad=True)
        loss = kto_of(policy, torch.zeros(2), [True, False])
        loss.backward()
        assert loss.item() == pytest.approx(1.0)
        assert torch.isfinite(policy.grad).all()

    def test_no_rows_cost_nothing(self):
        assert kto_of(torch.zeros(0), torch.zeros(0), []).item() == 0


class TestKL:
    def test_it_is_the_mean_of_the_batch(self):
        assert kto_kl(torch.tensor([-5.0, -9.0]), torch.tensor([-8.0, -10.0])).item() == 2.0

    def test_it_is_never_negative(self):
        assert kto_kl(torch.tensor([-50.0, -9.0]), torch.tensor([-8.0, -10.0])).item() == 0

    def test_one_batch_is_clamped_as_a_whole_and_not_row_by_row(self):
        assert kto_kl(torch.tensor([-11.0, -6.0]), torch.tensor([-8.0, -10.0])).item() == 0.5

    def test_it_carries_no_gradient(self):
        policy = torch.tensor([-5.0, -9.0], requires_grad=True)
        assert not kto_kl(policy, torch.tensor([-8.0, -10.0])).requires_grad

    def test_no_rows_have_left_nothing(self):
        assert kto_kl(torch.zeros(0), torch.zeros(0)).item() == 0


class TestDPO:
    CHOSEN, REJECTED = torch.tensor([-10.0, -4.0]), torch.tensor([-12.0, -3.0])
    BEFORE_CHOSEN, BEFORE_REJECTED = torch.tensor([-11.0, -9.0]), torch.tensor([-9.0, -3.0])

    def loss(self, *, smoothing=0.0, flipped=False):
        chosen, rejected = (self.CHOSEN, self.BEFORE_CHOSEN), (self.REJECTED, self.BEFORE_REJECTED)
        first, second = (rejected, chosen) if flipped else (chosen, rejected)
        return dpo(first[0], second[0], first[1], second[1], beta=BETA, label_smoothing=smoothing).item()

    def test_where_nothing_was_learnt_a_pair_costs_log_two(self):
        loss = dpo(self.CHOSEN, self.REJECTED, self.CHOSEN, self.REJECTED, beta=BETA, label_smoothing=0.1)
        assert loss.item() == pytest.approx(math.log(2))

    def test_the_loss_is_the_papers(self):
        # Margins: (1 - -3) and (5 - 0).
        wanted = -(math.log(sigmoid(BETA * 4)) + math.log(sigmoid(BETA * 5))) / 2
        assert self.loss() == pytest.approx(wanted)

    def test_flipped_pairs_cost_their_margin_more(self):
        assert self.loss(flipped=True) - self.loss() == pytest.approx(BETA * (4 + 5) / 2)

    def test_smoothing_holds_so_many_pairs_for_flipped(self):
        wanted = 0.9 * self.loss() + 0.1 * self.loss(flipped=True)
        assert self.loss(smoothing=0.1) == pytest.approx(wanted)

    def test_smoothed_a_margin_can_be_too_wide(self):
        """Where one pair of ten may be wrong, the best margin is log 9, and beyond it the gradient turns."""
        chosen = torch.tensor([math.log(9) / BETA - 1, math.log(9) / BETA + 1], requires_grad=True)
        rest = torch.zeros(2)
        dpo(chosen, rest, rest, rest, beta=BETA, label_smoothing=0.1).backward()
        assert chosen.grad[0] < 0 < chosen.grad[1]

    def test_no_pairs_cost_nothing(self):
        none = torch.zeros(0)
        assert dpo(none, none, none, none, beta=BETA, label_smoothing=0.1).item() == 0


class TestLikelihood:
    def test_a_token_counts_the_same_in_long_and_short_completions(self):
        loss = likelihood(torch.tensor([-9.0, -1.0]), torch.tensor([3, 2]))
        assert loss.item() == pytest.approx(10 / 5)

    def test_nothing_to_learn_costs_nothing(self):
        assert likelihood(torch.zeros(0), torch.zeros(0, dtype=torch.int64)).item() == 0

    def test_log_probabilities_are_summed_by_sequence(self):
        shares = [[0.5, 0.25, 0.25], [0.1, 0.1, 0.8], [0.2, 0.2, 0.6], [0.3, 0.3, 0.4]]
        logits = torch.tensor(shares).log()
        found = completion_log_probs(
            logits, torch.tensor([0, 2, 1, -100]), torch.tensor([0, 0, 2, 0]), count=3
        )
        assert found.log_probs.tolist() == pytest.approx([math.log(0.5 * 0.8), 0.0, math.log(0.2)])
        assert found.tokens.tolist() == [2, 0, 1]

    def test_a_long_completion_is_summed_exactly_from_bf16_logits(self):
        logits = torch.zeros(2000, 7, dtype=torch.bfloat16)
        places = torch.zeros(2000, dtype=torch.int64)
        found = completion_log_probs(logits, places, places, count=1)
        assert found.log_probs.item() == pytest.approx(-2000 * math.log(7), rel=1e-6)


class TestBalance:
    @given(st.integers(1, 5000), st.integers(1, 5000))
    @settings(max_examples=200, deadline=None)
    def test_the_good_weigh_one_to_four_thirds_of_the_bad(self, good, bad):
        desirable, undesirable = balance(good, bad)
        share = (desirable * good) / (undesirable * bad)
        assert 1 - 1e-9 <= share <= 4 / 3 + 1e-9
        assert min(desirable, undesirable) == 1.0

    def test_what_is_in_the_band_is_left_alone(self):
        assert balance(40, 30) == (1.0, 1.0)
        assert balance(30, 30) == (1.0, 1.0)

    def test_only_the_side_that_is_short_is_raised(self):
        assert balance(70, 30) == (1.0, pytest.approx(1.75))
        assert balance(30, 70) == (pytest.approx(7 / 3), 1.0)

    @pytest.mark.parametrize(("good", "bad"), [(0, 12), (12, 0), (0, 0)])
    def test_where_one_side_is_empty_both_weigh_one(self, good, bad):
        assert balance(good, bad) == (1.0, 1.0)


class TestMetrics:
    POLICY, REFERENCE = torch.tensor([-10.0, -20.0, -6.0]), torch.tensor([-12.0, -16.0, -6.0])

    def test_they_have_trls_names_and_meaning(self):
        found = metrics(
            self.POLICY,
            self.REFERENCE,
            torch.tensor([True, False, True]),
            beta=BETA,
            kl=torch.tensor(0.25),
        )
        assert found == pytest.approx(
            {
                "rewards/chosen": 0.1,
                "rewards/rejected": -0.4,
                "rewards/margins": 0.5,
                "logps/chosen": -8.0,
                "logps/rejected": -20.0,
                "kl": 0.25,
            }
        )

    def test_a_batch_of_one_label_has_no_margin(self):
        found = metrics(self.POLICY, self.REFERENCE, torch.tensor([True, True, True]), beta=BETA)
        assert set(found) == {"rewards/chosen", "logps/chosen"}
