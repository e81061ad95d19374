"""Which token comes next; the same seed gives the same text, alone or beside others.

The noise of a step is a number counted from (seed, step), not drawn from a stateful generator: it does not
depend on what else runs, on the device or on batching.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor

from engine.protocol import Sampling

__all__ = ["choose", "is_loop", "uniform"]

# The end of a reply that only repeats itself: this many tokens with a period of at most PERIOD.
LOOP_TOKENS = 48
PERIOD = 16


def choose(logits: Tensor, seen: Tensor, sampling: Sampling, *, step: int) -> int:
    """The next token.

    Args:
        logits: [vocabulary], any float type and device.
        seen: [tokens], int64, ids of prompt and reply so far, for the repetition penalty.
        sampling: temperature 0 takes the likeliest.
        step: how many tokens the reply has already.
    """
    scores = logits.float()
    if sampling.repetition_penalty != 1.0:
        scores = _penalised(scores, seen, sampling.repetition_penalty)
    if sampling.temperature <= 0:
        return int(scores.argmax())
    ordered, order = (scores / sampling.temperature).softmax(-1).sort(descending=True, stable=True)
    kept = _kept(ordered, sampling)
    cumulative = ordered[:kept].double().cumsum(-1)
    noise = uniform(sampling.seed or 0, step) * float(cumulative[-1])
    place = int(
        torch.searchsorted(
            cumulative, torch.tensor(noise, dtype=torch.float64, device=cumulative.device), right=True
        )
    )
    return int(order[min(place, kept - 1)])


def uniform(seed: int, step: int) -> float:
    """A number in [0, 1) that only seed and step decide."""
    digest = hashlib.blake2b(f"{seed}:{step}".encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "little") >> 11) / 2**53


def is_loop(tokens: Sequence[int]) -> bool:
    """Whether the end of the reply is one short pattern over and over (vLLM: ``repetition_detection``)."""
    if len(tokens) < LOOP_TOKENS:
        return False
    end = tokens[-LOOP_TOKENS:]
    return any(end[period:] == end[:-period] for period in range(1, PERIOD + 1))


def _penalised(scores: Tensor, seen: Tensor, penalty: float) -> Tensor:
    """Divides positive and multiplies negative scores of tokens seen. Source: CTRL, arXiv 1909.05858."""
    picked = scores[seen]
    return scores.scatter(0, seen, torch.where(picked > 0, picked / penalty, picked * penalty))


def _kept(ordered: Tensor, sampling: Sampling) -> int:
    """How many of the likeliest stay: top_k, then the fewest whose sum reaches top_p."""
    kept = min(sampling.top_k or ordered.numel(), ordered.numel())
    if sampling.top_p < 1.0:
        share = ordered[:kept] / ordered[:kept].sum()
        before = share.cumsum(-1) - share
        kept = max(1, int((before < sampling.top_p).sum()))
    return kept
