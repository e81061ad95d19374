"""How long a trainer runs, by the clock and by the processor: beside other work only the second is steady."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import TrainerCallback

__all__ = ["Stopwatch"]


class Stopwatch(TrainerCallback):  # type: ignore[misc] # transformers ships no types
    """Runs from the first step of any `transformers.Trainer` to its end, and wherever else it is told to."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.cpu_seconds = 0.0

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """The trainer is set up."""
        del args, state, control
        self._start()

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """The last step is done."""
        del args, state, control
        self._stop()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Takes the time of a block."""
        self._start()
        yield
        self._stop()

    def _start(self) -> None:
        self.seconds -= _now()
        self.cpu_seconds -= time.process_time()

    def _stop(self) -> None:
        self.seconds += _now()
        self.cpu_seconds += time.process_time()


def _now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()
