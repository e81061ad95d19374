"""Questions beyond what a persona was written to know are met by exchanges that were written for such."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from data.stopwords import is_sum
from personas.examples import Example, Examples
from personas.loader import load_persona
from personas.prompt import Turn
from personas.recall import recall
from personas.unknown import FEWEST, Unknown, is_for_the_unknown

ROOT = Path(__file__).resolve().parents[2]
THINGS = ("owl", "broom", "wand", "scar", "aunt", "friend", "house", "school")
STRANGE = ("printer", "stocks", "python", "laptop", "burger", "visa", "router", "striker")


def known(count):
    return [
        (f"tell me of your {THINGS[n % len(THINGS)]} please {n}", "X-ID-01", f"Mine is grand {n}.")
        for n in range(count)
    ]


def strange(count):
    return [
        (f"how do i fix the {STRANGE[n % len(STRANGE)]} in version {n}", "X-OFF-01", f"Beyond me {n}.")
        for n in range(count)
    ]


def examples(rows):
    return Examples(Example(Turn(question, answer), "en", topic) for question, topic, answer in rows)


def test_a_strange_question_is_met_as_strange_though_a_known_exchange_is_nearer():
    shelf = examples([*known(80), *strange(FEWEST), ("the broom of the house", "X-ID-02", "By the door.")])
    (*_, nearest) = shelf.nearest("how do i fix the broom of the laptop", "en", limit=3)
    assert nearest.assistant.startswith("Beyond me")


def test_a_few_strange_exchanges_settle_nothing():
    rows = [*known(80), *strange(FEWEST - 1)]
    unknown = Unknown((question, question.split(), topic) for question, topic, _ in rows)
    asked = "how do i fix the laptop in version 99"
    assert not unknown.holds(asked, asked.split())


@pytest.mark.parametrize("slug", ["harry_potter", "li_bai"])
def test_a_known_question_that_was_written_is_never_strange(slug):
    persona = load_persona(ROOT / "personas" / slug)
    for_the_unknown = {one.turn.assistant for one in persona.examples.all if is_for_the_unknown(one.topic)}
    rows = [
        one
        for one in persona.examples.all
        if not is_for_the_unknown(one.topic) and not is_sum(one.turn.user) and len(one.turn.user) > 6
    ]
    met_as_strange = [
        one.turn.user
        for one in random.Random(3).sample(rows, 60)
        if recall(persona, one.turn.user, one.lang).similar[-1].assistant in for_the_unknown
    ]
    assert met_as_strange == []


@pytest.mark.parametrize("slug", ["harry_potter", "li_bai"])
def test_most_strange_and_few_known_questions_never_seen_are_met_as_strange(slug):
    persona = load_persona(ROOT / "personas" / slug)
    rows = [one for one in persona.examples.all if one.lang != "zh-TW" and not is_sum(one.turn.user)]
    for_the_unknown = {one.turn.assistant for one in rows if is_for_the_unknown(one.topic)}

    def met_as_strange(sample):
        found = [recall(persona, one.turn.user, one.lang, unseen=True).similar for one in sample]
        return sum(bool(turns) and turns[-1].assistant in for_the_unknown for turns in found) / len(sample)

    draw = random.Random(5)
    assert met_as_strange(draw.sample([one for one in rows if is_for_the_unknown(one.topic)], 80)) > 0.5
    assert met_as_strange(draw.sample([one for one in rows if not is_for_the_unknown(one.topic)], 80)) < 0.15
