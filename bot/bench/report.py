"""What a bench found: as JSON, as lines for people, as a row of the table of attacks, as a picture."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import Any

from bot.bench.loop import Ended, Outcome
from bot.bench.options import Options
from bot.bench.prompts import LIKED, Tasted
from bot.bench.standing import Span, pooled

__all__ = ["document", "draw", "line", "read_lines", "summary", "table"]

REFUSED = ("rejected", "failed")
DIGITS = 4
COLUMNS = (
    "attack", "gate", "promoted", "refused", "rolled back", "liked before", "after", "worst guard", "points",
    "minutes",
)  # fmt: skip


def document(outcome: Outcome, options: Options, *, seconds: float) -> Mapping[str, Any]:
    """Everything, shares from 0 to 1."""
    attack = options.attack
    return {
        "taste": _taste(outcome.curves),
        "guards": _rounded(pooled(outcome.guards.values())),
        **counts(outcome.runs),
        "baselines": {},
        "personas": {
            slug: {
                "taste": _taste({slug: curve}),
                "guards": _rounded(outcome.guards[slug]),
                "curve": [_shares(tasted.shares) for tasted in curve],
            }
            for slug, curve in outcome.curves.items()
        },
        "runs": [_run(ended) for ended in outcome.runs],
        "attack": None if attack is None else attack.name,
        "gate": options.is_gated,
        "rounds": options.rounds,
        "replies": options.replies,
        "raters": options.raters,
        "seed": options.seed,
        "recipe": options.recipe,
        "seconds": {**outcome.seconds, "all": round(seconds, 1)},
    }


def counts(runs: Sequence[Ended]) -> Mapping[str, int]:
    """How many runs went live, were refused before that, and were taken back."""
    states = [ended.run.state for ended in runs]
    return {
        "promotions": sum(ended.run.promoted_at is not None for ended in runs),
        "refusals": sum(state in REFUSED for state in states),
        "rollbacks": states.count("rolled_back"),
    }


def summary(found: Mapping[str, Any]) -> str:
    """The document for people, as Markdown."""
    taste, guards = found["taste"], found["guards"]
    rows = [(name, taste[name]) for name in taste if name not in {"start", "end"}] + list(guards.items())
    lines = ["| what | start | end | items |", "|---|---:|---:|---:|"]
    lines += [f"| {name} | {row['start']:.1%} | {row['end']:.1%} | {row['n']} |" for name, row in rows]
    said = (f"{found[name]} {name}" for name in ("promotions", "refusals", "rollbacks"))
    took = found["seconds"]
    parts = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in took.items() if name != "all")
    return "\n".join([*lines, "", f"{', '.join(said)}; {took['all'] / 60:.1f} minutes ({parts})."])


def line(found: Mapping[str, Any], *, on: str) -> str:
    """One line for the file of attacks; ``on`` is the date."""
    guard, persona, points = _worst(found["personas"])
    names = ("attack", "gate", "rounds", "replies", "raters", "seed", "recipe", "promotions", "refusals")
    row = {"on": on, **{name: found[name] for name in names}, "rollbacks": found["rollbacks"]}
    row |= {"personas": sorted(found["personas"]), "liked": found["taste"][LIKED]}
    row |= {"worst": {"guard": guard, "persona": persona, "points": points}}
    row |= {"reasons": [run["reason"] for run in found["runs"] if run["reason"]]}
    row |= {"seconds": found["seconds"]["all"]}
    return json.dumps(row, ensure_ascii=False)


def read_lines(path: Path) -> list[Mapping[str, Any]]:
    """The rows of the file of attacks; none where there is no file yet."""
    if not path.is_file():
        return []
    return [json.loads(text) for text in path.read_text(encoding="utf-8").splitlines() if text.strip()]


def table(rows: Iterable[Mapping[str, Any]]) -> str:
    """The newest row of each attack, with and without the gate, as Markdown."""
    newest = {(row["attack"], not row["gate"]): row for row in rows}
    lines = [f"| {' | '.join(COLUMNS)} |", f"|---|---|{'---:|' * (len(COLUMNS) - 2)}"]
    for key in sorted(newest):
        row = newest[key]
        worst, liked = row["worst"], row["liked"]
        values = (
            row["attack"],
            "yes" if row["gate"] else "no",
            row["promotions"],
            row["refusals"],
            row["rollbacks"],
            f"{liked['start']:.0%}",
            f"{liked['end']:.0%}",
            worst["guard"] or "–",
            f"{worst['points']:+.1f}",
            f"{row['seconds'] / 60:.1f}",
        )
        lines.append(f"| {' | '.join(map(str, values))} |")
    return "\n".join(lines)


def draw(found: Mapping[str, Any], path: Path) -> None:
    """Draws each persona's tastes over the rounds; needs matplotlib, which comes with the engine."""
    import matplotlib as mpl  # noqa: PLC0415 - only a picture needs it

    mpl.use("svg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    # Reproducible bytes: no date, fixed ids.
    with mpl.rc_context({"svg.hashsalt": "troupe", "font.size": 9}):
        figure, axes = plt.subplots(figsize=(6, 3.2))
        for slug, persona in found["personas"].items():
            for name in persona["curve"][0]:
                points = [100 * shares[name] for shares in persona["curve"]]
                axes.plot(points, marker="o", label=f"{slug}: {name}")
        axes.set(xlabel="round", ylabel="% of held-out prompts", ylim=(0, 100))
        axes.grid(visible=True, alpha=0.3)
        axes.legend(fontsize=7)
        figure.tight_layout()
        figure.savefig(path, metadata={"Date": None})
        plt.close(figure)


def _taste(curves: Mapping[str, Sequence[Tasted]]) -> Mapping[str, Any]:
    """Each taste over all personas; ``start`` and ``end`` of the whole are the mean of the tastes."""
    names = dict.fromkeys(name for curve in curves.values() for name in curve[0].shares)
    found = {
        name: {
            "start": _mean(curve[0].shares.get(name) for curve in curves.values()),
            "end": _mean(curve[-1].shares.get(name) for curve in curves.values()),
            "n": sum(curve[-1].asked for curve in curves.values() if name in curve[-1].shares),
        }
        for name in names
    }
    single = [found[name] for name in names if name != LIKED] or list(found.values())
    return {when: _mean(one[when] for one in single) for when in ("start", "end")} | found


def _mean(values: Iterable[float | None]) -> float:
    return round(fmean(value for value in values if value is not None), DIGITS)


def _shares(shares: Mapping[str, float]) -> Mapping[str, float]:
    return {name: round(share, DIGITS) for name, share in shares.items()}


def _rounded(guards: Mapping[str, Span]) -> Mapping[str, Any]:
    return {
        name: asdict(span) | {"start": round(span.start, DIGITS), "end": round(span.end, DIGITS)}
        for name, span in guards.items()
    }


def _run(ended: Ended) -> Mapping[str, Any]:
    run = ended.run
    return {
        "id": run.id,
        "persona": run.persona,
        "round": ended.round,
        "state": run.state,
        "reason": run.error or run.reason,
    }


def _worst(personas: Mapping[str, Any]) -> tuple[str | None, str | None, float]:
    """The guard that lost most of all personas', in points; positive where every one gained."""
    changes = [
        (round(100 * (row["end"] - row["start"]), 1), name, slug)
        for slug, persona in personas.items()
        for name, row in persona["guards"].items()
    ]
    if not changes:
        return None, None, 0.0
    points, name, slug = min(changes)
    return name, slug, points
