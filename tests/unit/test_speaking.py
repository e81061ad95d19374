"""Replies drawn inside the trainer: each as if it were alone, and the base's own without its adapter."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from engine.prompt import encode, end_ids
from personas.prompt import Message, Turn
from tests.fakes.tiny import make_adapter, make_base
from training.corpus import Row
from training.policy import continued_policy
from training.replay import LONGEST, own_words
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

    def test_what_is_cut_off_may_be_left_out(self, model, tokenizer):
        asked = prompts(12)
        whole = speak(model, tokenizer, asked, seed=1)
        sizes = [len(tokenizer.encode(text, add_special_tokens=False)) for text in whole]
        found = speak(model, tokenizer, asked, seed=1, must_end=True)
        assert any(found), "some end"
        assert not all(found), "and some do not"
        for text, reply, size in zip(whole, found, sizes, strict=True):
            assert reply in {"", text}
            assert not reply or size < LONGEST_REPLY

    def test_of_nobody_nothing_is_said(self, model, tokenizer):
        assert speak(model, tokenizer, [], seed=1) == []


class TestOwnWords:
    PLAIN = tuple(Row((Turn(each[0].content, "Nobody."),), "en", "chat") for each in prompts(12))
    SPECIAL = (
        Row((Turn("4*5?", "20"), Turn("And 5*5?", "25")), "en", "sums"),
        Row((Turn("Where am I?", "Here."),), "en", "chat", card="You are a gate."),
        Row((Turn("What is it?", "It."),), "en", "chat", facts=("It is it.",)),
        Row((Turn("What was it?", "It."),), "en", "chat", memory=("It was it.",)),
    )

    def test_the_base_answers_plain_questions_as_it_would_without_its_adapter(
        self, base, model, tokenizer, tmp_path
    ):
        adapted = continued_policy(base, make_adapter(tmp_path / "live", base), quantises=False, seed=1)
        adapted.train()
        found = own_words(adapted, tokenizer, self.SPECIAL + self.PLAIN, seed=1)
        assert adapted.training, "as it was"
        whole = speak(model, tokenizer, prompts(12), seed=1, longest=LONGEST, must_end=True)
        expected = [(row.question, reply) for row, reply in zip(self.PLAIN, whole, strict=True) if reply]
        assert [(row.question, row.turns[0].assistant) for row in found] == expected != []
        adapted.eval()
        asked = [(Message("user", question),) for question, _ in expected]
        assert speak(adapted, tokenizer, asked, seed=1) != [reply for _, reply in expected], "it is on again"
