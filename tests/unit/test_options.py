"""Packed behind one prompt, every option is as likely as alone."""

from __future__ import annotations

import contextlib

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from personas.prompt import Message
from tests.fakes.tiny import CHATML, NO_SYSTEM, make_base
from training.options import ROWS_AT_ONCE, option_log_probs, pack
from training.spoken import measured, spoken_example

OPTIONS = (
    "There are four houses.",
    "三个。",
    "The castle has four houses, and nobody in particular lives there.",
    "8",
)


@pytest.fixture(
    name="base", scope="module", params=[("qwen", CHATML), ("llama", NO_SYSTEM)], ids=["qwen", "llama"]
)
def _base(request, tmp_path_factory):
    family, template = request.param
    return make_base(tmp_path_factory.mktemp("base"), family=family, template=template)


@pytest.fixture(name="tokenizer", scope="module")
def _tokenizer(base):
    return AutoTokenizer.from_pretrained(base)


@pytest.fixture(name="model", scope="module")
def _model(base):
    return AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).eval()


@pytest.fixture(name="exact")
def _exact(monkeypatch):
    """Without bfloat16: then packing must show no difference at all."""
    monkeypatch.setattr(torch, "autocast", plain)


def plain(*_, **__):
    return contextlib.nullcontext()


def asked(words):
    return (Message("system", "You are nobody."), Message("user", "How many houses has the castle? " * words))


def alone(model, tokenizer, messages, options):
    examples = [spoken_example(tokenizer, messages, option) for option in options]
    return [found for found, _ in measured(model, examples, padding=0)]


def packed_scores(model, tokenizer, messages, options):
    (found,) = option_log_probs(model, [pack(tokenizer, messages, options)], padding=0)
    return found


class TestRow:
    def test_the_prompt_stands_once_and_every_option_where_it_would_stand_alone(self, tokenizer):
        packed = pack(tokenizer, asked(1), OPTIONS)
        for (start, end), option in zip(packed.options, OPTIONS, strict=True):
            single = spoken_example(tokenizer, asked(1), option)
            said = [place for place, label in enumerate(single.labels) if label >= 0]
            assert packed.ids[: packed.prompt] == single.ids[: packed.prompt]
            assert packed.ids[start:end] == single.ids[said[0] : said[-1] + 1]
            assert packed.positions[start:end] == tuple(said)
        assert packed.positions[: packed.prompt] == tuple(range(packed.prompt))
        assert len(packed.ids) == packed.prompt + sum(end - start for start, end in packed.options)


class TestScores:
    def test_they_are_those_of_each_option_alone(self, model, tokenizer, exact):
        found = packed_scores(model, tokenizer, asked(1), OPTIONS)
        assert found == pytest.approx(alone(model, tokenizer, asked(1), OPTIONS), abs=1e-3)

    def test_an_option_does_not_see_the_others(self, model, tokenizer, exact):
        whole = dict(zip(OPTIONS, packed_scores(model, tokenizer, asked(2), OPTIONS), strict=True))
        turned = packed_scores(model, tokenizer, asked(2), OPTIONS[::-1])
        assert turned == pytest.approx([whole[option] for option in OPTIONS[::-1]], abs=1e-3)
        changed = packed_scores(model, tokenizer, asked(2), ("Hello! " * 30, *OPTIONS[1:]))
        assert changed[1:] == pytest.approx([whole[option] for option in OPTIONS[1:]], abs=1e-3)

    def test_the_same_option_twice_is_as_likely_both_times(self, model, tokenizer, exact):
        found = packed_scores(model, tokenizer, asked(1), (OPTIONS[0], OPTIONS[2], OPTIONS[0]))
        assert found[0] == pytest.approx(found[2], abs=1e-3)
        assert found[0] != pytest.approx(found[1], abs=1)

    def test_many_choices_of_all_lengths_keep_their_order(self, model, tokenizer, exact):
        choices = [(asked(1 + number % 5), OPTIONS[: 2 + number % 3]) for number in range(ROWS_AT_ONCE + 3)]
        found = option_log_probs(model, [pack(tokenizer, *choice) for choice in choices], padding=0)
        assert [len(scores) for scores in found] == [len(options) for _, options in choices]
        for place in (0, 1, 7, ROWS_AT_ONCE, ROWS_AT_ONCE + 2):
            assert found[place] == pytest.approx(alone(model, tokenizer, *choices[place]), abs=1e-3)

    def test_bfloat16_moves_them_by_roundings_only(self, model, tokenizer, monkeypatch):
        rounded = packed_scores(model, tokenizer, asked(1), OPTIONS)
        monkeypatch.setattr(torch, "autocast", plain)
        exact = packed_scores(model, tokenizer, asked(1), OPTIONS)
        assert rounded != exact
        assert rounded == pytest.approx(exact, rel=0.05)

    def test_an_adapter_around_the_model_counts(self, base, model, tokenizer, exact):
        fresh = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
        config = LoraConfig(r=4, target_modules=["q_proj", "up_proj"], init_lora_weights=False)
        adapted = get_peft_model(fresh, config).eval()
        found = packed_scores(adapted, tokenizer, asked(1), OPTIONS)
        assert found == pytest.approx(alone(adapted, tokenizer, asked(1), OPTIONS), abs=1e-3)
        assert found != pytest.approx(packed_scores(model, tokenizer, asked(1), OPTIONS), abs=1e-2)

    def test_none_is_none(self, model):
        assert option_log_probs(model, [], padding=0) == []
