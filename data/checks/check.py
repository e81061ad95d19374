"""Checks a corpus: what earlier persona sets got wrong, counted against bounds; pure.

Each check is a name, the kinds of corpus that it is for, and a bound. The measured faults of the systems that
troupe grows from are behind them: a slid block, third person, novels and films in a character's mouth,
disclaimers, loops, answers that break off, invented names, and test questions in the training text.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from data.checks.alignment import slides
from data.checks.duplicates import fold, near_twins
from data.checks.finding import Bound, Finding, Hit
from data.checks.form import are_cut, loop, other_language, other_script, unbalanced
from data.checks.leaks import Probe, leaks
from data.checks.lexicon import discloses_ai, has_first_person, phrases, refusal, unasked
from data.checks.names import Known, unknown_names
from data.checks.rows import Corpus, Row
from data.text import fit

__all__ = ["CHECKS", "Context", "check"]

# Four fifths of the character pairs: the same sentence with a particle more or less.
NEAR = 0.8
EXAMPLE = 60


@dataclass(frozen=True, slots=True)
class Context:
    """What the corpus is checked against.

    Attributes:
        persona: whose corpus it is; None for a general one, which has no voice to keep.
        names: what the persona is called.
        text: all that the persona is told: card, lore, greetings.
        project: the rows of the project's corpora.
        probes: the held-out questions.
        anachronisms: words of later times, where the persona brings such a lexicon.
        is_ours: the corpus is one of the project's.
    """

    persona: str | None = None
    names: tuple[str, ...] = ()
    text: str = ""
    project: tuple[Row, ...] = ()
    probes: tuple[Probe, ...] = ()
    anachronisms: tuple[str, ...] = ()
    is_ours: bool = False


Check = Callable[[Sequence[Row], Context], "Iterator[Hit] | None"]


def check(corpus: Corpus, context: Context) -> Iterator[Finding]:
    """Runs every check that the context allows, in the order of `CHECKS`."""
    hits = tuple(Hit(place, reason) for place, reason in corpus.broken)
    yield Finding("unreadable", len(hits), len(hits) + len(corpus.rows), BOUNDS["unreadable"], hits)
    for name, run in CHECKS.items():
        found = run(corpus.rows, context)
        if found is None:
            continue
        hits = tuple(found)
        bound = BOUNDS.get(name) if context.persona or name not in VOICE else None
        total = len(corpus.rows)
        count = total - len(hits) if bound is not None and bound.is_least else len(hits)
        yield Finding(name, count, total, bound, hits)


def _said_twice(rows: Sequence[Row], context: Context) -> Iterator[Hit]:
    del context
    first: dict[tuple[str, ...], int] = {}
    for row in rows:
        key = tuple(fold(text) for turn in row.turns for text in turn)
        if key in first:
            yield _hit(row, f"as {first[key]}: {row.question} → {row.answer}")
        first.setdefault(key, row.place)


def _same_question(rows: Sequence[Row], context: Context) -> Iterator[Hit]:
    """Questions that stand again with another answer."""
    del context
    answers: defaultdict[tuple[str, ...], set[str]] = defaultdict(set)
    for row in rows:
        key = tuple(fold(question) for question, _ in row.turns)
        answer = fold(row.answer)
        if answers[key] - {answer}:
            yield _hit(row, f"{row.question} → {row.answer}")
        answers[key].add(answer)


def _near_question(rows: Sequence[Row], context: Context) -> Iterator[Hit]:
    del context
    yield from _near(rows, [row.question for row in rows])


def _same_answer(rows: Sequence[Row], context: Context) -> Iterator[Hit]:
    """Answers that another row has had already, to whatever question."""
    del context
    seen: set[str] = set()
    for row in rows:
        answer = fold(row.answer)
        if answer in seen:
            yield _hit(row, row.answer)
        seen.add(answer)


def _near_answer(rows: Sequence[Row], context: Context) -> Iterator[Hit]:
    del context
    yield from _near(rows, [row.answer for row in rows])


def _worn_answer(rows: Sequence[Row], context: Context) -> Iterator[Hit]:
    """Rows whose answer is one that many rows have: a model learns to say it always."""
    del context
    counts = Counter(fold(row.answer) for row in rows)
    most = max(WORN_LEAST, WORN_SHARE * len(rows))
    for row in rows:
        times = counts[fold(row.answer)]
        if times > most:
            yield _hit(row, f"{times} times: {row.answer}")


def _near(rows: Sequence[Row], texts: Sequence[str]) -> Iterator[Hit]:
    folded = [fold(text) for text in texts]
    twins = near_twins(folded, threshold=NEAR)
    written = dict(zip(reversed(folded), reversed(texts), strict=True))
    for row, text, key in zip(rows, texts, folded, strict=True):
        if key in twins:
            yield _hit(row, f"{text} ~ {written[twins[key]]}")


def _language(rows: Sequence[Row], context: Context) -> Iterator[Hit]:
    del context
    for row in rows:
        found = other_language(row)
        if found is not None:
            yield _hit(row, f"{row.lang or 'question'} ≠ {found}: {row.answer}")


def _mixed_script(rows: Sequence[Row], context: Context) -> Iterator[Hit]:
    del context
    for row in rows:
        strange = other_script(row)
        if strange is not None:
            yield _hit(row, f"{strange}: {row.replies}")


def _first_person(rows: Sequence[Row], context: Context) -> Iterator[Hit] | None:
    if context.persona is None:
        return None
    return (_hit(row, row.answer) for row in rows if not has_first_person(row.replies))


def _third_person(rows: Sequence[Row], context: Context) -> Iterator[Hit] | None:
    """Answers that speak of the persona by name and say I nowhere."""
    names = phrases(context.names)
    if context.persona is None or names is None:
        return None
    return (
        _hit(row, row.replies)
        for row in rows
        if names.search(row.replies) and not has_first_person(row.replies)
    )


def _meta(rows: Sequence[Row], context: Context) -> Iterator[Hit] | None:
    if context.persona is None:
        return None
    return _worded(rows, unasked)


def _anachronism(rows: Sequence[Row], context: Context) -> Iterator[Hit] | None:
    pattern = phrases(context.anachronisms)
    if pattern is None:
        return None
    return _worded(rows, lambda row: unasked(row, pattern))


def _ai(rows: Sequence[Row], context: Context) -> Iterator[Hit]:
    del context
    return _worded(rows, discloses_ai)


def _refusal(rows: Sequence[Row], context: Context) -> Iterator[Hit]:
    del context
    return _worded(rows, refusal)


def _loop(rows: Sequence[Row], context: Context) -> Iterator[Hit]:
    del context
    return _worded(rows, lambda row: loop(row.answer))


def _cut(rows: Sequence[Row], context: Context) -> Iterator[Hit]:
    del context
    for row, is_cut in zip(rows, are_cut([row.answer for row in rows]), strict=True):
        if is_cut:
            yield _hit(row, f"…{row.answer[-EXAMPLE + 2 :]}")


def _unbalanced(rows: Sequence[Row], context: Context) -> Iterator[Hit]:
    del context
    return _worded(rows, lambda row: unbalanced(row.answer))


def _unknown_name(rows: Sequence[Row], context: Context) -> Iterator[Hit] | None:
    if context.persona is None:
        return None
    known = Known("\n".join((context.text, *context.names)), context.project)
    return _worded(rows, lambda row: ", ".join(unknown_names(row, known, is_ours=context.is_ours)))


def _misaligned(rows: Sequence[Row], context: Context) -> Iterator[Hit]:
    del context
    for slide in slides([row.question for row in rows], [row.answer for row in rows]):
        span = f"{rows[slide.rows[0]].place}-{rows[slide.rows[-1]].place}"
        for at in slide.rows:
            answered = at + slide.offset if slide.first <= at <= slide.last else None
            where = "nowhere here" if answered is None else str(rows[answered].place)
            yield _hit(rows[at], f"block {span}, answered at {where}: {rows[at].question}")


def _leak(rows: Sequence[Row], context: Context) -> Iterator[Hit] | None:
    if not context.probes:
        return None
    return (
        _hit(rows[leak.row], f"{'is' if leak.is_exact else 'is near'} {leak.probe}: {rows[leak.row].asked}")
        for leak in leaks(rows, context.probes)
    )


def _worded(rows: Sequence[Row], find: Callable[[Row], str | None]) -> Iterator[Hit]:
    for row in rows:
        found = find(row)
        if found:
            yield _hit(row, f"{found}: {row.replies}")


def _hit(row: Row, text: str) -> Hit:
    return Hit(row.place, fit(" ".join(text.split()), 4 * EXAMPLE))


# An answer that stands in more rows than this, and in more than two of a hundred.
WORN_LEAST, WORN_SHARE = 20, 0.02

# In an assistant's mouth these are no fault: they are told, without a bound.
VOICE = {"ai_disclosure", "refusal"}

CHECKS: Mapping[str, Check] = {
    "duplicate": _said_twice,
    "same_question": _same_question,
    "near_question": _near_question,
    "same_answer": _same_answer,
    "near_answer": _near_answer,
    "worn_answer": _worn_answer,
    "language": _language,
    "mixed_script": _mixed_script,
    "first_person": _first_person,
    "third_person": _third_person,
    "meta": _meta,
    "ai_disclosure": _ai,
    "refusal": _refusal,
    "anachronism": _anachronism,
    "unknown_name": _unknown_name,
    "loop": _loop,
    "cut": _cut,
    "unbalanced": _unbalanced,
    "misaligned": _misaligned,
    "leak": _leak,
}
BOUNDS: Mapping[str, Bound] = {
    "unreadable": Bound(0),
    "duplicate": Bound(0),
    "worn_answer": Bound(0),
    "language": Bound(0.005),
    "mixed_script": Bound(0.005),
    "first_person": Bound(0.5, is_least=True),
    "third_person": Bound(0.02),
    "meta": Bound(0.005),
    "ai_disclosure": Bound(0.001),
    "refusal": Bound(0.02),
    "anachronism": Bound(0.002),
    "unknown_name": Bound(0.02),
    "loop": Bound(0.001),
    "cut": Bound(0.01),
    "unbalanced": Bound(0.002),
    "misaligned": Bound(0),
    "leak": Bound(0),
}
