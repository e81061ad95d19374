"""The trainer's own attention computes what transformers' plain one does."""

from __future__ import annotations

import torch

from tests.fakes.tiny import random_qwen3
from training.attention import NAME, register
from training.dataset import IGNORED, Batches, Example


def test_scores_and_gradients_are_those_of_the_plain_attention():
    register()
    ids = torch.randint(0, 64, (3, 40), generator=torch.Generator().manual_seed(1))
    found = {}
    for name in ("eager", NAME):
        model = random_qwen3()
        model.set_attn_implementation(name)
        logits = model(input_ids=ids).logits
        logits.square().mean().backward()
        found[name] = (logits.detach(), model.model.layers[0].self_attn.k_proj.weight.grad)
    for ours, theirs in zip(found[NAME], found["eager"], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_a_row_padded_beside_a_longer_one_is_read_as_alone():
    register()
    model = random_qwen3().eval()
    model.set_attn_implementation(NAME)
    short = Example((5, 6, 7, 8), (IGNORED, IGNORED, 7, 8))
    long = Example(tuple(range(1, 50)), (IGNORED, *range(2, 50)))
    with torch.inference_mode():
        alone = model(input_ids=Batches([[short]], padding=0)[0]["input_ids"]).logits[0, :4]
        beside = model(input_ids=Batches([[long, short]], padding=0)[0]["input_ids"]).logits[1, :4]
    torch.testing.assert_close(alone, beside, rtol=1e-4, atol=1e-5)


def test_labels_stand_where_they_are_predicted_and_lengths_are_multiples_of_32():
    example = Example((5, 6, 7, 8), (IGNORED, IGNORED, 7, 8))
    batch = Batches([[example]], padding=0)[0]
    assert batch["labels"][0, :4].tolist() == [IGNORED, 7, 8, IGNORED]
    assert batch["input_ids"].shape == batch["labels"].shape == (1, 32)
    assert (batch["labels"][0, 4:] == IGNORED).all()


def test_the_beginning_of_each_reply_is_told_to_the_loss():
    first = Example((5, 6, 7, 8), (IGNORED, IGNORED, 7, 8), starts=(2, 3))
    second = Example((5, 7), (IGNORED, 7), starts=(1,))
    batch = Batches([[first, second]], padding=0)[0]
    labels = batch["labels"].flatten()
    assert labels[batch["starts"]].tolist() == [7, 8, 7]
