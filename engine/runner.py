"""The base model in memory: found, checked, loaded once."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from tokenizers import Tokenizer
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PretrainedConfig

from data.manifest import ManifestError, base_fingerprint
from engine import quantise
from engine.config import STARTER, EngineConfig, Quantize
from engine.errors import BaseRefused
from engine.prompt import end_ids

__all__ = ["Base", "find_base", "is_hub_id", "load_base"]

# Beyond this the memory of many requests' keys and values outgrows what their personas need.
LARGEST_CONTEXT = 4096
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
# Everything but other people's formats of the same weights, and code.
WANTED = ["*.json", "*.safetensors", "*.jinja", "tokenizer.model"]


@dataclass(frozen=True, slots=True)
class Base:
    """A loaded base; ``model`` belongs to one thread, ``decoder`` is a tokenizer for that thread alone.

    Attributes:
        folder: where its files lie.
        linears: (in, out) features of every linear by module name, before any adapter.
        ends: the tokens that end a reply.
    """

    name: str
    folder: Path
    model: Any
    tokenizer: Any
    decoder: Tokenizer
    fingerprint: str
    context: int
    dtype: torch.dtype
    quantize: Quantize
    device: torch.device
    linears: dict[str, tuple[int, int]]
    ends: frozenset[int]


def is_hub_id(base: str) -> bool:
    """Whether the operator named a model on a hub, and so asked for a download."""
    return base != STARTER and not Path(base).exists() and HUB_ID.fullmatch(base) is not None


def find_base(config: EngineConfig) -> Path:
    """The folder of the configured base; downloads it when it is a hub id.

    Raises:
        BaseRefused: there is none, or it is incomplete.
    """
    if is_hub_id(config.base):
        return _download(config.base)
    folder = config.starter if config.base == STARTER else Path(config.base)
    if not folder.is_dir():
        raise BaseRefused(f"There is no base model folder {folder}; correct the setting base.")
    if not (folder / "config.json").is_file():
        remedy = "run make starter, or set base" if config.base == STARTER else "correct the setting base"
        raise BaseRefused(f"{folder} holds no config.json, so it is no base model; {remedy}.")
    return folder


def load_base(config: EngineConfig) -> Base:
    """Loads the base, from safetensors only and never with code of its own.

    Raises:
        BaseRefused: in one sentence that says what to do.
    """
    folder = find_base(config)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if config.threads:
        torch.set_num_threads(config.threads)
    try:
        fingerprint = base_fingerprint(folder)
    except ManifestError as error:
        raise BaseRefused(str(error)) from error
    try:
        shape = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        quantize = _quantize(config, shape, device)
        model = _model(folder, shape, quantize, quantise.dtype_for(config.dtype, device), device)
    except BaseRefused:
        raise
    except Exception as error:  # whatever a foreign folder makes the libraries raise
        raise BaseRefused(_sentence(folder, error)) from error
    return Base(
        name=config.base,
        folder=folder,
        model=model,
        tokenizer=tokenizer,
        decoder=Tokenizer.from_str(tokenizer.backend_tokenizer.to_str()),
        fingerprint=fingerprint,
        context=_context(config, shape),
        dtype=quantise.dtype_for(config.dtype, device),
        quantize=quantize,
        device=device,
        linears=_linears(model),
        ends=end_ids(tokenizer) | _configured_ends(model),
    )


def _download(name: str) -> Path:
    try:
        return Path(snapshot_download(name, allow_patterns=WANTED))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise BaseRefused(
            f"The base {name} is neither a folder nor could it be downloaded: {reason}"
        ) from error


def _sentence(folder: Path, error: Exception) -> str:
    reason = " ".join(str(error).split())
    if "trust_remote_code" in reason:
        return f"The base in {folder} needs code of its own, which is never run here; choose another base."
    return f"The base model in {folder} cannot be loaded: {reason[:300]}"


def _quantize(config: EngineConfig, shape: PretrainedConfig, device: torch.device) -> Quantize:
    if getattr(shape, "quantization_config", None):
        return "none"  # the checkpoint brings its own
    quantize = quantise.chosen(config.quantize, device)
    if quantize == "nf4":
        quantise.check_shapes(shape)
    return quantize


def _model(
    folder: Path, shape: PretrainedConfig, quantize: Quantize, dtype: torch.dtype, device: torch.device
) -> Any:
    model = AutoModelForCausalLM.from_pretrained(
        folder,
        config=shape,
        dtype=dtype,
        quantization_config=quantise.quantization_config(quantize, dtype),
        device_map={"": device},
        trust_remote_code=False,
        use_safetensors=True,
    )
    return model.eval().requires_grad_(requires_grad=False)


def _linears(model: Any) -> dict[str, tuple[int, int]]:
    head = model.get_output_embeddings()
    return {
        name: (module.in_features, module.out_features)
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and module is not head
    }


def _context(config: EngineConfig, shape: PretrainedConfig) -> int:
    text = shape.get_text_config()
    able = int(getattr(text, "max_position_embeddings", 0) or LARGEST_CONTEXT)
    if config.context and config.context > able:
        raise BaseRefused(f"The base holds {able} tokens, not {config.context}; lower the setting context.")
    return config.context or min(able, LARGEST_CONTEXT)


def _configured_ends(model: Any) -> frozenset[int]:
    ends = model.generation_config.eos_token_id if model.generation_config else None
    if ends is None:
        return frozenset()
    return frozenset(ends if isinstance(ends, list) else [ends])
