"""Tiny random bases and adapters: real files of real shapes, made in a second, knowing nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
)

CHATML = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
# Llama-2-like: no place for a system text, roles must alternate, texts are trimmed.
NO_SYSTEM = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}"
    "{% endif %}"
    "{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] | trim + ' [/INST]' }}"
    "{% else %}{{ ' ' + message['content'] | trim + eos_token }}{% endif %}"
    "{% endfor %}"
)
# Qwen3-like: thinking can be switched off; DeepSeek-like templates open it whatever one says.
THINKING = CHATML.replace(
    "<|im_start|>assistant\n' }}{% endif %}",
    "<|im_start|>assistant\n' }}"
    "{% if enable_thinking is defined and enable_thinking is false %}{{ '<think>\n\n</think>\n\n' }}"
    "{% endif %}{% endif %}",
)
ALWAYS_THINKING = CHATML.replace(
    "<|im_start|>assistant\n' }}{% endif %}", "<|im_start|>assistant\n<think>\n' }}{% endif %}"
)

TEXTS = (
    "Hello, who are you? I am nobody in particular. The castle has four houses.",
    "霍格沃茨有几个学院？一共四个。你喜欢喝酒吗？举杯邀明月，对影成三人。",
    "床前明月光 疑是地上霜 user assistant system [lore] [memory] 🦉 1 2 3",
)


def tokenizer_for(template: str, *, family: str = "qwen") -> PreTrainedTokenizerFast:
    """Byte-level BPE, 512 entries; the Llama-shaped one has <s> and </s>, the other ChatML's and <think>."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"\p{Han}"), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    backend.decoder = decoders.ByteLevel()
    specials = ["<s>", "</s>"] if family == "llama" else ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=500,
        special_tokens=specials,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(TEXTS, trainer)
    if family == "llama":
        fast = PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="</s>")
    else:
        fast = PreTrainedTokenizerFast(
            tokenizer_object=backend, eos_token="<|im_end|>", pad_token="<|endoftext|>"
        )
        fast.add_tokens(["<think>", "</think>"])  # as in Qwen3: added, but not special
    fast.chat_template = template
    return fast


def make_base(
    folder: Path,
    *,
    template: str = CHATML,
    family: str = "qwen",
    hidden: int = 64,
    layers: int = 2,
    context: int = 1024,
    seed: int = 0,
) -> Path:
    """Saves a random Qwen3- or Llama-shaped base with its tokenizer; returns the folder."""
    tokenizer = tokenizer_for(template, family=family)
    shape: dict[str, Any] = {
        "vocab_size": 512,
        "hidden_size": hidden,
        "intermediate_size": 2 * hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 32,
        "max_position_embeddings": context,
        "tie_word_embeddings": True,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        # Wider than usual, so that greedy choices are no near-ties.
        "initializer_range": 0.4,
    }
    torch.manual_seed(seed)
    if family == "llama":
        model: Any = LlamaForCausalLM(LlamaConfig(**shape))
    else:
        model = Qwen3ForCausalLM(Qwen3Config(**shape))
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def random_qwen3(*, seed: int = 3) -> Qwen3ForCausalLM:
    """A random model of 64 words in float32, in memory only."""
    torch.manual_seed(seed)
    return Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=64,
            hidden_size=64,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=16,
            tie_word_embeddings=True,
        )
    )


def make_adapter(
    folder: Path, base: Path, *, persona: str = "harry_potter", rank: int = 8, seed: int = 1
) -> Path:
    """Saves a random adapter for the base, manifest and all; its effect on the reply is plain to see."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    from data.manifest import base_fingerprint, write_manifest

    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    config = LoraConfig(
        r=rank,
        lora_alpha=2 * rank,
        target_modules=["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
        task_type="CAUSAL_LM",
    )
    wrapped = get_peft_model(model, config)
    wrapped.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    weights = load_file(folder / "adapter_model.safetensors")
    generator = torch.Generator().manual_seed(seed)
    drawn = {
        name: (0.2 * torch.randn(value.shape, generator=generator)).to(torch.bfloat16)
        for name, value in weights.items()
    }
    save_file(drawn, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    write_manifest(
        folder, base_fingerprint=base_fingerprint(base), details={"persona": persona, "seed": seed}
    )
    return folder


def edit_json(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
