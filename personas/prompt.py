"""Card, summary, history, lore and memory become the messages of one request; pure.

Order: persona (constant, so that its KV is shared by all its chats), rolling summary, the dialogue as it
was shown (without the lore of earlier turns), then the new user message with this turn's lore and memory
as a marked block at its head. The messages of turn n up to its new user message are a prefix of turn
n + 1's as long as the summary is unchanged and no turn was dropped; several turns are dropped at once,
so that this is rare. `engine.prompt` turns the messages into token ids; serving, training and evaluation
all come through here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from personas.errors import QuestionTooLong

__all__ = [
    "Budget",
    "Message",
    "Part",
    "Plan",
    "Role",
    "Turn",
    "budget_for",
    "head_block",
    "kept_from",
    "plan",
]

Role = Literal["system", "user", "assistant"]
Count = Callable[[str], int]

# Role markers and newlines around one message; a template of a larger base needs no more than this.
MESSAGE_OVERHEAD = 6
SMALL_CONTEXT = 1024
LARGE_CONTEXT = 8192


@dataclass(frozen=True, slots=True)
class Message:
    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Turn:
    """One finished exchange as people saw it; several speakers in a row are already merged."""

    user: str
    assistant: str

    def rewritten(self, rewrite: Callable[[str], str]) -> Turn:
        """The exchange with both sides put through ``rewrite``."""
        return Turn(rewrite(self.user), rewrite(self.assistant))


@dataclass(frozen=True, slots=True)
class Budget:
    """Token shares of one request; ``context`` is what the base can hold in all."""

    context: int
    persona: int
    lore: int
    memory: int
    reply: int

    @property
    def dialogue(self) -> int:
        """What is left for summary, earlier turns and the new message."""
        return self.context - self.persona - self.lore - self.memory - self.reply


@dataclass(frozen=True, slots=True)
class Part:
    """One piece of the prompt, for ``--explain``."""

    kind: Literal["persona", "summary", "example", "turn", "lore", "memory", "question"]
    text: str
    tokens: int
    why: str


@dataclass(frozen=True, slots=True)
class Plan:
    messages: tuple[Message, ...]
    parts: tuple[Part, ...]
    dropped_turns: int


def budget_for(context: int) -> Budget:
    """160/160/160 and 224 for the reply on 1,024 tokens; larger bases by share, with caps."""
    if context <= SMALL_CONTEXT:
        scale = context / SMALL_CONTEXT
        return Budget(context, *(int(n * scale) for n in (160, 160, 160, 224)))
    used = min(context, LARGE_CONTEXT)
    return Budget(
        used,
        persona=min(800, used * 5 // 32),
        lore=min(600, used * 5 // 32),
        memory=min(400, used * 5 // 32),
        reply=min(700, used * 7 // 32),
    )


def head_block(lore: Sequence[str], memory: Sequence[str], similar: Sequence[Turn] = ()) -> str:
    """The marked block at the head of a new user message; empty where nothing is known.

    An exchange's reply begins on a line of its own, as replies do: what follows is the same token there and
    here, so that a small model can take it over.
    """
    lines = [f"[lore] {text}" for text in lore] + [f"[memory] {text}" for text in memory]
    lines += [f"[like] {turn.user}\n[reply]\n{turn.assistant}" for turn in similar]
    return "\n".join(lines) + "\n\n" if lines else ""


def kept_from(sizes: Sequence[tuple[int, int]], asked: int, budget: int) -> int:
    """The index of the first turn that stays.

    Replays the conversation question by question: whenever one does not fit beside what was kept, the
    oldest turns go until half of the budget is free. So the start moves seldom, and what was decided for
    an earlier question is decided the same way again.

    Args:
        sizes: tokens of (question, reply) of each finished turn, oldest first.
        asked: tokens of the new question.
        budget: tokens for dialogue in all.
    """
    start, total = 0, 0
    questions = [question for question, _ in sizes] + [asked]
    for index, question in enumerate(questions):
        if total + question > budget:
            while start < index and total + question > budget // 2:
                total -= sum(sizes[start])
                start += 1
        if index < len(sizes):
            total += sum(sizes[index])
    return start


def plan(
    persona: str,
    turns: Sequence[Turn],
    question: str,
    *,
    count: Count,
    budget: Budget,
    lore: Sequence[str] = (),
    memory: Sequence[str] = (),
    summary: str = "",
    similar: Sequence[Turn] = (),
    examples: Sequence[Turn] = (),
) -> Plan:
    """Builds the request for the next reply.

    Args:
        persona: the constant text that says who speaks; "" talks to the base itself.
        turns: the conversation so far, oldest first.
        question: the new message as people saw it.
        count: tokens of a text under the base's tokenizer.
        budget: the shares; lore and memory beyond theirs are left out from the end.
        lore: this turn's facts in the asked language, best first.
        memory: what is remembered of the speaker, best first.
        summary: the rolling summary of what was dropped.
        similar: exchanges like this one, in what lore and memory leave of their shares; the nearest last.
        examples: exchanges shown as turns, for a base without an adapter; the nearest last.

    Raises:
        QuestionTooLong: the question alone does not fit.
    """
    facts, fact_parts = _fit("lore", lore, budget.lore, count)
    remembered, memory_parts = _fit("memory", memory, budget.memory, count)
    left = budget.lore + budget.memory - sum(part.tokens for part in (*fact_parts, *memory_parts))
    likened, like_parts = _fit_examples(similar, left, count)
    asked = count(question) + MESSAGE_OVERHEAD
    # The reply's own markers stand before its reserve.
    room = budget.dialogue - MESSAGE_OVERHEAD
    room -= _overrun(persona, budget, count) + _summary_size(summary, count)
    if asked > room:
        raise QuestionTooLong
    # A fixed share, so that the examples of one question do not decide which turns stay.
    share = room // 2 if examples else 0
    shown, example_parts = _fit_examples(examples, min(share, room - asked), count)
    sizes = [_turn_sizes(turn, count) for turn in turns]
    start = kept_from(sizes, asked, room - share)
    parts: list[Part] = []
    messages: list[Message] = []
    if persona:
        messages.append(Message("system", persona))
        parts.append(Part("persona", persona, count(persona), "who speaks; the same in every request"))
    for turn in (*shown, *turns[start:]):
        messages += [Message("user", turn.user), Message("assistant", turn.assistant)]
    if summary:
        parts.append(Part("summary", summary, count(summary), "what left the window"))
        messages = _with_summary(messages, summary)
    parts += example_parts
    parts += [
        Part("turn", f"{turn.user}\n{turn.assistant}", sum(size), "earlier in this conversation")
        for turn, size in zip(turns[start:], sizes[start:], strict=True)
    ]
    parts += fact_parts + memory_parts + like_parts
    parts.append(Part("question", question, asked, "the new message"))
    messages.append(Message("user", head_block(facts, remembered, likened) + question))
    return Plan(tuple(messages), tuple(parts), dropped_turns=start)


def _overrun(persona: str, budget: Budget, count: Count) -> int:
    """What a persona's text takes beyond its share; the dialogue pays for it."""
    return max(0, count(persona) + MESSAGE_OVERHEAD - budget.persona) if persona else 0


def _summary_size(summary: str, count: Count) -> int:
    if not summary:
        return 0
    return sum(count(message.content) + MESSAGE_OVERHEAD for message in _summary_messages(summary))


def _turn_sizes(turn: Turn, count: Count) -> tuple[int, int]:
    return count(turn.user) + MESSAGE_OVERHEAD, count(turn.assistant) + MESSAGE_OVERHEAD


def _fit(
    kind: Literal["lore", "memory"], texts: Sequence[str], budget: int, count: Count
) -> tuple[list[str], list[Part]]:
    kept: list[str] = []
    parts: list[Part] = []
    for text in texts:
        tokens = count(head_block([text], []) if kind == "lore" else head_block([], [text]))
        if tokens > budget:
            break
        budget -= tokens
        kept.append(text)
        parts.append(Part(kind, text, tokens, "nearest to the question"))
    return kept, parts


def _fit_examples(examples: Sequence[Turn], share: int, count: Count) -> tuple[list[Turn], list[Part]]:
    kept: list[Turn] = []
    parts: list[Part] = []
    for turn in reversed(examples):
        tokens = sum(_turn_sizes(turn, count))
        if tokens > share:
            continue
        share -= tokens
        kept.append(turn)
        parts.append(Part("example", f"{turn.user}\n{turn.assistant}", tokens, "a question like this one"))
    return kept[::-1], parts[::-1]


def _summary_messages(summary: str) -> tuple[Message, Message]:
    return Message("user", f"[summary] {summary}"), Message("assistant", "…")


def _with_summary(messages: list[Message], summary: str) -> list[Message]:
    """The summary stands in the first message after the persona, never in the constant part."""
    head = 1 if messages and messages[0].role == "system" else 0
    return [*messages[:head], *_summary_messages(summary), *messages[head:]]
