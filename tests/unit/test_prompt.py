"""The prompt plan on plain examples: order, budgets, and what is left out."""

from __future__ import annotations

from itertools import pairwise

import pytest

from personas.errors import QuestionTooLong
from personas.prompt import (
    MESSAGE_OVERHEAD,
    Budget,
    Message,
    Turn,
    budget_for,
    head_block,
    kept_from,
    plan,
)

SMALL = Budget(context=400, persona=60, lore=60, memory=60, reply=80)
PERSONA = "You are Harry."


def _turn(number: int, size: int = 10) -> Turn:
    return Turn(f"q{number} " + "x" * size, f"a{number} " + "y" * size)


def test_the_parts_stand_in_their_order():
    planned = plan(
        PERSONA,
        [Turn("你好", "嗨")],
        "魔杖呢？",
        count=len,
        budget=SMALL,
        lore=["冬青木的。"],
        memory=["叫小明。"],
        summary="聊过天气。",
        examples=[Turn("早", "早上好")],
    )
    assert planned.messages == (
        Message("system", PERSONA),
        Message("user", "[summary] 聊过天气。"),
        Message("assistant", "…"),
        Message("user", "早"),
        Message("assistant", "早上好"),
        Message("user", "你好"),
        Message("assistant", "嗨"),
        Message("user", "[lore] 冬青木的。\n[memory] 叫小明。\n\n魔杖呢？"),
    )
    kinds = [part.kind for part in planned.parts]
    assert kinds == ["persona", "summary", "example", "turn", "lore", "memory", "question"]
    assert planned.dropped_turns == 0


def test_the_base_itself_has_no_system_message():
    assert plan("", [], "hi", count=len, budget=SMALL).messages == (Message("user", "hi"),)


def test_earlier_questions_are_shown_as_people_saw_them():
    """Lore of an earlier turn never comes back: the history holds the question alone."""
    planned = plan(
        PERSONA, [Turn("魔杖呢？", "冬青木的。")], "猫头鹰呢？", count=len, budget=SMALL, lore=["海德薇"]
    )
    assert planned.messages[1].content == "魔杖呢？"
    assert "[lore]" not in "".join(message.content for message in planned.messages[:-1])


def test_lore_beyond_its_share_is_left_out_from_the_end():
    planned = plan(PERSONA, [], "q", count=len, budget=SMALL, lore=["a" * 30, "b" * 30, "c"])
    assert planned.messages[-1].content == head_block(["a" * 30], []) + "q"


def test_memory_beyond_its_share_is_left_out_from_the_end():
    planned = plan(PERSONA, [], "q", count=len, budget=SMALL, memory=["a" * 20, "b" * 40])
    assert planned.messages[-1].content == head_block([], ["a" * 20]) + "q"


def test_the_nearest_examples_stay_when_not_all_fit():
    far, near = Turn("far " + "x" * 30, "y" * 10), Turn("near " + "x" * 20, "y" * 5)
    planned = plan(PERSONA, [], "q", count=len, budget=SMALL, examples=[far, near])
    shown = [message.content for message in planned.messages]
    assert near.user in shown
    assert far.user not in shown


def test_a_question_that_alone_does_not_fit_is_refused():
    room = SMALL.dialogue - 2 * MESSAGE_OVERHEAD
    plan(PERSONA, [], "x" * room, count=len, budget=SMALL)
    with pytest.raises(QuestionTooLong):
        plan(PERSONA, [], "x" * (room + 1), count=len, budget=SMALL)


def test_a_card_beyond_its_share_is_paid_for_by_the_dialogue():
    with pytest.raises(QuestionTooLong):
        plan("p" * 160, [], "x" * 60, count=len, budget=SMALL)
    turns = [_turn(number) for number in range(3)]
    longer = plan("p" * 120, turns, "q", count=len, budget=SMALL)
    assert longer.dropped_turns > plan(PERSONA, turns, "q", count=len, budget=SMALL).dropped_turns


def test_several_turns_go_at_once_so_that_the_start_moves_seldom():
    starts = [
        plan(PERSONA, [_turn(n) for n in range(length)], "next", count=len, budget=SMALL).dropped_turns
        for length in range(30)
    ]
    moves = [after - before for before, after in pairwise(starts) if after != before]
    assert moves
    assert min(moves) >= 2
    assert len(moves) < len(starts) // 2


def test_the_first_turns_go_and_never_the_last_ones():
    turns = [_turn(number) for number in range(12)]
    planned = plan(PERSONA, turns, "next", count=len, budget=SMALL)
    asked = [message.content for message in planned.messages if message.role == "user"]
    assert asked == [turn.user for turn in turns[planned.dropped_turns :]] + ["next"]


def test_without_turns_nothing_is_dropped():
    assert kept_from([], 50, 100) == 0
    assert kept_from([(40, 40)], 50, 100) == 1


@pytest.mark.parametrize("context", [256, 512, 1024, 1025, 4096, 8192, 131072])
def test_the_shares_fit_into_the_context(context):
    budget = budget_for(context)
    assert budget.context <= context
    assert min(budget.persona, budget.lore, budget.memory, budget.reply) > 0
    assert budget.dialogue >= budget.context // 4


def test_the_starters_shares_are_those_of_the_design():
    assert budget_for(1024) == Budget(context=1024, persona=160, lore=160, memory=160, reply=224)
