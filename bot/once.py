"""`troupe chat --once` and `--batch`: questions through an engine, without store or memory of people.

The engine is the configured one, else one that runs for this home, else one of our own that ends afterwards.
The adapter is the champion that the running bot mirrored, else v0 of the base.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bot.compose import Composed, compose
from bot.guard import presentable
from bot.tokens import Tokens
from data.home import Home
from data.manifest import ManifestError, verify
from data.script import script_of
from data.text import clean
from engine.errors import EngineBusy, EngineError
from engine.protocol import Engine, EngineInfo, Message, model_name
from personas.errors import PersonaError
from personas.loader import Persona
from personas.prompt import Turn, budget_for, plan

__all__ = ["Asked", "Guest", "Heard", "likelihoods", "read_batch", "visit"]

AT_ONCE = 4
SMALLEST_CONTEXT = 1024
MOST_WAITS = 20


@dataclass(frozen=True, slots=True)
class Asked:
    """One row of a batch; ``error`` says why it cannot be asked."""

    id: str | int
    turns: tuple[str, ...] = ()
    error: str | None = None
    is_multi: bool = False


@dataclass(frozen=True, slots=True)
class Heard:
    """What came of it; ``explained`` is what went into the last prompt."""

    asked: Asked
    replies: tuple[str, ...] = ()
    seconds: float = 0.0
    error: str | None = None
    explained: Composed | None = None


class Guest:
    """Asks one persona, or the base, on an engine."""

    def __init__(
        self,
        engine: Engine,
        info: EngineInfo,
        persona: Persona | None,
        adapter: str | None,
        *,
        seed: int = 0,
        greedy: bool = False,
        recalls: bool = True,
    ) -> None:
        self._engine = engine
        self._info = info
        self._persona = persona
        self._seed = seed
        self._greedy = greedy
        self._recalls = recalls
        self._tokens = Tokens(engine)
        self._tokens.use(info)
        self.adapter = adapter

    async def ask(self, asked: Asked) -> Heard:
        """Asks turn by turn."""
        if asked.error is not None:
            return Heard(asked, error=asked.error)
        began = time.monotonic()
        history: list[Turn] = []
        composed = None
        try:
            for question in asked.turns:
                composed, turn = await self.turn(history, question, f"{asked.id}-{len(history)}")
                history.append(turn)
        except (EngineError, PersonaError) as error:
            return Heard(asked, error=str(error))
        replies = tuple(turn.assistant for turn in history)
        return Heard(asked, replies, round(time.monotonic() - began, 3), explained=composed)

    async def turn(
        self,
        history: Sequence[Turn],
        question: str,
        name: str,
        *,
        hear: Callable[[str], None] | None = None,
    ) -> tuple[Composed, Turn]:
        """Asks the next question of a conversation; ``hear`` gets the reply's text as it grows.

        Raises:
            EngineError, PersonaError: there is no reply, with the reason.
        """
        cleaned = clean(question).strip()
        composed = await self.composed(history, cleaned)
        return composed, Turn(cleaned, await self._reply(composed, name, hear))

    async def batch(self, rows: Sequence[Asked], emit: Callable[[Heard], None]) -> None:
        """Asks a few at once and emits the answers in the order of the rows."""
        gate = asyncio.Semaphore(AT_ONCE)

        async def one(row: Asked) -> Heard:
            async with gate:
                return await self.ask(row)

        async with asyncio.TaskGroup() as tasks:
            for task in [tasks.create_task(one(row)) for row in rows]:
                emit(await task)

    async def shown(
        self, question: str, name: str, *, lore: Sequence[str] = (), memory: Sequence[str] = ()
    ) -> str:
        """The reply to a question whose prompt shows these lines and nothing that was looked up.

        Raises:
            EngineError, PersonaError: there is no reply, with the reason.
        """
        composed = await self.composed((), question)
        card = self._persona.prompt_text if self._persona else ""
        budget = budget_for(self._info.context or SMALLEST_CONTEXT)
        planned = await self._tokens.planned(
            lambda count: plan(card, (), question, count=count, budget=budget, lore=lore, memory=memory)
        )
        return await self._reply(replace(composed, messages=planned.messages), name, None)

    async def likelihoods(self, question: str, replies: Sequence[str], name: str) -> list[float]:
        """How likely each reply to a question is, as served.

        Raises:
            EngineError, PersonaError: the engine does not tell, with the reason.
        """
        composed = await self.composed((), question)
        return await likelihoods(self._engine, composed.model, composed.messages, replies, name)

    async def composed(self, history: Sequence[Turn], question: str) -> Composed:
        """The request for the next reply."""
        composed = await compose(
            self._persona,
            history,
            question,
            lang=script_of(question, script_of(history[-1].user) if history else None),
            tokens=self._tokens,
            context=self._info.context or SMALLEST_CONTEXT,
            adapter=self.adapter,
            seed=self._seed,
            recalls=self._recalls,
            varies=not self._greedy,
        )
        if self._greedy:
            return replace(composed, sampling=replace(composed.sampling, temperature=0.0))
        return composed

    async def _reply(self, composed: Composed, name: str, hear: Callable[[str], None] | None) -> str:
        waits = 0
        while True:
            text = ""
            try:
                async for delta in self._engine.generate(
                    composed.model, composed.messages, composed.sampling, request_id=name
                ):
                    text += delta.text
                    if hear is not None:
                        hear(presentable(text, final=False))
            except EngineBusy as error:
                waits += 1
                if waits > MOST_WAITS:
                    raise
                await asyncio.sleep(error.retry_after_s)
                continue
            return presentable(text, final=True)


async def likelihoods(
    engine: Engine, model: str, messages: Sequence[Message], replies: Sequence[str], name: str
) -> list[float]:
    """The log-probability of each reply to a conversation, its end marker included.

    Raises:
        EngineError: the engine does not tell.
    """
    before = await engine.likelihood(model, messages, request_id=name)
    found = []
    for number, reply in enumerate(replies):
        said = [*messages, Message("assistant", reply)]
        found.append(await engine.likelihood(model, said, request_id=f"{name}-{number}") - before)
    return found


async def visit(
    engine: Engine,
    home: Home,
    shipped: Path,
    persona: Persona | None,
    *,
    seed: int,
    greedy: bool,
    recalls: bool = True,
) -> Guest:
    """A guest with the persona's adapter loaded; without one for this base, by prompt only.

    Raises:
        EngineError: the engine does not answer, or refuses the adapter.
    """
    info = await engine.info()
    adapter = None
    if persona is not None and info.can_load_adapters and info.base_fingerprint is not None:
        found = _adapter(home, shipped, persona.slug, info.base_fingerprint)
        if found is not None:
            adapter, path = found
            await engine.load(adapter, path)
    return Guest(engine, info, persona, adapter, seed=seed, greedy=greedy, recalls=recalls)


def read_batch(text: str) -> list[Asked]:
    """The rows of a batch; one that cannot be read keeps its place and says why."""
    return [_row(line, number) for number, line in enumerate(text.splitlines(), 1) if line.strip()]


def _adapter(home: Home, shipped: Path, slug: str, fingerprint: str) -> tuple[str, Path] | None:
    with suppress(OSError, ValueError, KeyError, TypeError, ManifestError):
        mirror = json.loads(home.champions.read_text(encoding="utf-8"))
        if mirror["base_fingerprint"] == fingerprint:
            champion = mirror["champions"][slug]
            verify(Path(champion["path"]), base_fingerprint=fingerprint)
            return champion["name"], Path(champion["path"])
    with suppress(ManifestError):
        folder = shipped / slug / "v0"
        return model_name(slug, verify(folder, base_fingerprint=fingerprint).digest), folder
    return None


def _row(line: str, number: int) -> Asked:
    identity: str | int = f"line {number}"
    try:
        values: dict[str, Any] = json.loads(line)
        given = values.get("id", identity)
        identity = given if isinstance(given, int) else str(given).encode("utf-8", "replace").decode()
        turns = values["turns"] if "turns" in values else [values["question"]]
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError):
        return Asked(identity, error=f'line {number} must be {{"id", "question"}} or {{"id", "turns": […]}}')
    if not isinstance(turns, list) or not turns or not all(map(_is_asked, turns)):
        return Asked(identity, error=f"line {number}: every question must be a text that is not empty")
    return Asked(identity, tuple(turns), is_multi="turns" in values)


def _is_asked(question: object) -> bool:
    return isinstance(question, str) and bool(clean(question).strip())
