"""Canaries: who speaks where, what sends a challenger back, and how seldom chance does."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import pytest

from data.run_records import Arm
from training.canary import GUARDS, MOST_FLAGS, Decision, Limit, Rules, arm_of, decide, harm

RULES = Rules()
LANGUAGE = Rules(guards=(GUARDS[0],))
# Of an ordinary champion's replies, so many are flagged.
USUAL = {
    "language": 0.01,
    "repetition": 0.005,
    "character": 0.02,
    "empty": 0.002,
    "too_long": 0.02,
    "regenerated": 0.08,
    "error": 0.005,
    "slow": 0.05,
}


@dataclass(slots=True)
class Tally:
    """An arm while it is counted."""

    replies: int = 0
    ups: int = 0
    downs: int = 0
    flags: dict[str, int] = field(default_factory=dict)

    def flag(self, guard: str) -> None:
        self.flags[guard] = self.flags.get(guard, 0) + 1

    def arm(self) -> Arm:
        return Arm(self.replies, self.ups, self.downs, self.flags)


class TestArms:
    def test_a_tenth_of_the_conversations_is_the_challengers(self):
        drawn = [arm_of(f"conversation-{n}", "run-7", 10) for n in range(20_000)]
        assert 0.09 < drawn.count("challenger") / 20_000 < 0.11

    def test_a_conversation_of_the_challenger_stays_its_own_as_the_share_grows(self):
        for n in range(500):
            arms = [arm_of(f"conversation-{n}", "run-7", share) for share in range(101)]
            assert arms == sorted(arms, key=("champion", "challenger").index)
            assert (arms[0], arms[100]) == ("champion", "challenger")

    def test_another_experiment_draws_anew(self):
        names = [f"conversation-{n}" for n in range(20_000)]
        again = sum(arm_of(name, "run-7", 10) == arm_of(name, "run-8", 10) == "challenger" for name in names)
        assert 0.007 < again / 20_000 < 0.013

    def test_the_draw_is_the_same_in_every_process(self):
        drawn = [arm_of(f"conversation-{n}", "run-7", 10) for n in range(40)]
        assert [n for n, arm in enumerate(drawn) if arm == "challenger"] == [4, 16, 21, 26, 36, 38]


class TestStages:
    CALM = Arm(900, 60, 20, {"slow": 40}), Arm(100, 6, 3, {"slow": 5})

    def at(self, share: int, hours: float, **changes: int) -> Decision:
        champion, challenger = self.CALM
        challenger = replace(challenger, **changes)
        return decide(champion, challenger, share=share, hours_at_share=hours, rules=RULES)

    def test_it_goes_from_a_tenth_to_half_to_all(self):
        assert (self.at(10, 24).act, self.at(10, 24).share) == ("widen", 50)
        assert (self.at(50, 24).act, self.at(50, 24).share) == ("promote", 100)

    def test_a_stage_takes_both_its_hours_and_its_replies(self):
        assert (self.at(10, 23.9).act, self.at(10, 23.9).share) == ("wait", 10)
        assert self.at(50, 300, replies=99).act == "wait"

    def test_no_votes_are_needed(self):
        assert self.at(50, 24, ups=0, downs=0).act == "promote"

    def test_three_votes_down_veto_nothing(self):
        assert self.at(50, 24, ups=0, downs=3).act == "promote"

    def test_nobody_speaking_is_waited_for(self):
        assert decide(Arm(), Arm(), share=10, hours_at_share=100, rules=RULES) == Decision(
            "wait", 10, "At 10% nothing speaks against the challenger; 100 replies to go."
        )

    def test_the_stages_are_the_operators(self):
        rules = Rules(shares=(5, 20, 60), hours=1, replies=10)
        shares = [5]
        while shares[-1] < 100:
            shares.append(decide(*self.CALM, share=shares[-1], hours_at_share=1, rules=rules).share)
        assert shares == [5, 20, 60, 100]

    def test_reasons_have_the_figures(self):
        assert self.at(10, 4).reason == ("At 10% nothing speaks against the challenger; 20.0 hours to go.")
        assert self.at(10, 30).reason == (
            "At 10% nothing spoke against the challenger in 30 hours and 100 replies: it goes on at 50%."
        )


class TestGuards:
    def test_a_guard_sends_back_at_once(self):
        champion, challenger = Arm(1800, flags={"language": 18}), Arm(200, flags={"language": 12})
        found = decide(champion, challenger, share=10, hours_at_share=2, rules=RULES)
        assert found == Decision(
            "roll_back",
            0,
            "12 of the challenger's 200 replies (6.0%) were in the wrong language,"
            " and 18 of the champion's 1,800 (1.0%).",
        )

    def test_a_difference_within_the_margin_is_borne_however_certain(self):
        champion, challenger = Arm(90_000, flags={"slow": 900}), Arm(10_000, flags={"slow": 500})
        assert harm(champion, challenger, RULES) is None
        assert harm(champion, challenger, Rules(guards=(Limit("slow", "slow", margin=0.01),)))

    def test_a_bound_holds_where_no_champion_speaks(self):
        found = harm(Arm(), Arm(150, flags={"error": 30}), RULES)
        assert found == "30 of the challenger's 150 replies (20.0%) were errors; at most 5% are allowed."

    def test_what_the_champion_does_as_often_sends_nobody_back(self):
        """Going back would help nobody; a server whose engine fails would never learn again."""
        assert harm(Arm(1350, flags={"error": 270}), Arm(150, flags={"error": 30}), RULES) is None

    def test_a_guard_without_a_rule_is_not_looked_at(self):
        assert harm(Arm(900), Arm(100, flags={"emoji": 100}), RULES) is None

    def test_from_one_to_six_percent_is_seen_within_200_replies(self):
        sent_back = sum(sent_back_by_guard(seed, worse=6, most=200) for seed in range(1000))
        assert sent_back / 1000 > 0.9

    @pytest.mark.parametrize(("rate", "share"), [(0.003, 10), (0.01, 10), (0.05, 10), (0.01, 50), (0.05, 50)])
    def test_an_equal_challenger_is_hardly_ever_sent_back(self, rate, share):
        sent_back = sum(sent_back_by_guard(seed, rate=rate, share=share, most=400) for seed in range(1000))
        assert sent_back / 1000 < 0.02

    def test_a_conversation_in_which_all_fails_is_counted_twice_and_no_more(self):
        """Counted whole, such conversations send an equal challenger back more often than once in twenty."""

        def sent_back(most_flags):
            return sum(sent_back_by_spells(seed, most_flags) for seed in range(400)) / 400

        assert sent_back(MOST_FLAGS) < 0.03
        assert sent_back(100) > 0.05


class TestVotes:
    def test_many_more_votes_down_send_back_at_once(self):
        found = decide(Arm(900, 210, 90), Arm(400, 60, 80), share=10, hours_at_share=2, rules=RULES)
        assert found.act == "roll_back"
        assert found.reason == (
            "80 of the challenger's 140 votes (57.1%) were down, and 90 of the champion's 300 (30.0%)."
        )

    def test_a_smaller_difference_that_is_certain_ends_the_stage(self):
        arms = Arm(9000, 1400, 600), Arm(9000, 1160, 840)
        assert decide(*arms, share=50, hours_at_share=23, rules=RULES).act == "wait"
        assert decide(*arms, share=50, hours_at_share=24, rules=RULES).act == "roll_back"

    def test_twenty_points_worse_is_seen_within_200_votes_an_arm(self):
        seen = sorted(votes_until_sent_back(seed, worse_by=0.2, most=600) for seed in range(300))
        assert seen[150] <= 200

    def test_an_equal_challenger_outlives_looks_at_every_20_votes(self):
        sent_back = sum(votes_until_sent_back(seed, worse_by=0.0, most=2000) <= 2000 for seed in range(300))
        assert sent_back / 300 <= 0.05

    def test_conversations_are_drawn_since_users_would_decide_by_themselves(self):
        """40 raters, of whom few give most votes and each has a taste: A/A, looks every 20 votes."""
        worlds = [list(rated_conversations(seed)) for seed in range(200)]
        for share in (10, 50):
            assert sum(sent_back_by_unit(votes, share, unit="conversation") for votes in worlds) / 200 <= 0.05
        assert sum(sent_back_by_unit(votes, 50, unit="rater") for votes in worlds) / 200 > 0.20


def test_an_equal_challenger_is_promoted():
    """All guards and votes at both stages, a look every ten replies."""
    acts = [whole_canary(seed) for seed in range(200)]
    assert acts.count("promote") / 200 > 0.9


def sent_back_by_guard(seed, *, most, rate=0.01, worse=1, share=10):
    """One guard, looked at after each flagged reply of the challenger's, until it had so many replies."""
    draw = random.Random(seed)
    champion, challenger = Tally(), Tally()
    while challenger.replies < most:
        is_challenger = draw.random() * 100 < share
        arm = challenger if is_challenger else champion
        arm.replies += 1
        if draw.random() < rate * (worse if is_challenger else 1):
            arm.flag("language")
            if is_challenger and harm(champion.arm(), challenger.arm(), LANGUAGE):
                return True
    return False


def sent_back_by_spells(seed, most_flags):
    """Equal arms; of 50 conversations one goes wrong, and then in every other reply."""
    draw = random.Random(seed)
    champion, challenger = Tally(), Tally()
    while challenger.replies < 200:
        arm = challenger if draw.random() < 0.1 else champion
        rate, flagged = 0.5 if draw.random() < 0.02 else 0.0, 0
        for _ in range(1 + int(draw.expovariate(1 / 8))):
            arm.replies += 1
            if draw.random() < rate and flagged < most_flags:
                flagged += 1
                arm.flag("language")
                if arm is challenger and harm(champion.arm(), challenger.arm(), LANGUAGE):
                    return True
    return False


def votes_until_sent_back(seed, *, worse_by, most):
    """Votes an arm at half and half; the stage is over throughout, as it is on a busy server after a day."""
    draw = random.Random(seed)
    ups_a = ups_b = 0
    for votes in range(20, most + 1, 20):
        ups_a += sum(draw.random() < 0.7 for _ in range(20))
        ups_b += sum(draw.random() < 0.7 - worse_by for _ in range(20))
        arms = Arm(9000, ups_a, votes - ups_a), Arm(9000, ups_b, votes - ups_b)
        if decide(*arms, share=50, hours_at_share=24, rules=RULES).act == "roll_back":
            return votes
    return most + 1


def rated_conversations(seed) -> Iterator[tuple[str, str, bool]]:
    """Rater, conversation, whether up: one thumb of a person in a conversation, as an ``Arm`` is counted."""
    draw = random.Random(seed)
    raters = [f"rater-{n}" for n in range(40)]
    activity = [draw.paretovariate(1.2) for _ in raters]
    taste = {rater: draw.betavariate(1.4, 0.6) for rater in raters}
    for number, rater in enumerate(draw.choices(raters, activity, k=1000)):
        yield rater, f"conversation-{seed}-{number}", draw.random() < taste[rater]


def sent_back_by_unit(votes, share, *, unit):
    champion, challenger = Tally(), Tally()
    for number, (rater, conversation, is_up) in enumerate(votes, 1):
        drawn = arm_of(conversation if unit == "conversation" else rater, conversation[:16], share)
        arm = challenger if drawn == "challenger" else champion
        arm.ups += is_up
        arm.downs += not is_up
        if number % 20 == 0 and harm(champion.arm(), challenger.arm(), RULES, is_over=True):
            return True
    return False


def whole_canary(seed):
    draw = random.Random(seed)
    share = 10
    while True:
        champion, challenger = Tally(), Tally()
        found = None
        while found is None or found.act == "wait":
            arm = challenger if draw.random() * 100 < share else champion
            arm.replies += 1
            for guard, rate in USUAL.items():
                if draw.random() < rate:
                    arm.flag(guard)
            if draw.random() < 0.1:
                is_up = draw.random() < 0.7
                arm.ups += is_up
                arm.downs += not is_up
            if arm is challenger and challenger.replies % 10 == 0:
                # A day brings 200 replies of the challenger's.
                hours = challenger.replies / 200 * 24
                found = decide(
                    champion.arm(), challenger.arm(), share=share, hours_at_share=hours, rules=RULES
                )
        if found.act != "widen":
            return found.act
        share = found.share
