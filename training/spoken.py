"""A reply to a prompt as ids with labels, and how likely models find such replies.

What a vote, a rewrite or a guard's option is learnt and measured by: only the reply itself has labels, not
what the persona said in earlier turns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from engine.prompt import encode
from personas.prompt import Message
from training.dataset import IGNORED, Example, Padded, alike, padded
from training.losses import Completions, completion_log_probs

__all__ = ["causal", "learnt", "log_probs", "logits_at", "measured", "rounded", "spoken_example"]

Tokenizer = Any
# Rows of one forward pass that only measures.
ROWS_AT_ONCE = 32
# Learnt places of a pass come in multiples of this: oneDNN keeps what it prepares for every shape.
ROUND = 256


def spoken_example(tokenizer: Tokenizer, messages: Sequence[Message], reply: str) -> Example:
    """The prompt and the reply, its end marker included; labels are on the reply alone."""
    encoded = encode(tokenizer, [*messages, Message("assistant", reply)], reply=False)
    start = encoded.spans[-1].start
    labels = [
        token if place >= start and said else IGNORED
        for place, (token, said) in enumerate(zip(encoded.ids, encoded.mask, strict=True))
    ]
    return Example(tuple(encoded.ids), tuple(labels))


def log_probs(model: Any, batch: Padded) -> Completions:
    """What the model gives to the labelled tokens of each row, [rows]; logits are computed only there.

    Runs in bfloat16 autocast, as training does: a reference must be measured as the policy is.
    """
    places, rows, targets = learnt(batch.labels)
    logits = logits_at(model, batch.input_ids, places)
    return completion_log_probs(logits, targets, rows, count=len(batch.labels))


def learnt(labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Where the flattened batch has labels, each place's row, and its label; filled to a round number."""
    flat = labels.flatten()
    places, targets = rounded(flat, (flat != IGNORED).nonzero().squeeze(-1))
    return places, places // labels.shape[1], targets


def rounded(flat: torch.Tensor, places: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The places and the flattened labels there, filled up to a round number with what counts for nothing.

    oneDNN keeps what it prepares for every shape: free numbers grew the process to 8 GB.
    """
    missing = -len(places) % ROUND
    return (
        torch.cat([places, places.new_zeros(missing)]),
        torch.cat([flat[places], flat.new_full((missing,), IGNORED)]),
    )


def logits_at(model: Any, input_ids: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Logits, [places, vocabulary], at places of the flattened batch ``input_ids`` [rows, length]."""
    language_model = causal(model)
    # The trainer's own autocast wraps the model's forward, which is not called here.
    with torch.autocast(input_ids.device.type, torch.bfloat16):
        hidden = language_model.get_decoder()(input_ids, use_cache=False).last_hidden_state
        logits: torch.Tensor = language_model.get_output_embeddings()(hidden.flatten(0, 1)[places])
    return logits


def causal(model: Any) -> Any:
    """The language model itself, also where peft is wrapped around it."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


@torch.inference_mode()
def measured(model: Any, examples: Sequence[Example], *, padding: int) -> list[tuple[float, int]]:
    """Each example's log-probability and its number of tokens, in order, in evaluation mode."""
    was_training = model.training
    model.eval()
    found: list[tuple[float, int]] = [(0.0, 0)] * len(examples)
    try:
        for places in alike([example.ids for example in examples], size=ROWS_AT_ONCE):
            batch = padded([examples[place] for place in places], padding=padding).to(model.device)
            result = log_probs(model, batch)
            for place, sums, tokens in zip(
                places, result.log_probs.tolist(), result.tokens.tolist(), strict=True
            ):
                found[place] = (sums, tokens)
    finally:
        model.train(was_training)
    return found
