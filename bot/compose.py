"""One request to the engine: who is asked, with which messages, drawn how."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from random import Random

from bot.tokens import Tokens
from data.script import Lang
from engine.protocol import BASE_MODEL, Message, Sampling
from personas.loader import Persona
from personas.prompt import Part, Turn, budget_for, plan
from personas.recall import Recalled, recall

__all__ = ["Composed", "compose"]

# RoleGPT's way (arXiv 2310.00746): the five nearest written exchanges as turns.
EXAMPLES = 5


@dataclass(frozen=True, slots=True)
class Composed:
    """What goes to the engine, and what went into it."""

    model: str
    messages: tuple[Message, ...]
    parts: tuple[Part, ...]
    lore: tuple[str, ...]
    sampling: Sampling


async def compose(
    persona: Persona | None,
    turns: Sequence[Turn],
    question: str,
    *,
    lang: Lang,
    tokens: Tokens,
    context: int,
    adapter: str | None,
    seed: int,
    recalls: bool = True,
    varies: bool = True,
) -> Composed:
    """Plans the request for the next reply.

    Args:
        persona: None talks to the base itself.
        turns: the conversation so far.
        question: the new message, cleaned.
        lang: the language to answer in; only its lore is shown.
        tokens: counts under the engine's base.
        context: of the base.
        adapter: the persona's model name; None speaks by card, lore and nearest examples.
        seed: of the draw.
        recalls: shows lore and like exchanges; without, the persona has only its card and what it learnt.
        varies: the seed draws among like exchanges that are about as near; else it is always the nearest.

    Raises:
        QuestionTooLong: the question alone does not fit.
    """
    budget = budget_for(context)
    if persona is None:
        planned = await tokens.planned(lambda count: plan("", turns, question, count=count, budget=budget))
        sampling = Sampling(max_tokens=budget.reply, seed=seed)
        return Composed(BASE_MODEL, planned.messages, planned.parts, (), sampling)
    before = f"{turns[-1].user}\n{turns[-1].assistant}" if turns else ""
    draw = Random(seed) if varies else None  # noqa: S311 - a choice of words, not a secret
    recalled = recall(persona, question, lang, before=before, draw=draw) if recalls else Recalled((), ())
    shows_turns = recalls and adapter is None
    examples = persona.examples.nearest(question, lang, limit=EXAMPLES, before=before) if shows_turns else ()
    planned = await tokens.planned(
        lambda count: plan(
            persona.prompt_text,
            turns,
            question,
            count=count,
            budget=budget,
            lore=[section.text(lang) for section in recalled.lore],
            similar=recalled.similar if adapter else (),
            examples=examples,
        )
    )
    voice = asdict(persona.sampling)
    voice["max_tokens"] = min(voice["max_tokens"], budget.reply)
    return Composed(
        adapter or BASE_MODEL,
        planned.messages,
        planned.parts,
        tuple(section.slug for section in recalled.lore),
        Sampling(**voice, seed=seed),
    )
