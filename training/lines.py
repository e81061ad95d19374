"""JSON lines into values, and what is wrong with a line in one sentence."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from training.errors import CorpusBroken

__all__ = ["read_lines"]

Value = TypeVar("Value")


def read_lines(path: Path, make: Callable[[dict[str, Any]], Value]) -> list[Value]:
    """Makes a value of every line that is not blank.

    Raises:
        CorpusBroken: naming file and line.
    """
    values = []
    # Not splitlines: JSON leaves the line separator U+2028 in a text as it is.
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), 1):
        if not line.strip():
            continue
        try:
            values.append(make(json.loads(line)))
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            raise CorpusBroken(f"{path.name}, line {number}: {error}; mend or remove the line.") from error
    return values
