"""Conversations: people ask, vote on what they hear and on what others hear; moderators judge and compare."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from bot.bench.people import Person, next_speaker, passers_by, thumb
from bot.bench.square import Square
from bot.bench.tastes import Predicate
from bot.platform import Card, VoteOutcome

__all__ = ["AT_ONCE", "Crowd", "Habits", "Talks"]

# The engine decodes so many requests in turn; more only wait in its queue.
AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Habits:
    """How people behave; shares are 0 to 1.

    Attributes:
        turns: how many messages a conversation has, drawn.
        voted: so often whoever asked votes on the reply.
        others: so many others vote on it, in the mean; on a small server it would be none.
        judged: so often a moderator judges a reply beside that.
        compared: for so many of a hundred replies moderators have another one written and choose.
    """

    turns: tuple[int, ...] = (2, 3, 4)
    voted: float = 0.7
    others: float = 3.0
    judged: float = 0.08
    compared: float = 0.04


@dataclass(frozen=True, slots=True)
class Crowd:
    """Who comes, what they ask of each persona and what they like in its replies."""

    people: Sequence[Person]
    questions: Mapping[str, Sequence[str]]
    likes: Mapping[str, Predicate]
    habits: Habits


class Talks:
    """The people's side of the bench; ``tick`` is called for every reply that was heard."""

    def __init__(self, square: Square, crowd: Crowd, *, seed: int, tick: Callable[[], None]) -> None:
        self._square = square
        self._crowd = crowd
        self._seed = seed
        self._tick = tick
        self._draw = Random(seed)  # noqa: S311 - a simulation, not a secret
        self._numbers = itertools.count(1)
        self._talking: set[str] = set()
        self._moderators = [person for person in crowd.people if person.role == "moderator"]

    async def talk(self, replies: Mapping[str, int]) -> None:
        """Has people talk with the personas until each gave about so many replies."""
        left = dict(replies)

        async def talker() -> None:
            while (persona := max(left, key=left.__getitem__)) and left[persona] > 0:
                turns = self._draw.choice(self._crowd.habits.turns)
                left[persona] -= turns
                await self._conversation(persona, turns)

        async with asyncio.TaskGroup() as tasks:
            for _ in range(AT_ONCE):
                tasks.create_task(talker())

    async def compare(self, persona: str, replies: int) -> None:
        """Moderators have another reply written for some of so many, and choose."""
        draw = Random(f"{self._seed} compare {next(self._numbers)}")  # noqa: S311
        for _ in range(round(self._crowd.habits.compared * replies) if self._moderators else 0):
            await self._compared(draw.choice(self._moderators), persona, draw)

    async def _conversation(self, persona: str, turns: int) -> None:
        number = next(self._numbers)
        # A draw of its own: what happens beside it does not change what is said in it.
        draw = Random(f"{self._seed} {number}")  # noqa: S311
        person = next_speaker(self._crowd.people, draw, busy=self._talking)
        self._talking.add(person.id)
        try:
            for question in draw.choices(self._crowd.questions[persona], k=turns):
                await self._exchange(person, f"thread-{number}", persona, question, draw)
        finally:
            self._talking.discard(person.id)

    async def _exchange(self, person: Person, thread: str, persona: str, question: str, draw: Random) -> None:
        answer = await self._square.ask(person, thread, persona, question)
        self._tick()
        if answer is None:
            return
        is_good = self._crowd.likes[persona](question, answer.text)
        for voter in self._voters(person, draw):
            await self._square.vote(voter, thread, answer.reply_id, thumb(voter, draw, is_good=is_good))

    def _voters(self, person: Person, draw: Random) -> list[Person]:
        habits = self._crowd.habits
        found = [person] if draw.random() < habits.voted else []
        found += passers_by(self._crowd.people, draw, mean=habits.others, besides=person.id)
        if self._moderators and draw.random() < habits.judged:
            moderator = draw.choice(self._moderators)
            found += [moderator] if moderator is not person else []
        return found

    async def _compared(self, moderator: Person, persona: str, draw: Random) -> None:
        outcome = await self._square.command(moderator, "review", persona)
        again = _button(outcome, "again")
        if again is None:
            return
        outcome = await self._square.press(moderator, again)
        if outcome.card is None or len(outcome.card.replies) == 1:
            # The same words came again: left to somebody else.
            choice = _button(outcome, "skip")
        else:
            choice = self._choice(outcome.card, moderator, persona, draw)
        if choice is not None:
            outcome = await self._square.press(moderator, choice)
            await self._square.consent(moderator, outcome)

    def _choice(self, card: Card, moderator: Person, persona: str, draw: Random) -> str:
        """The button for the better of two replies, or for neither."""
        question = next((line.text for line in reversed(card.said) if not line.is_persona), "")
        likes = self._crowd.likes[persona]
        seen = [thumb(moderator, draw, is_good=likes(question, reply)) for reply in card.replies]
        place = seen.index(1) if seen.count(1) == 1 else len(seen)
        return card.buttons[place].data


def _button(outcome: VoteOutcome, verdict: str) -> str | None:
    buttons = () if outcome.card is None else outcome.card.buttons
    return next((one.data for one in buttons if one.data.split(":")[2] == verdict), None)
