"""What a run leaves for people to read: the loss as a picture, the report as text and JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")
from matplotlib import pyplot as plt

__all__ = ["draw_loss", "write_report"]


def draw_loss(curves: Mapping[str, Sequence[tuple[int, float]]], path: Path) -> None:
    """Draws one line per named curve of (step, loss)."""
    # Reproducible bytes: no date, fixed ids.
    with mpl.rc_context({"svg.hashsalt": "troupe", "font.size": 9}):
        figure, axes = plt.subplots(figsize=(6, 3))
        for name, points in curves.items():
            axes.plot([step for step, _ in points], [loss for _, loss in points], label=name, linewidth=1)
        axes.set(xlabel="step", ylabel="loss (nats per learnt token)", yscale="log")
        axes.grid(visible=True, alpha=0.3)
        if len(curves) > 1:
            axes.legend()
        figure.tight_layout()
        figure.savefig(path, metadata={"Date": None})
        plt.close(figure)


def write_report(folder: Path, title: str, values: Mapping[str, Any]) -> None:
    """Writes report.json and the same as a table in report.md."""
    text = json.dumps(values, ensure_ascii=False, indent=2, sort_keys=True)
    (folder / "report.json").write_text(text + "\n", encoding="utf-8")
    lines = [f"# {title}", "", "| what | value |", "|---|---|"]
    lines += [f"| {name.replace('_', ' ')} | {_shown(value)} |" for name, value in values.items()]
    (folder / "report.md").write_text("\n".join(lines) + "\n\n![loss](loss.svg)\n", encoding="utf-8")


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_shown(item)}" for key, item in value.items())
    return str(value).replace("|", "\\|")
