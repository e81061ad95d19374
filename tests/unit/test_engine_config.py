"""Settings of the engine: unknown ones are refused, ``auto`` means what the device needs."""

from __future__ import annotations

import pytest
import torch
from transformers import Qwen3Config

from engine.config import EngineConfig, SettingUnknown, engine_config
from engine.errors import BaseRefused
from engine.protocol import Delta, Sampling
from engine.quantise import check_shapes, chosen, dtype_for
from engine.request import Request
from engine.runner import find_base, is_hub_id

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def test_unknown_keys_and_values_are_refused_by_name():
    with pytest.raises(SettingUnknown, match="'quantise', perhaps 'quantize'"):
        engine_config({"quantise": "nf4"})
    with pytest.raises(SettingUnknown, match="choose auto, nf4"):
        engine_config({"quantize": "gptq"})
    with pytest.raises(SettingUnknown, match="threads"):
        engine_config({"threads": 0})


def test_none_keeps_the_default():
    assert engine_config({"base": None, "threads": 2}) == EngineConfig(threads=2)


def test_auto_follows_the_device():
    assert (chosen("auto", CPU), chosen("auto", CUDA), chosen("int8", CPU)) == ("none", "nf4", "int8")
    assert (dtype_for("auto", CPU), dtype_for("auto", CUDA)) == (torch.float32, torch.bfloat16)
    assert dtype_for("bfloat16", CPU) == torch.bfloat16


def test_sizes_that_nf4_would_crash_on_are_refused_before_loading():
    shape = {"vocab_size": 512, "intermediate_size": 128, "num_hidden_layers": 1, "num_attention_heads": 2}
    shape |= {"num_key_value_heads": 1, "head_dim": 32}
    check_shapes(Qwen3Config(**shape | {"hidden_size": 64, "num_key_value_heads": 2}))
    with pytest.raises(BaseRefused, match=r"multiples of 64, and model\.layers\.0"):
        check_shapes(Qwen3Config(**shape, hidden_size=80))


def test_a_folder_is_no_hub_id(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "Qwen" / "Qwen3-8B").mkdir(parents=True)
    assert is_hub_id("Qwen/Qwen3-4B")
    assert not is_hub_id("Qwen/Qwen3-8B")
    assert not any(map(is_hub_id, ["starter", "/models/x", "../x", "models", "a/b/c"]))


@pytest.mark.parametrize("base", ["/nowhere/at/all", "starter"])
def test_a_base_that_is_not_there_is_one_sentence(base, tmp_path):
    with pytest.raises(BaseRefused, match="base") as caught:
        find_base(EngineConfig(base=base, starter=tmp_path))
    assert str(caught.value).endswith(".")


def test_a_finished_request_cannot_run_again():
    heard: list[Delta] = []
    request = Request("1", "base", (1,), Sampling(), heard.append)
    request.move("running")
    request.finish("stop")
    assert heard[0].finish_reason == "stop"
    with pytest.raises(ValueError, match="finished"):
        request.move("running")
