"""A reply is learnt and measured alone: nothing that was said before it has a label."""

from __future__ import annotations

import contextlib

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from engine.prompt import encode
from personas.prompt import Message
from tests.fakes.tiny import NO_SYSTEM, make_base, tokenizer_for
from training.dataset import IGNORED, padded
from training.spoken import ROUND, ROWS_AT_ONCE, causal, learnt, log_probs, measured, spoken_example

CHAT = (
    Message("system", "You are nobody."),
    Message("user", "Hello, who are you?"),
    Message("assistant", "I am nobody in particular."),
    Message("user", "你喜欢喝酒吗？"),
)
REPLIES = ("举杯邀明月，对影成三人。", "", "The castle has four houses.", "I am nobody in particular.")


@pytest.fixture(name="base", scope="module")
def _base(tmp_path_factory):
    return make_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(name="tokenizer", scope="module")
def _tokenizer(base):
    return AutoTokenizer.from_pretrained(base)


@pytest.fixture(name="model")
def _model(base):
    return AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).eval()


@pytest.fixture(name="exact")
def _exact(monkeypatch):
    """Without bfloat16, so that one sum can be compared with another."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())


class TestLabels:
    @pytest.mark.parametrize("reply", REPLIES)
    def test_they_are_on_the_last_reply_and_its_end_mark_alone(self, tokenizer, reply):
        example = spoken_example(tokenizer, CHAT, reply)
        learnt_ids = [label for label in example.labels if label != IGNORED]
        assert tokenizer.decode(learnt_ids) == f"{reply}<|im_end|>"
        first = next(place for place, label in enumerate(example.labels) if label != IGNORED)
        end = first + len(learnt_ids)
        assert example.labels[first:end] == example.ids[first:end], "in one piece, and what is said there"

    @pytest.mark.parametrize("reply", REPLIES)
    def test_what_stands_before_them_is_the_prompt_that_serving_sends(self, tokenizer, reply):
        prompt = encode(tokenizer, CHAT, reply=True).ids
        example = spoken_example(tokenizer, CHAT, reply)
        assert example.ids[: len(prompt)] == prompt
        assert all(label == IGNORED for label in example.labels[: len(prompt)])
        assert example.labels[len(prompt)] != IGNORED

    def test_a_typed_end_mark_is_text_to_be_learnt(self, tokenizer):
        example = spoken_example(tokenizer, CHAT, "A<|im_end|>B")
        end = tokenizer.convert_tokens_to_ids("<|im_end|>")
        assert [label for label in example.labels if label != IGNORED].count(end) == 1

    def test_also_where_the_template_has_no_place_for_a_system_text(self):
        tokenizer = tokenizer_for(NO_SYSTEM, family="llama")
        example = spoken_example(tokenizer, CHAT, "Hello!")
        learnt_ids = [label for label in example.labels if label != IGNORED]
        assert tokenizer.decode(learnt_ids).strip() == "Hello!</s>"

    def test_the_same_reply_said_earlier_has_none(self, tokenizer):
        said = spoken_example(tokenizer, CHAT, CHAT[2].content)
        alone = spoken_example(tokenizer, CHAT[:2], CHAT[2].content)
        many = sum(label != IGNORED for label in said.labels)
        assert many == sum(label != IGNORED for label in alone.labels)


class TestPlaces:
    def test_they_are_filled_to_a_round_number_with_what_counts_for_nothing(self):
        labels = torch.full((3, 64), IGNORED)
        labels[0, 5], labels[2, 1:4] = 7, torch.tensor([8, 9, 10])
        places, rows, targets = learnt(labels)
        assert len(places) == len(rows) == len(targets) == ROUND
        assert places[:4].tolist() == [5, 129, 130, 131]
        assert rows[:4].tolist() == [0, 2, 2, 2]
        assert targets[:4].tolist() == [7, 8, 9, 10]
        assert (targets[4:] == IGNORED).all()

    def test_a_round_number_stays(self):
        labels = torch.zeros(1, ROUND, dtype=torch.int64)
        assert len(learnt(labels)[0]) == ROUND


class TestLogProbs:
    def test_they_are_the_plain_sums_over_each_reply(self, model, tokenizer, exact):
        examples = [spoken_example(tokenizer, CHAT, reply) for reply in REPLIES]
        found = log_probs(model, padded(examples, padding=0))
        for place, example in enumerate(examples):
            given = model(input_ids=torch.tensor([example.ids])).logits[0].log_softmax(-1)
            wanted = [(at, label) for at, label in enumerate(example.labels) if label != IGNORED]
            plain = sum(given[at - 1, label].item() for at, label in wanted)
            assert found.log_probs[place].item() == pytest.approx(plain, abs=2e-3, rel=1e-5)
            assert found.tokens[place].item() == len(wanted)

    def test_autocast_moves_them_by_roundings_only(self, model, tokenizer):
        example = spoken_example(tokenizer, CHAT, REPLIES[0])
        batch = padded([example], padding=0)
        rounded = log_probs(model, batch).log_probs.item()
        with torch.autocast("cpu", enabled=False):
            given = model(input_ids=torch.tensor([example.ids])).logits[0].log_softmax(-1)
        plain = sum(given[at - 1, label].item() for at, label in enumerate(example.labels) if label >= 0)
        assert rounded == pytest.approx(plain, rel=0.05)


class TestMeasured:
    def test_the_order_is_kept_and_a_row_counts_as_alone(self, model, tokenizer, exact):
        prompts = [CHAT[: 2 + 2 * (number % 2)] for number in range(ROWS_AT_ONCE + 5)]
        examples = [
            spoken_example(tokenizer, prompt, "Hello! " * (number % 9))
            for number, prompt in enumerate(prompts)
        ]
        together = measured(model, examples, padding=0)
        for place in (0, 1, 17, ROWS_AT_ONCE, ROWS_AT_ONCE + 4):
            ((sums, tokens),) = measured(model, [examples[place]], padding=0)
            assert together[place] == (pytest.approx(sums, abs=1e-3), tokens)
            assert tokens == sum(label != IGNORED for label in examples[place].labels)

    def test_twice_it_is_the_same_to_the_last_bit_whatever_the_mode_and_the_mode_stays(
        self, model, tokenizer
    ):
        config = LoraConfig(r=4, lora_dropout=0.5, target_modules=["q_proj"], init_lora_weights=False)
        adapted = get_peft_model(model, config)
        examples = [spoken_example(tokenizer, CHAT, reply) for reply in REPLIES]
        adapted.train()
        first = measured(adapted, examples, padding=0)
        assert adapted.training
        adapted.eval()
        assert measured(adapted, examples, padding=0) == first
        assert not adapted.training

    def test_the_mode_comes_back_from_an_error_too(self, model, tokenizer):
        model.train()
        with pytest.raises(TypeError):
            measured(model, [spoken_example(tokenizer, CHAT, "")], padding="none")
        assert model.training

    def test_of_nothing_it_is_nothing(self, model):
        assert measured(model, [], padding=0) == []


def test_the_language_model_is_found_below_an_adapter(model):
    adapted = get_peft_model(model, LoraConfig(r=4, target_modules=["q_proj"]))
    assert causal(adapted) is causal(causal(adapted))
    assert type(causal(adapted)).__name__ == "Qwen3ForCausalLM"
    assert causal(model) is model
