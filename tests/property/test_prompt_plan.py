"""The prompt plan for any conversation: prefixes that caches live on, budgets, whole turns."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from personas.errors import QuestionTooLong
from personas.prompt import MESSAGE_OVERHEAD, Budget, Message, Plan, Turn, kept_from, plan

TEXT = st.text(alphabet="ab 月酒\n[lore]<|im_start|>", min_size=1, max_size=60)
TURNS = st.lists(st.builds(Turn, TEXT, TEXT), max_size=14)
LINES = st.lists(TEXT, max_size=4)
BUDGETS = st.builds(
    lambda dialogue, share: Budget(dialogue + 3 * share + 40, share, share, share, 40),
    st.integers(60, 600),
    st.integers(20, 120),
)
PERSONA = "You are Li Bai."


def _count(text: str) -> int:
    """One token per UTF-8 byte: what stands in where no tokenizer is known."""
    return len(text.encode())


def _plan(turns: list[Turn], question: str, budget: Budget, **more: object) -> Plan | None:
    try:
        return plan(PERSONA, turns, question, count=_count, budget=budget, **more)  # type: ignore[arg-type]
    except QuestionTooLong:
        return None


def _size(messages: tuple[Message, ...]) -> int:
    return sum(_count(message.content) + MESSAGE_OVERHEAD for message in messages)


@given(turns=TURNS, reply=TEXT, question=TEXT, following=TEXT, budget=BUDGETS, lore=LINES, summary=TEXT)
@settings(deadline=None, max_examples=300)
def test_a_turns_messages_up_to_its_question_are_a_prefix_of_the_next_turns(
    turns, reply, question, following, budget, lore, summary
):
    now = _plan(turns, question, budget, lore=lore, summary=summary)
    then = _plan([*turns, Turn(question, reply)], following, budget, memory=lore, summary=summary)
    if now is None or then is None:
        return
    assert then.dropped_turns >= now.dropped_turns
    if then.dropped_turns == now.dropped_turns:
        before = now.messages[:-1]
        assert then.messages[: len(before)] == before
        assert then.messages[len(before)] == Message("user", question)


@given(
    turns=TURNS, question=TEXT, budget=BUDGETS, lore=LINES, memory=LINES, summary=st.just("") | TEXT,
    examples=TURNS, persona=st.just("") | st.just(PERSONA) | TEXT,
)  # fmt: skip
@settings(deadline=None, max_examples=300)
def test_no_request_is_longer_than_the_context_less_the_reply(
    turns, question, budget, lore, memory, summary, examples, persona
):
    try:
        planned = plan(
            persona, turns, question, count=_count, budget=budget,
            lore=lore, memory=memory, summary=summary, examples=examples,
        )  # fmt: skip
    except QuestionTooLong:
        return
    assert _size(planned.messages) + MESSAGE_OVERHEAD <= budget.context - budget.reply
    for kind, share in (("lore", budget.lore), ("memory", budget.memory)):
        assert sum(_count(part.text) for part in planned.parts if part.kind == kind) <= share


@given(turns=TURNS, question=TEXT, budget=BUDGETS, lore=LINES)
@settings(deadline=None)
def test_turns_stay_whole_and_in_order(turns, question, budget, lore):
    planned = _plan(turns, question, budget, lore=lore)
    if planned is None:
        return
    kept = turns[planned.dropped_turns :]
    shown = planned.messages[1:-1]
    assert shown == tuple(
        message
        for turn in kept
        for message in (Message("user", turn.user), Message("assistant", turn.assistant))
    )
    assert planned.messages[0] == Message("system", PERSONA)
    assert planned.messages[-1].role == "user"
    assert planned.messages[-1].content.endswith(question)


@given(turns=TURNS, question=TEXT, budget=BUDGETS)
@settings(deadline=None)
def test_the_same_conversation_is_planned_the_same_way(turns, question, budget):
    assert _plan(turns, question, budget) == _plan(list(turns), question, budget)


@given(
    sizes=st.lists(st.tuples(st.integers(1, 50), st.integers(1, 50)), max_size=25),
    asked=st.integers(1, 50),
    budget=st.integers(50, 400),
)
@settings(deadline=None)
def test_what_an_earlier_question_decided_is_decided_again(sizes, asked, budget):
    """Replaying shows every start that the conversation had, never an earlier one."""
    starts = [kept_from(sizes[:length], sizes[length][0], budget) for length in range(len(sizes))]
    starts.append(kept_from(sizes, asked, budget))
    assert starts == sorted(starts)
    last = starts[-1]
    assert last == len(sizes) or sum(map(sum, sizes[last:])) + asked <= budget
