"""The gate's report as moderators read it in their channel, blind side-by-sides included; pure.

A is the challenger in some side-by-sides and the champion in others, drawn by a hash of the run and the
number: nobody can tell, and whoever computes it again gets the same. The last message says what may be
decided and, once that is decided, who was who.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

from bot.gate_words import word
from bot.platform import Button
from data.run_records import Run
from data.run_states import RunState
from data.script import Lang
from data.text import Unit, clean, fit, split, units
from training.measures import Measures, SideBySide
from training.verdict import LENGTH, UNKNOWN, VOTES, Check, Verdict, percent

__all__ = ["ROLLED_BACK", "VETOED", "decision", "is_decided", "pages", "standing"]

# The ledger's reasons for what a moderator's press did; the post says them in its own language.
VETOED, ROLLED_BACK = "A moderator vetoed it.", "A moderator rolled it back."
REASONS = {VETOED: "vetoed", ROLLED_BACK: "rolled_back"}
DECIDED: tuple[RunState, ...] = ("promoted", "rejected", "rolled_back", "failed", "superseded")
# With a question, two such replies fit into one message of Discord's 2,000.
LONGEST_QUESTION, LONGEST_REPLY = 300, 800
LONGEST_REASON = 400


def pages(
    run: Run, verdict: Verdict, measures: Measures, *, name: str, lang: Lang, limit: int, unit: Unit
) -> list[str]:
    """The report and its side-by-sides as messages of at most ``limit`` units; ``name`` is the persona's."""
    head = word("rebuild" if run.kind == "rebuild" else "incremental", lang, name=name, run=run.id)
    lines = [head, "", word("passed" if verdict.passed else "stopped", lang)]
    lines += [_line(check, lang) for check in verdict.checks]
    blocks = ["\n".join(lines), *_never_wrong(measures, lang)]
    sides = [_side(run.id, number, one) for number, one in enumerate(measures.side_by_sides, 1)]
    blocks += [word("blind", lang), *sides] if sides else []
    return list(_packed(blocks, limit, unit))


def decision(run: Run, sides: int, *, name: str, lang: Lang) -> tuple[str, tuple[Button, ...]]:
    """The message that closes the report, as the run stands now, and what can be pressed under it."""
    told = word("run_is", lang, name=name, run=run.id, standing=standing(run, lang))
    key = _key(run.id, sides, lang) if is_decided(run) else word("key_waits", lang)
    text = f"{told}\n\n{key}" if sides else told
    return text, tuple(Button(word(act, lang), f"gate:{run.id}:{act}") for act in _acts(run))


def standing(run: Run, lang: Lang) -> str:
    """What a run has come to, and why, in one sentence or two."""
    reason = run.error if run.state == "failed" else run.reason
    known = REASONS.get(reason or "")
    told = word(known, lang) if known else fit(clean(reason or ""), LONGEST_REASON, "utf16")
    return word(f"is_{_standing(run)}", lang, share=run.share, reason=told).strip()


def is_decided(run: Run) -> bool:
    """Whether a moderator's word can no longer be swayed by knowing who is who."""
    return run.approved_by is not None or run.state in DECIDED


def _standing(run: Run) -> str:
    if run.state == "awaiting_approval":
        return "waiting" if run.approved_by is None else "approved"
    if run.state == "evaluating" and run.is_ready:
        return "ready"
    return "early" if run.state in {"claimed", "snapshotted", "training", "evaluating"} else run.state


def _acts(run: Run) -> tuple[str, ...]:
    """Every button that can still do something, now or when the run is further on."""
    if run.state == "awaiting_approval" and run.approved_by is None:
        return "approve", "veto", "rollback"
    if run.state in {"evaluating", "awaiting_approval", "canary"}:
        return "veto", "rollback"
    return ("rollback",) if run.state == "promoted" else ()


def _line(check: Check, lang: Lang) -> str:
    title = word(check.name, lang)
    if check.name != LENGTH and (not check.asked or check.low == UNKNOWN):
        return word("check_unknown", lang, title=title, asked=check.asked)
    before, after = (
        f"{value:.0f}" if check.name == LENGTH else percent(value)
        for value in (check.champion, check.challenger)
    )
    if check.passed:
        return word("check_passed", lang, title=title, before=before, after=after)
    return word("check_failed", lang, title=title, before=before, after=after, why=_why(check, lang))


def _why(check: Check, lang: Lang) -> str:
    if check.name == LENGTH:
        return word("why_length", lang, least=f"{check.low:.0f}", most=f"{check.margin:.0f}")
    if check.name == VOTES:
        return word("why_chance", lang)
    if check.low <= -check.margin:
        return word("why_lost", lang, lost=f"{-100 * check.low:.1f}", margin=f"{100 * check.margin:.1f}")
    return word("why_floor", lang)


def _never_wrong(measures: Measures, lang: Lang) -> Iterator[str]:
    if not measures.never_wrong:
        return
    rows = [word("never_wrong", lang)]
    for one in measures.never_wrong:
        texts = (fit(_in_one_line(text), LONGEST_QUESTION) for text in (one.question, one.was, one.becomes))
        question, was, becomes = texts
        rows.append(word("changed", lang, question=question, was=was, becomes=becomes))
    yield "\n".join(rows)


def _side(run_id: str, number: int, one: SideBySide) -> str:
    replies = [one.champion, one.challenger]
    if _is_after_first(run_id, number):
        replies.reverse()
    question = fit(_in_one_line(one.question), LONGEST_QUESTION, "utf16")
    a, b = (fit(clean(reply).strip(), LONGEST_REPLY, "utf16") or "–" for reply in replies)
    return f"{number}. {question}\nA: {a}\nB: {b}"


def _is_after_first(run_id: str, number: int) -> bool:
    """Whether A is the challenger."""
    return hashlib.sha256(f"{run_id} {number}".encode()).digest()[0] % 2 == 1


def _key(run_id: str, sides: int, lang: Lang) -> str:
    groups = {"key_after_first": True, "key_before_first": False}
    lines = []
    for name, is_first in groups.items():
        numbers = [str(one) for one in range(1, sides + 1) if _is_after_first(run_id, one) is is_first]
        lines += [word(name, lang, numbers=", ".join(numbers))] if numbers else []
    return "\n".join(lines)


def _packed(blocks: Iterable[str], limit: int, unit: Unit) -> Iterator[str]:
    """As few messages as the blocks need; one that is too long alone is cut where reading allows it."""
    page = ""
    for block in blocks:
        joined = f"{page}\n\n{block}" if page else block
        if units(joined, unit) <= limit:
            page = joined
            continue
        if page:
            yield page
        *first, last = split(block, limit, unit)
        yield from (piece.text for piece in first)
        page = last.text
    if page:
        yield page


def _in_one_line(text: str) -> str:
    return " ".join(clean(text).split())
