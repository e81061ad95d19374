"""Simulated people: how reliable their thumbs are, how much they say, what they agree to; pure and seeded.

Few say most of it: activity is log-normal, as messages on chat servers are. Raters are right in 65 to 90 of
100 cases (the table of `training.aggregate`'s simulation), whoever steers against the others in 10.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Literal

from data.records import Answer

__all__ = [
    "Person", "crowd", "next_speaker", "passers_by", "split", "thumb", "with_heavy_troll", "with_trolls",
]  # fmt: skip

# Least and most often right; a moderator; somebody who votes against what they see.
RELIABLE = (0.65, 0.90)
MODERATOR = 0.95
TROLL = 0.10
# Of ten people eight let their chats train, one gives only the vote, one never answers.
CONSENTS: tuple[tuple[Answer | None, float], ...] = (("yes", 0.8), ("vote", 0.1), (None, 0.1))
SPREAD = 1.0
MODERATORS = 4
HEAVY = 30.0


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody on the server.

    Attributes:
        id: as the platform numbers them.
        name: as it names them.
        reliability: how often their thumb says what they were to find, 0 to 1.
        activity: how much they say and vote, relative to others.
        consent: what they answer to the consent question; None never answers.
        role: a moderator's thumb is gold.
    """

    id: str
    name: str
    reliability: float
    activity: float
    consent: Answer | None
    role: Literal["user", "moderator"] = "user"


def crowd(many: int, *, seed: int, moderators: int = MODERATORS) -> tuple[Person, ...]:
    """So many people, of whom the first few are moderators."""
    draw = Random(seed)  # noqa: S311 - a simulation, not a secret
    consents = _consents(many - moderators, draw)
    people = [
        Person(
            f"{1000 + number}",
            f"person {number}",
            draw.uniform(*RELIABLE),
            draw.lognormvariate(0, SPREAD),
            "yes" if number < moderators else consents[number - moderators],
        )
        for number in range(many)
    ]
    chosen = [replace(one, reliability=MODERATOR, role="moderator") for one in people[:moderators]]
    return (*chosen, *people[moderators:])


def thumb(person: Person, draw: Random, *, is_good: bool) -> int:
    """What the person presses under a reply: 1 or -1."""
    is_right = draw.random() < person.reliability
    return 1 if is_good == is_right else -1


def next_speaker(people: Sequence[Person], draw: Random, *, busy: Collection[str] = ()) -> Person:
    """Who begins the next conversation: nobody of the ``busy`` ids, the active ones more often."""
    free = [person for person in people if person.id not in busy]
    return draw.choices(free, [person.activity for person in free])[0]


def passers_by(people: Sequence[Person], draw: Random, *, mean: float, besides: str) -> Iterator[Person]:
    """Who else votes on a reply: a geometric number, nobody twice, not the one with the id ``besides``."""
    here = [person for person in people if person.id != besides and person.role == "user"]
    while here and draw.random() < mean / (1 + mean):
        found = next_speaker(here, draw)
        here.remove(found)
        yield found


def with_trolls(people: Sequence[Person], share: float, draw: Random) -> tuple[Person, ...]:
    """The same people, a share of the raters turned into trolls."""
    raters = [person.id for person in people if person.role == "user"]
    trolls = set(draw.sample(raters, round(share * len(raters))))
    return tuple(replace(one, reliability=TROLL) if one.id in trolls else one for one in people)


def with_heavy_troll(people: Sequence[Person]) -> tuple[Person, ...]:
    """The same people, the last of them a troll who says as much as thirty others."""
    mean = sum(person.activity for person in people) / len(people)
    *others, last = people
    return (*others, replace(last, reliability=TROLL, activity=HEAVY * mean, consent="yes"))


def split(people: Sequence[Person]) -> tuple[Person, ...]:
    """The same people, every other moderator of the opposite opinion."""
    moderators = [person.id for person in people if person.role == "moderator"]
    against = set(moderators[1::2])
    return tuple(
        replace(one, reliability=1 - one.reliability) if one.id in against else one for one in people
    )


def _consents(many: int, draw: Random) -> list[Answer | None]:
    """As many of each answer as its share says, in a drawn order."""
    found: list[Answer | None] = []
    for answer, share in CONSENTS[1:]:
        found += [answer] * round(share * many)
    found += [CONSENTS[0][0]] * (many - len(found))
    draw.shuffle(found)
    return found
