"""Replies drawn inside the trainer: each as if it were alone, and the base's own words without its adapter."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from engine.prompt import encode, end_ids
from personas.prompt import Message, Turn
from tests.fakes.tiny import make_adapter, make_base
from training.corpus import Row
from training.policy import continued_policy
from training.replay import own_words
from training.speaking import LONGEST_REPLY, ROWS_AT_ONCE, speak


@pytest.fixture(name="base", scope="module")
def _base(tmp_path_factory):
    return make_base(tmp_path_factory.mktemp("base"), seed=4)


@pytest.fixture(name="tokenizer", scope="module")
def _tokenizer(base):
    return AutoTokenizer.from_pretrained(base)


@pytest.fixture(name="model", scope="module")
def _model(base):
    return AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).eval()


def prompts(many):
    return [
        (Message("user", "Hello, who are you? " * (1 + number % 5) + str(number)),) for number in range(many)
    ]


@torch.inference_mode()
def by_hand(model, tokenizer, messages):
    """The likeliest word after the likeliest word, without a cache or anybody beside it."""
    ids = list(encode(tokenizer, messages, reply=True).ids)
    start = len(ids)
    while len(ids) - start < LONGEST_REPLY:
        ids.append(int(model(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
        if ids[-1] in end_ids(tokenizer):
            break
    return tokenizer.decode(ids[start:], skip_special_tokens=True).strip()


class TestSpeak:
    def test_every_reply_is_the_one_it_would_be_alone(self, model, tokenizer):
        asked = prompts(6)
        assert speak(model, tokenizer, asked, seed=1) == [by_hand(model, tokenizer, each) for each in asked]

    def test_more_than_go_into_a_pass_keep_their_order(self, model, tokenizer):
        asked = prompts(ROWS_AT_ONCE + 3)
        found = speak(model, tokenizer, asked, seed=1)
        for place in (0, 7, ROWS_AT_ONCE, ROWS_AT_ONCE + 2):
            assert found[place] == by_hand(model, tokenizer, asked[place])

    def test_the_same_seed_draws_the_same_and_another_one_otherwise(self, model, tokenizer):
        def drawn(seed):
            return speak(model, tokenizer, prompts(4), seed=seed, temperature=1.5, top_p=0.95, top_k=40)

        assert drawn(1) == drawn(1) != drawn(2)

    def test_of_nobody_nothing_is_said(self, model, tokenizer):
        assert speak(model, tokenizer, [], seed=1) == []


class TestOwnWords:
    ROWS = (
        Row((Turn("Hello, who are you?", "Nobody."),), "en", "chat"),
        Row((Turn("4*5?", "20"), Turn("And 5*5?", "25")), "en", "sums"),
        Row((Turn("Where am I?", "Here."),), "en", "chat", card="You are a gate."),
        Row((Turn("What is it?", "It."),), "en", "chat", facts=("It is it.",)),
        Row((Turn("What was it?", "It."),), "en", "chat", memory=("It was it.",)),
        Row((Turn("你喜欢喝酒吗？", "喜欢。"),), "zh-CN", "chat"),
    )

    def test_the_base_answers_plain_questions_as_it_would_without_its_adapter(
        self, base, model, tokenizer, tmp_path
    ):
        adapted = continued_policy(base, make_adapter(tmp_path / "live", base), quantises=False, seed=1)
        adapted.train()
        found = own_words(adapted, tokenizer, self.ROWS, seed=1)
        assert [row.question for row in found] == ["Hello, who are you?", "你喜欢喝酒吗？"]
        for row in found:
            assert row.turns[0].assistant == by_hand(model, tokenizer, (Message("user", row.question),))
        assert [row.lang for row in found] == ["en", "zh-CN"]
        assert adapted.training, "as it was"
        adapted.eval()
        with_adapter = speak(adapted, tokenizer, [(Message("user", found[0].question),)], seed=1)
        assert with_adapter != [found[0].turns[0].assistant], "and the adapter is on again"
