"""The model that a run trains: the base with a LoRA adapter, a new one or the one in production.

On CUDA the base may be in nf4 (QLoRA, arXiv 2305.14314); on a CPU it never is, since there the first
evaluation of a 4-bit layer repacks its weights and spoils the gradients after it (bitsandbytes 0.50).
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model, prepare_model_for_kbit_training
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

from training.dataset import Example
from training.errors import RunFailed
from training.recipes import Recipe

__all__ = ["change_made", "continued_policy", "new_policy", "save_adapter"]

SMALLEST_CHANGE = 1e-4


def new_policy(base: Path, recipe: Recipe, *, seed: int) -> Any:
    """The base with a fresh adapter of the recipe's shape."""
    torch.manual_seed(seed)
    config = LoraConfig(
        r=recipe.rank,
        lora_alpha=recipe.alpha,
        lora_dropout=recipe.dropout,
        target_modules=list(recipe.targets),
        task_type="CAUSAL_LM",
    )
    return _at_work(get_peft_model(_base(base, quantises=recipe.quantises), config))


def continued_policy(base: Path, reference: Path, *, quantises: bool, seed: int) -> Any:
    """The base with the adapter of the folder ``reference``, to be trained further."""
    torch.manual_seed(seed)
    return _at_work(PeftModel.from_pretrained(_base(base, quantises=quantises), reference, is_trainable=True))


def _at_work(model: Any) -> Any:
    """Where the trainer would bring it: what is measured before must be measured there too."""
    return model.to("cuda") if torch.cuda.is_available() and model.device.type == "cpu" else model


def save_adapter(model: Any, staging: Path) -> None:
    """Writes peft's two files to ``staging``, in bfloat16 and the same bytes for the same run."""
    shutil.rmtree(staging, ignore_errors=True)
    model.save_pretrained(staging, safe_serialization=True)
    (staging / "README.md").unlink(missing_ok=True)
    config = staging / "adapter_config.json"
    values = json.loads(config.read_text(encoding="utf-8"))
    # peft keeps them in a set: in any other order the same run would get another digest.
    values["target_modules"] = sorted(values["target_modules"])
    values["inference_mode"] = True
    # The base is known by its fingerprint, not by where it lay on this machine.
    values["base_model_name_or_path"] = None
    config.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    weights = staging / "adapter_model.safetensors"
    tensors = {name: tensor.to(torch.bfloat16).contiguous() for name, tensor in load_file(weights).items()}
    if not tensors:
        raise RunFailed("The run saved an adapter without tensors; nothing was published.")
    broken = [name for name, tensor in tensors.items() if not tensor.isfinite().all()]
    if broken:
        raise RunFailed(f"The run made numbers that are none in {broken[0]}; nothing was published.")
    save_file(tensors, weights, metadata={"format": "pt"})


def change_made(base: Path, adapter: Path, reference: Path | None, example: Example) -> float:
    """The mean change in log-probability from ``reference`` (None: the bare base) to the saved ``adapter``.

    Proves that what was saved loads.

    Raises:
        RunFailed: it changes nothing.
    """
    ids = torch.tensor([example.ids])
    before, after = _said(base, reference, ids), _said(base, adapter, ids)
    change = float((after - before).abs().mean())
    if not change > SMALLEST_CHANGE:
        of = "the base" if reference is None else "the one it came from"
        raise RunFailed(f"The saved adapter says the same as {of}; nothing was published.")
    return change


@torch.inference_mode()
def _said(base: Path, adapter: Path | None, ids: torch.Tensor) -> torch.Tensor:
    model = _base(base, quantises=False)
    if adapter is not None:
        model = PeftModel.from_pretrained(model, adapter)
    found: torch.Tensor = model.eval()(ids.to(model.device)).logits.log_softmax(-1)
    return found


def _base(folder: Path, *, quantises: bool) -> Any:
    if quantises and torch.cuda.is_available():
        nf4 = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.bfloat16,
        )
        model = AutoModelForCausalLM.from_pretrained(
            folder, quantization_config=nf4, device_map={"": 0}, trust_remote_code=False, use_safetensors=True
        )
        return prepare_model_for_kbit_training(model, gradient_checkpointing_kwargs={"use_reentrant": False})
    # float32 even where the file is bf16: autocast keeps the speed, and small steps are not rounded away.
    return AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, trust_remote_code=False, use_safetensors=True
    )
