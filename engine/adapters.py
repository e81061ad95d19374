"""LoRA adapters on the loaded base: nothing unverified is installed, and nothing half.

Reading and checking a folder may happen on any thread; installing, removing and choosing happen on the
thread that owns the model. What was checked is what is installed: the file is read once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model, set_peft_model_state_dict
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from data.manifest import PEFT_FILES, Manifest, ManifestError, verify
from engine.errors import AdapterRefused
from engine.runner import Base

__all__ = ["Adapters", "VerifiedAdapter", "read_adapter"]

PREFIX = "base_model.model."


@dataclass(frozen=True, slots=True)
class VerifiedAdapter:
    """An adapter that fits the base, in memory: bf16 as saved, by peft's tensor names."""

    name: str
    folder: Path
    manifest: Manifest
    config: LoraConfig
    tensors: Mapping[str, Tensor]


def read_adapter(name: str, folder: Path, base: Base, *, roots: tuple[Path, ...] = ()) -> VerifiedAdapter:
    """Checks the folder against its manifest and the base.

    Args:
        name: ``<persona>@<first 8 hex of the digest>``.
        folder: the adapter's.
        base: what it must fit.
        roots: it must lie below one of these; none allows any place.

    Raises:
        AdapterRefused: the first thing that is wrong, in one sentence.
    """
    folder = _inside(folder, roots)
    try:
        manifest = verify(folder, base_fingerprint=base.fingerprint)
        tensors = load((folder / PEFT_FILES[1]).read_bytes())
        config = LoraConfig.from_pretrained(str(folder))
    except ManifestError as error:
        raise AdapterRefused(str(error)) from error
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        raise AdapterRefused(f"The adapter in {folder} cannot be read: {error}.") from error
    _check_name(name, manifest)
    _check_tensors(folder, tensors, config, base)
    return VerifiedAdapter(name, folder, manifest, config, tensors)


class Adapters:
    """What is installed on the model; every method belongs to the model's thread."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._peft: PeftModel | None = None
        self._inner: dict[str, str] = {}  # peft takes no dots in names, personas may have them
        self._count = 0
        self._active: str | None = None

    def holds(self, name: str) -> bool:
        return name in self._inner

    def install(self, adapter: VerifiedAdapter) -> None:
        self._count += 1
        inner = f"adapter{self._count}"
        adapter.config.inference_mode = True
        try:
            if self._peft is None:
                self._peft = get_peft_model(self._model, adapter.config, adapter_name=inner)
            else:
                self._peft.add_adapter(inner, adapter.config)
            set_peft_model_state_dict(self._peft, dict(adapter.tensors), adapter_name=inner)
        except BaseException:
            self._drop(inner)
            raise
        self._inner[adapter.name] = inner
        self._peft.eval()
        self._activate(None)

    def remove(self, name: str) -> None:
        self._drop(self._inner.pop(name))

    def choose(self, name: str | None) -> None:
        """Makes the next forward pass that adapter's; None is the base alone."""
        if name != self._active:
            self._activate(name)

    def _activate(self, name: str | None) -> None:
        if self._peft is not None:
            inner = [] if name is None else [self._inner[name]]
            self._peft.base_model.set_adapter(inner, inference_mode=True)
        self._active = name

    def _drop(self, inner: str) -> None:
        if self._peft is None:
            return
        self._activate(None)  # peft would choose another one by itself
        if inner in self._peft.peft_config:
            self._peft.delete_adapter(inner)


def _inside(folder: Path, roots: tuple[Path, ...]) -> Path:
    if ".." in folder.parts:
        raise AdapterRefused(f"{folder} is not a plain path; name the adapter's folder without '..'.")
    real = folder.resolve()
    if roots and not any(real.is_relative_to(root.resolve()) for root in roots):
        raise AdapterRefused(f"{folder} lies outside of the folders that adapters are loaded from.")
    if not real.is_dir():
        raise AdapterRefused(f"No adapter found for {folder}.")
    return real


def _check_name(name: str, manifest: Manifest) -> None:
    persona, _, digest = name.partition("@")
    expected = f"{manifest.persona or persona}@{manifest.digest[:8]}"
    if not persona or name != expected or len(digest) != 8:  # noqa: PLR2004 - as model_name makes it
        raise AdapterRefused(f"The name {name!r} does not fit that adapter; it is {expected!r}.")


def _check_tensors(folder: Path, tensors: Mapping[str, Tensor], config: LoraConfig, base: Base) -> None:
    targets = config.target_modules or set()
    wanted = {name for name in base.linears if name.rpartition(".")[2] in targets}
    if not wanted:
        raise AdapterRefused(f"The base has none of the layers that the adapter in {folder} targets.")
    expected = {f"{PREFIX}{name}.lora_{half}.weight" for name in wanted for half in "AB"}
    if odd := sorted(expected ^ set(tensors)):
        word = "lacks" if odd[0] in expected else "has no place in the base for"
        raise AdapterRefused(f"The adapter in {folder} {word} {odd[0]!r}.")
    for name in wanted:
        inside, outside = base.linears[name]
        a, b = (tensors[f"{PREFIX}{name}.lora_{half}.weight"] for half in "AB")
        if tuple(a.shape) != (config.r, inside) or tuple(b.shape) != (outside, config.r):
            raise AdapterRefused(f"The adapter in {folder} does not fit the shape of {name}.")
        if not (torch.isfinite(a).all() and torch.isfinite(b).all()):
            raise AdapterRefused(f"The adapter in {folder} holds values that are no numbers, in {name}.")
