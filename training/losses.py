"""What votes, pairs and rewrites cost: pure functions of log-probabilities, in nats.

KTO on single thumbs (arXiv 2402.01306), DPO on pairs (arXiv 2305.18290, with the smoothing of Mitchell's
"conservative DPO"), likelihood on rewrites and replay. They equal TRL 1.16's, metric names too
(`tests/e2e/test_losses_oracle.py`); what TRL has not is a weight per row. Knows no model: ``policy`` is the
adapter in training and ``reference`` the one in production, each as the summed log-probability of a
completion, [rows], float32.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch.nn import functional

from training.dataset import IGNORED

__all__ = ["Completions", "balance", "completion_log_probs", "dpo", "kto", "kto_kl", "likelihood", "metrics"]

# The KTO paper's equation 8: all good rows together weigh between once and four thirds of all bad ones.
LEAST_GOOD, MOST_GOOD = 1.0, 4 / 3


@dataclass(frozen=True, slots=True)
class Completions:
    """Summed ``log_probs`` of each completion, [rows] float32, and its ``tokens``, [rows] int64."""

    log_probs: torch.Tensor
    tokens: torch.Tensor


def completion_log_probs(
    logits: torch.Tensor, targets: torch.Tensor, rows: torch.Tensor, *, count: int
) -> Completions:
    """Sums over each completion what the model gave to its tokens, and counts them.

    Args:
        logits: [places, vocabulary], of the places of a batch where something is predicted.
        targets: [places], the token predicted there; -100 counts for nothing.
        rows: [places], the sequence each place belongs to.
        count: how many sequences there are; one without places gets 0.
    """
    per_token = -functional.cross_entropy(logits.float(), targets, ignore_index=IGNORED, reduction="none")
    # In float64 it does not show in which order a GPU adds; float32 was off by 0.09 nats after 2,000 tokens.
    sums = per_token.new_zeros(count, dtype=torch.float64).index_add(0, rows, per_token.double())
    return Completions(
        sums.float(),
        targets.new_zeros(count).index_add(0, rows, (targets != IGNORED).to(targets.dtype)),
    )


def kto(
    policy: torch.Tensor,
    reference: torch.Tensor,
    is_good: torch.Tensor,
    weights: torch.Tensor,
    kl: torch.Tensor,
    *,
    beta: float,
    desirable: float,
    undesirable: float,
) -> torch.Tensor:
    """The weighted mean of 1 - sigmoid(beta (policy - reference - kl)), the inner sign turned for bad rows.

    Args:
        policy: with gradient.
        reference: without.
        is_good: [rows], bool.
        weights: [rows], how likely each label is right; the mean is over all rows, those of 0 too.
        kl: scalar, of `kto_kl`.
        beta: how dear it is to leave the reference.
        desirable: what each good row weighs besides, see `balance`.
        undesirable: what each bad row does.
    """
    gain = beta * (policy - reference - kl)
    regret = torch.sigmoid(torch.where(is_good, -gain, gain))
    return _mean(weights * torch.where(is_good, desirable, undesirable) * regret)


def kto_kl(policy_mismatched: torch.Tensor, reference_mismatched: torch.Tensor) -> torch.Tensor:
    """How far the policy has left the reference, in nats: never negative, without gradient, one per batch.

    Estimated, as in TRL, from mismatched pairs: each prompt of the batch with the completion of the row
    before it, the first with the last one's. A batch of one would measure its own reward instead.
    """
    return _mean((policy_mismatched - reference_mismatched).detach()).clamp(min=0)


def dpo(
    policy_chosen: torch.Tensor,
    policy_rejected: torch.Tensor,
    reference_chosen: torch.Tensor,
    reference_rejected: torch.Tensor,
    *,
    beta: float,
    label_smoothing: float,
) -> torch.Tensor:
    """The mean over pairs of -log sigmoid(beta margin); ``label_smoothing`` is the share held for flipped."""
    margin = beta * ((policy_chosen - reference_chosen) - (policy_rejected - reference_rejected))
    return _mean(
        -(1 - label_smoothing) * functional.logsigmoid(margin)
        - label_smoothing * functional.logsigmoid(-margin)
    )


def likelihood(log_probs: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """The negative log-likelihood in nats per token, over all tokens of the batch alike."""
    return -log_probs.sum() / tokens.sum().clamp(min=1)


def balance(good: float, bad: float) -> tuple[float, float]:
    """Weights of good and bad rows, so that the good weigh 1 to 4/3 of the bad in all.

    Only the side that is short is raised, and only into the band; where one is empty, nothing helps and both
    are 1. ``good`` and ``bad`` are counts or sums of row weights.
    """
    if not good or not bad:
        return 1.0, 1.0
    return max(1.0, LEAST_GOOD * bad / good), max(1.0, good / (MOST_GOOD * bad))


def metrics(
    policy: torch.Tensor,
    reference: torch.Tensor,
    is_good: torch.Tensor,
    *,
    beta: float,
    kl: torch.Tensor | None = None,
) -> Mapping[str, float]:
    """Means over good (chosen) and bad (rejected) rows, by TRL's names; a side without rows has no entry.

    Of pairs, both halves are given as rows.
    """
    log_probs = policy.detach()
    rewards = beta * (log_probs - reference)
    found: dict[str, float] = {}
    for side, rows in (("chosen", is_good), ("rejected", ~is_good)):
        if rows.any():
            found[f"rewards/{side}"] = rewards[rows].mean().item()
            found[f"logps/{side}"] = log_probs[rows].mean().item()
    if "rewards/chosen" in found and "rewards/rejected" in found:
        found["rewards/margins"] = found["rewards/chosen"] - found["rewards/rejected"]
    if kl is not None:
        found["kl"] = kl.item()
    return found


def _mean(losses: torch.Tensor) -> torch.Tensor:
    """The mean; 0 of nothing, where torch would spoil the whole step with a NaN."""
    return losses.sum() / max(losses.numel(), 1)
