"""A base that knows nothing in the shape of one that knows a lot: to measure QLoRA without a download.

Nothing is written anywhere: `from_pretrained` takes random weights from memory and quantises them on the
device as it would a file's. All layers take the same tensors: so memory holds but one in full precision.
"""

from __future__ import annotations

from typing import Any

import torch
from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training
from transformers import BitsAndBytesConfig, Qwen3Config, Qwen3ForCausalLM

from training.recipes import LINEAR_LAYERS

__all__ = ["QWEN3_8B", "random_policy"]

# https://huggingface.co/Qwen/Qwen3-8B/blob/main/config.json
QWEN3_8B: dict[str, Any] = {
    "vocab_size": 151936,
    "hidden_size": 4096,
    "intermediate_size": 12288,
    "num_hidden_layers": 36,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "max_position_embeddings": 40960,
    "rms_norm_eps": 1e-6,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1e6},
    "tie_word_embeddings": False,
}
# What models of this size begin their own training with.
SPREAD = 0.02


def random_policy(shape: dict[str, Any], *, device: int | str, prepared: bool, seed: int) -> Any:
    """A random base in nf4 with a new adapter, as a run from votes has it on a large base.

    Args:
        shape: of a `Qwen3Config`.
        device: where it is quantised.
        prepared: as `training.policy` prepares a quantised base; TRL's trainers prepare one themselves.
        seed: of the weights.
    """
    torch.manual_seed(seed)
    config = Qwen3Config(**shape)
    with torch.device("meta"):
        names = Qwen3ForCausalLM(config).state_dict()
    drawn: dict[torch.Size, torch.Tensor] = {}
    for weights in names.values():
        if weights.shape not in drawn:
            drawn[weights.shape] = (
                torch.ones(weights.shape, dtype=torch.bfloat16)
                if weights.ndim == 1
                else torch.empty(weights.shape, dtype=torch.bfloat16).normal_(std=SPREAD)
            )
    model = Qwen3ForCausalLM.from_pretrained(
        None,
        config=config,
        state_dict={name: drawn[weights.shape] for name, weights in names.items()},
        quantization_config=BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.bfloat16,
        ),
        dtype=torch.bfloat16,
        device_map={"": device},
    )
    if prepared:
        model = prepare_model_for_kbit_training(model, gradient_checkpointing_kwargs={"use_reentrant": False})
    adapter = LoraConfig(
        r=16,
        lora_alpha=32,
        lora_dropout=0.05,
        target_modules=list(LINEAR_LAYERS),
        task_type="CAUSAL_LM",
    )
    return get_peft_model(model, adapter)
