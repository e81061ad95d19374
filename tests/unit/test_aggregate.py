"""Thumbs become beliefs: the table of simulated raters, trolls among them, and the laws behind it."""

from __future__ import annotations

import random
import statistics
from collections import Counter
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.aggregate import CAP, Judgement, aggregate, capped

SURE = 0.85
WORLDS = 6


@dataclass(frozen=True, slots=True)
class World:
    """800 replies, 60 raters who are right in 65 to 90 of 100 cases, moderators on 8 of 100 replies."""

    trolls: float = 0.0
    votes: float = 1.6
    has_busy_troll: bool = False

    def drawn(self, seed: int) -> tuple[dict[str, bool], list[Judgement], set[str]]:
        draw = random.Random(seed)
        truth = {f"reply-{number}": draw.random() < 0.7 for number in range(800)}
        right = {f"rater-{number}": draw.uniform(0.65, 0.9) for number in range(60)}
        trolls = list(right)[: int(60 * self.trolls)]
        activity = {rater: draw.paretovariate(1.2) for rater in right}
        if self.has_busy_troll:
            activity[trolls[0]] = 0.3 * sum(activity.values())
        cast: dict[tuple[str, str], Judgement] = {}
        while len(cast) < 800 * self.votes:
            (rater,) = draw.choices(list(right), list(activity.values()))
            reply = f"reply-{draw.randrange(800)}"
            is_right = rater not in trolls and draw.random() < right[rater]
            cast[reply, rater] = Judgement(reply, rater, truth[reply] if is_right else not truth[reply])
        gold = {reply for reply in truth if draw.random() < 0.08}
        judged = [Judgement(reply, "moderator", truth[reply], is_gold=True) for reply in gold]
        return truth, [*cast.values(), *judged], gold


@dataclass(frozen=True, slots=True)
class Shares:
    """Right answers where no moderator looked: by majority, by belief, and of what would be kept."""

    majority: float
    belief: float
    sure: float
    kept: float


def shares(world: World, seed: int) -> Shares:
    truth, judgements, gold = world.drawn(seed)
    beliefs = aggregate(capped(judgements)[0])
    open_ones = [reply for reply in beliefs.good if reply not in gold]
    tally = Counter(dict.fromkeys(open_ones, 0))
    for one in judgements:
        tally[one.reply_id] += 1 if one.is_good else -1
    sure = [reply for reply in open_ones if max(beliefs.good[reply], 1 - beliefs.good[reply]) > SURE]

    def right(replies, is_good):
        return sum(is_good(reply) == truth[reply] for reply in replies) / len(replies)

    return Shares(
        majority=right(open_ones, lambda reply: tally[reply] > 0),
        belief=right(open_ones, lambda reply: beliefs.good[reply] > 0.5),
        sure=right(sure, lambda reply: beliefs.good[reply] > 0.5),
        kept=len(sure) / len(open_ones),
    )


@pytest.mark.parametrize(
    ("world", "belief", "sure"),
    [
        (World(), 0.79, 0.90),
        (World(trolls=0.3), 0.75, 0.86),
        (World(trolls=0.3, has_busy_troll=True), 0.73, 0.86),
        (World(trolls=0.3, votes=3.0), 0.79, 0.90),
    ],
    ids=["no trolls", "30 % trolls", "one of them very active", "three votes a reply"],
)
def test_trolls_do_not_steer_what_is_kept(world, belief, sure):
    found = [shares(world, seed) for seed in range(WORLDS)]
    assert statistics.mean(one.belief for one in found) > belief
    assert statistics.mean(one.sure for one in found) > sure
    assert statistics.mean(one.kept for one in found) > 0.35
    if world.trolls:
        gain = statistics.mean(one.belief - one.majority for one in found)
        assert gain > 0.15


def test_a_moderator_settles_a_reply_and_two_of_them_send_it_back():
    beliefs = aggregate(
        [
            Judgement("a", "someone", is_good=True),
            Judgement("a", "moderator", is_good=False, is_gold=True),
            Judgement("b", "moderator", is_good=True, is_gold=True),
            Judgement("b", "other moderator", is_good=False, is_gold=True),
        ]
    )
    assert beliefs.good["a"] < 1 - SURE
    assert beliefs.disputed == {"b"}


def test_who_is_mostly_wrong_is_heard_no_more_and_never_turned_round():
    wrong = [Judgement(f"r{number}", "troll", is_good=False) for number in range(12)]
    gold = [Judgement(f"r{number}", "moderator", is_good=True, is_gold=True) for number in range(12)]
    alone = Judgement("new", "troll", is_good=False)
    beliefs = aggregate([*wrong, *gold, alone])
    assert beliefs.dismissed == {"troll"}
    assert beliefs.good["new"] == pytest.approx(beliefs.base_rate, abs=1e-6)


def test_on_a_small_server_one_thumb_up_of_a_proven_rater_is_enough_and_one_down_is_not():
    proven = [Judgement(f"r{number}", "regular", is_good=True) for number in range(14)]
    gold = [Judgement(f"r{number}", "moderator", is_good=True, is_gold=True) for number in range(14)]
    beliefs = aggregate([*proven, *gold, Judgement("up", "regular", is_good=True)])
    assert beliefs.good["up"] > SURE
    beliefs = aggregate([*proven, *gold, Judgement("down", "regular", is_good=False)])
    assert 1 - beliefs.good["down"] < SURE


judgements = st.lists(
    st.builds(
        Judgement,
        reply_id=st.sampled_from("abcdefgh"),
        rater=st.sampled_from("uvwxyz"),
        is_good=st.booleans(),
        weight=st.sampled_from([0.5, 1.0]),
        is_gold=st.booleans(),
    ),
    max_size=40,
    unique_by=lambda one: (one.reply_id, one.rater),
)


@settings(max_examples=60)
@given(judgements, st.randoms(use_true_random=False))
def test_beliefs_are_probabilities_and_the_order_of_votes_does_not_matter(votes, draw):
    beliefs = aggregate(votes)
    shuffled = list(votes)
    draw.shuffle(shuffled)
    again = aggregate(shuffled)
    assert set(beliefs.good) == {one.reply_id for one in votes}
    for reply, good in beliefs.good.items():
        assert 0 < good < 1
        assert again.good[reply] == pytest.approx(good, abs=1e-4)


def test_nobody_has_more_than_a_share_of_a_set_but_moderators():
    busy = [Judgement(f"r{number}", "busy", is_good=True) for number in range(50)]
    gold = [Judgement(f"r{number}", "moderator", is_good=True, is_gold=True) for number in range(50)]
    kept, over = capped([*busy, *gold])
    assert Counter(one.rater for one in kept) == {"busy": CAP, "moderator": 50}
    assert {one.rater for one in over} == {"busy"}
    assert capped([*gold, *reversed(busy)])[1] == over
