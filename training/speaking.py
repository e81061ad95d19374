"""Replies drawn in batches inside the training process, where no engine serves: to measure and to replay."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from engine.prompt import encode, end_ids
from personas.prompt import Message
from training.dataset import alike

__all__ = ["speak"]

Tokenizer = Any
ROWS_AT_ONCE = 48
LONGEST_REPLY = 96
THOUGHT = "</think>"


@torch.inference_mode()
def speak(
    model: Any,
    tokenizer: Tokenizer,
    prompts: Sequence[Sequence[Message]],
    *,
    seed: int,
    temperature: float = 0.0,
    top_p: float = 1.0,
    top_k: int = 0,
    longest: int = LONGEST_REPLY,
    must_end: bool = False,
) -> list[str]:
    """A reply to each prompt, in order; the same seed and prompts give the same replies.

    Args:
        model: any causal language model, in evaluation mode.
        tokenizer: the base's.
        prompts: the messages of each.
        seed: of the draw.
        temperature: 0 takes the likeliest.
        top_p: the share of likelihood that is drawn from.
        top_k: so many of the likeliest at most; 0 for all.
        longest: tokens of a reply.
        must_end: one that is cut off there comes as "".
    """
    torch.manual_seed(seed)
    ids = [list(encode(tokenizer, messages, reply=True).ids) for messages in prompts]
    ends = end_ids(tokenizer)
    drawing = {"temperature": temperature, "top_p": top_p, "top_k": top_k} if temperature > 0 else {}
    found = [""] * len(ids)
    for places in alike(ids, size=ROWS_AT_ONCE):
        length = max(len(ids[place]) for place in places)
        # On the left: every row's next token stands at the end.
        padding = [[tokenizer.pad_token_id] * (length - len(ids[place])) for place in places]
        rows = [[*pad, *ids[place]] for pad, place in zip(padding, places, strict=True)]
        mask = [[0] * len(pad) + [1] * (length - len(pad)) for pad in padding]
        said = model.generate(
            input_ids=torch.tensor(rows, device=model.device),
            attention_mask=torch.tensor(mask, device=model.device),
            max_new_tokens=longest,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=sorted(ends),
            do_sample=temperature > 0,
            **drawing,
        )
        replies = said[:, length:].tolist()
        texts = tokenizer.batch_decode(replies, skip_special_tokens=True)
        for place, text, reply in zip(places, texts, replies, strict=True):
            if not must_end or not ends.isdisjoint(reply):
                found[place] = text.rpartition(THOUGHT)[2].strip()
    return found
