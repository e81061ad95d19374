"""What an engine process is told at its start."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

from engine.errors import EngineError

__all__ = ["Dtype", "EngineConfig", "Quantize", "SettingUnknown", "engine_config"]

Dtype = Literal["auto", "float32", "bfloat16"]
Quantize = Literal["auto", "nf4", "int8", "none"]

STARTER = "starter"


class SettingUnknown(EngineError):
    """The engine has no such setting."""


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """One engine process.

    Attributes:
        base: "starter", a folder, or a hub id such as Qwen/Qwen3-8B.
        starter: where "starter" lies.
        dtype: auto is float32 on a CPU and bfloat16 on CUDA.
        quantize: auto is nf4 on CUDA and none on a CPU.
        threads: torch threads; None leaves torch its default.
        context: tokens of prompt and reply; None is what the base can, 4,096 at most.
        adapters_roots: adapters are loaded from below these only; empty allows any folder.
        max_running: requests that are decoded in turn.
        max_waiting: requests beyond those before the engine says that it is busy.
        max_adapters: adapters held at a time.
    """

    base: str = STARTER
    starter: Path = Path("data/starter")
    dtype: Dtype = "auto"
    quantize: Quantize = "auto"
    threads: int | None = None
    context: int | None = None
    adapters_roots: tuple[Path, ...] = ()
    max_running: int = 8
    max_waiting: int = 64
    max_adapters: int = 64


def engine_config(values: Mapping[str, Any]) -> EngineConfig:
    """Builds the configuration; what is None keeps its default.

    Raises:
        SettingUnknown: a key or a value that does not exist, named in one sentence.
    """
    names = [field.name for field in fields(EngineConfig)]
    for name in values:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            hint = f", perhaps {near[0]!r}" if near else ""
            raise SettingUnknown(f"The engine has no setting {name!r}{hint}; remove or correct it.")
    for name, allowed in (("dtype", get_args(Dtype)), ("quantize", get_args(Quantize))):
        if values.get(name) not in (None, *allowed):
            raise SettingUnknown(f"{name} cannot be {values[name]!r}; choose {', '.join(allowed)}.")
    for name in ("threads", "context", "max_running", "max_waiting", "max_adapters"):
        value = values.get(name)
        if value is not None and (not isinstance(value, int) or value < 1):
            raise SettingUnknown(f"{name} must be a whole number above 0, not {value!r}.")
    return EngineConfig(**{name: value for name, value in values.items() if value is not None})
