"""Measures of made-up adapters, in the sizes of the project's sets: graded scores, replies, votes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from training.measures import Guard, HeldOut, Lengths, Measures

__all__ = ["GRADED", "REPLIES", "REPLIES_ASKED", "guard_of", "measured", "voted", "with_guard"]

# Items and the champion's mean score.
GRADED = {"lore": (544, 0.75), "retention": (1019, 0.8), "sycophancy": (260, 0.6), "safety": (240, 0.85)}
# Of 300 generated replies, so many are bad.
REPLIES = {"language": 3, "repetition": 1, "character": 2}
REPLIES_ASKED = 300


def guard_of(name, champion, challenger):
    ids = tuple(f"{name}-{number}" for number in range(len(champion)))
    return Guard(name, ids, tuple(map(float, champion)), tuple(map(float, challenger)))


def with_guard(measures, guard):
    """The same measures with one guard's scores exchanged."""
    return replace(
        measures, guards=tuple(guard if one.name == guard.name else one for one in measures.guards)
    )


def voted(random, *, replies=60, conversations=25, lean=0.0):
    """Held-out replies, seven of ten liked; with ``lean`` 0 the rewards know nothing of the labels."""
    mood = random.normal(size=conversations)
    rows = []
    for number in range(replies):
        conversation, is_good = number % conversations, bool(random.random() < 0.7)
        reward = 0.5 * mood[conversation] + random.normal() + lean * (is_good - 0.5)
        rows.append(HeldOut(f"r{number}", f"c{conversation}", is_good, 0.9, 0.02 * float(reward)))
    return tuple(rows)


def measured(seed=0, *, worse=(), lean=0.0, deviation=0.1, lengths=None, **votes):
    """A challenger as good as the champion but on the guards in ``worse``, where it is 5 points worse."""
    random = np.random.default_rng(seed)
    guards = []
    for name, (items, mean) in GRADED.items():
        champion = 0.1 + 0.8 * random.beta(5 * mean, 5 * (1 - mean), items)
        moved = champion + np.clip(random.normal(0, deviation, items), -0.1, 0.1) * deviation / 0.07
        lost = 0.05 if name in worse else 0.0
        guards.append(guard_of(name, champion, np.clip(moved - lost, 0, 1)))
    for name, bad in REPLIES.items():
        champion = np.ones(REPLIES_ASKED)
        champion[:bad] = 0
        # An equal one is bad as often, elsewhere.
        bad_now = bad + (15 if name in worse else 0)
        guards.append(guard_of(name, champion, np.roll(np.arange(REPLIES_ASKED) >= bad_now, 7)))
    return Measures(tuple(guards), voted(random, lean=lean, **votes), lengths or Lengths(30, 30, 31))
