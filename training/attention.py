"""Causal attention for training on a CPU: plain matrix products that stay in bfloat16.

Right-padded rows need no mask but the causal one. Of a step with transformers' plain attention two thirds
went into float32 copies of the scores, their mask and softmax; its fused one was slower still at these
lengths (docs/starter.md).
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface

__all__ = ["NAME", "register", "settle"]

NAME = "training-causal"


def register() -> None:
    """Makes ``NAME`` an attention implementation that a model can be set to."""
    AttentionInterface.register(NAME, _attend)
    AttentionMaskInterface.register(NAME, _no_mask)


def settle(model: Any) -> None:
    """Lets a causal language model attend this way from now on, where no GPU does it better."""
    if not torch.cuda.is_available():
        register()
        model.set_attn_implementation(NAME)


def _attend(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Heads over shared keys, without repeating the keys.

    Args:
        module: the layer; not needed.
        query: [batch, heads, length, size].
        key: [batch, key-value heads, length, size]; ``value`` likewise.
        value: see ``key``.
        attention_mask: never given.
        scaling: of the scores.
        dropout: never used.

    Returns:
        [batch, length, heads, size], and no weights.
    """
    del module, attention_mask, dropout
    batch, heads, length, size = query.shape
    shared = key.shape[1]
    grouped = (query * scaling).reshape(batch * shared, -1, size)
    scores = torch.bmm(grouped, key.reshape(batch * shared, length, size).transpose(1, 2))
    minus_infinity = torch.finfo(scores.dtype).min
    later = torch.full((length, length), minus_infinity, dtype=scores.dtype, device=scores.device).triu(1)
    weights = torch.softmax(scores.view(batch, heads, length, length) + later, dim=-1)
    attended = torch.bmm(
        weights.view(batch * shared, -1, length), value.reshape(batch * shared, length, size)
    )
    return attended.view(batch, heads, length, size).transpose(1, 2).contiguous(), None


def _no_mask(*_: Any, **__: Any) -> None:
    return None
