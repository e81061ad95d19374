"""How likely a model finds each option of a choice, the prompt read once for all of them.

A row holds the prompt and then every option; each option sees the prompt and itself, at the places it would
have alone. So a choice of four costs little more than one reply.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from personas.prompt import Message
from training.dataset import IGNORED, alike, filled
from training.spoken import causal, spoken_example

__all__ = ["Packed", "option_log_probs", "pack"]

Tokenizer = Any
ROWS_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class Packed:
    """One choice as a row: ``options`` are (start, end) of each option's ids, the prompt's come before.

    ``positions`` count on from the prompt in every option.
    """

    ids: tuple[int, ...]
    positions: tuple[int, ...]
    options: tuple[tuple[int, int], ...]

    @property
    def prompt(self) -> int:
        """How many ids are the prompt's."""
        return self.options[0][0]


def pack(tokenizer: Tokenizer, messages: Sequence[Message], replies: Sequence[str]) -> Packed:
    """The prompt with all replies behind it, each with its end marker."""
    said = [spoken_example(tokenizer, messages, reply) for reply in replies]
    start = next(place for place, label in enumerate(said[0].labels) if label != IGNORED)
    ids = list(said[0].ids[:start])
    positions = list(range(start))
    options = []
    for one in said:
        end = max(place for place, label in enumerate(one.labels) if label != IGNORED) + 1
        options.append((len(ids), len(ids) + end - start))
        ids += one.ids[start:end]
        positions += range(start, end)
    return Packed(tuple(ids), tuple(positions), tuple(options))


@torch.inference_mode()
def option_log_probs(model: Any, packed: Sequence[Packed], *, padding: int) -> list[list[float]]:
    """The log-probability of every option of every choice, in order.

    Args:
        model: a causal language model in evaluation mode that takes a 4D mask.
        packed: the choices.
        padding: the id that fills rows up.
    """
    language_model = causal(model)
    decoder, head = language_model.get_decoder(), language_model.get_output_embeddings()
    found: list[list[float]] = [[] for _ in packed]
    for places in alike([each.ids for each in packed], size=ROWS_AT_ONCE):
        group = [packed[place] for place in places]
        length = max(len(each.ids) for each in group)
        device = model.device
        with torch.autocast(device.type, torch.bfloat16):
            hidden = decoder(
                input_ids=filled([each.ids for each in group], length, padding).to(device),
                position_ids=filled([each.positions for each in group], length, 0).to(device),
                attention_mask=torch.stack([_mask(each, length) for each in group]).unsqueeze(1).to(device),
                use_cache=False,
            ).last_hidden_state
            # Only where an option stands: a large vocabulary's logits of whole rows fill a card.
            logits = [head(row[_before(each)]) for each, row in zip(group, hidden, strict=True)]
        for place, each, row in zip(places, group, logits, strict=True):
            found[place] = _scores(each, row)
    return found


def _before(packed: Packed) -> list[int]:
    """The place before each option's words: before its first stands the prompt's last, wherever it lies."""
    return [place for start, end in packed.options for place in (packed.prompt - 1, *range(start, end - 1))]


def _scores(packed: Packed, logits: Tensor) -> list[float]:
    """``logits``: [options' ids, vocabulary], what the row gives to each of them."""
    targets = torch.tensor(packed.ids[packed.prompt :], device=logits.device)
    given = logits.float().log_softmax(-1).gather(1, targets[:, None]).double().squeeze(-1)
    return [float(given[start - packed.prompt : end - packed.prompt].sum()) for start, end in packed.options]


def _mask(packed: Packed, length: int) -> Tensor:
    """What each place sees, [length, length] bool: the prompt before it and its own option."""
    allowed = torch.ones(length, length, dtype=torch.bool).tril()
    for start, end in packed.options:
        allowed[start:, packed.prompt : start] = False
        allowed[end:, start:end] = False
    return allowed
