"""What a packed step computes is what its examples compute alone."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import Qwen3Config, Qwen3ForCausalLM

from training.dataset import IGNORED, Batches, Example, batches

WORDS = 64
CARD = tuple(range(2, 22))
OTHER_CARD = tuple(range(22, 42))


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(3)
    config = Qwen3Config(
        vocab_size=WORDS,
        hidden_size=64,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=32,
        tie_word_embeddings=True,
    )
    return Qwen3ForCausalLM(config).eval()


tokens = st.lists(st.integers(2, WORDS - 1), min_size=1, max_size=12).map(tuple)


@st.composite
def examples(draw):
    """A chat under one of two cards or none: card and question unlearnt, the reply learnt."""
    unlearnt = draw(st.sampled_from([CARD, OTHER_CARD, ()])) + draw(tokens)
    reply = draw(tokens)
    return Example(unlearnt + reply, (IGNORED,) * len(unlearnt) + reply)


def losses(model, batch) -> list[float]:
    """Minus the log-probability of every learnt token, sorted: packing may change their order."""
    with torch.inference_mode():
        logits = model(**{name: value for name, value in batch.items() if name != "labels"}).logits
    learnt = batch["labels"] != IGNORED
    each = torch.nn.functional.cross_entropy(logits[learnt], batch["labels"][learnt], reduction="none")
    return sorted(each.tolist())


def alone(model, example) -> list[float]:
    ids = torch.tensor([example.ids])
    with torch.inference_mode():
        scores = model(ids).logits[0, :-1].log_softmax(-1)
    labels = example.labels[1:]
    return [-scores[place, label].item() for place, label in enumerate(labels) if label != IGNORED]


@settings(deadline=None, max_examples=60)
@given(group=st.lists(examples(), min_size=1, max_size=9))
def test_packed_examples_see_nothing_of_their_neighbours(model, group):
    groups = batches(group, size=8, seed=1)
    data = Batches(groups, padding=0)
    packed = sorted(loss for index in range(len(data)) for loss in losses(model, data[index]))
    one_by_one = sorted(loss for example in group for loss in alone(model, example))
    assert packed == pytest.approx(one_by_one, abs=1e-4)


def test_chats_of_one_persona_pay_for_its_card_once():
    group = [Example((*CARD, 50, word), (*[IGNORED] * 21, word)) for word in range(42, 50)]
    batch = Batches([group], padding=0)[0]
    assert batch["input_ids"].shape == (1, 64)
    assert int((batch["input_ids"] != 0).sum()) == len(CARD) + 8 * 2


@settings(deadline=None)
@given(group=st.lists(examples(), min_size=1, max_size=30), size=st.integers(1, 9))
def test_every_example_is_dealt_exactly_once(group, size):
    dealt = [example for step in batches(group, size=size, seed=4) for example in step]
    assert sorted(map(repr, dealt)) == sorted(map(repr, group))
