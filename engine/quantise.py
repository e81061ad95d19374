"""bitsandbytes: what is asked of it and what it cannot do."""

from __future__ import annotations

import logging
from typing import Any

import torch
from torch import nn
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, PretrainedConfig

from engine.config import Dtype, Quantize
from engine.errors import BaseRefused

__all__ = ["check_shapes", "chosen", "dtype_for", "quantization_config"]

# nf4's CPU kernel fails an assertion unless in % 64 == 0 and out % 32 == 0; 64 for both is one rule to know.
MULTIPLE = 64


def chosen(quantize: Quantize, device: torch.device) -> Quantize:
    """What ``auto`` means here: nf4 on CUDA, none on a CPU."""
    if quantize == "auto":
        return "nf4" if device.type == "cuda" else "none"
    return quantize


def dtype_for(dtype: Dtype, device: torch.device) -> torch.dtype:
    """What ``auto`` means here: bfloat16 on CUDA, float32 on a CPU."""
    if dtype == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    return torch.bfloat16 if dtype == "bfloat16" else torch.float32


def quantization_config(quantize: Quantize, dtype: torch.dtype) -> BitsAndBytesConfig | None:
    """For ``from_pretrained``; the output head stays as it is."""
    if quantize == "nf4":
        return BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=dtype,
        )
    if quantize == "int8":
        # It logs a line for every call of every layer.
        logging.getLogger("bitsandbytes.autograd._functions").setLevel(logging.ERROR)
        return BitsAndBytesConfig(load_in_8bit=True)
    return None


def check_shapes(config: PretrainedConfig) -> None:
    """Refuses a base whose linears nf4 would crash on, before a weight is read.

    Raises:
        BaseRefused: with the first such layer and the remedy.
    """
    with torch.device("meta"):
        model: Any = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    head = model.get_output_embeddings()
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear) and module is not head:
            sizes = (module.in_features, module.out_features)
            if any(size % MULTIPLE for size in sizes):
                raise BaseRefused(
                    f"nf4 needs sizes in multiples of {MULTIPLE}, and {name} is {sizes[0]} x {sizes[1]}; "
                    'set quantize = "none" or "int8".'
                )
