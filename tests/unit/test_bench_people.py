"""Simulated people: as reliable, as busy and as willing as they are said to be."""

from __future__ import annotations

from collections import Counter
from random import Random
from statistics import fmean, median

from bot.bench.people import crowd, next_speaker, passers_by, split, thumb, with_heavy_troll, with_trolls

PEOPLE = crowd(60, seed=7)


def rightness(person, many=1000):
    draw = Random(1)
    return fmean(thumb(person, draw, is_good=good) == (1 if good else -1) for good in [True, False] * many)


def test_the_same_seed_makes_the_same_people_and_another_makes_others():
    assert crowd(60, seed=7) == PEOPLE
    assert crowd(60, seed=8) != PEOPLE


def test_raters_are_right_in_65_to_90_of_100_and_moderators_more_often():
    raters = [person for person in PEOPLE if person.role == "user"]
    assert all(0.65 <= person.reliability <= 0.9 for person in raters)
    assert [person.reliability for person in PEOPLE[:4]] == [0.95] * 4
    assert abs(rightness(raters[0]) - raters[0].reliability) < 0.03


def test_eight_of_ten_agree_one_gives_only_the_vote_and_one_never_answers():
    answers = Counter(person.consent for person in PEOPLE if person.role == "user")
    assert answers == {"yes": 44, "vote": 6, None: 6}
    assert {person.consent for person in PEOPLE if person.role == "moderator"} == {"yes"}


def test_a_few_say_most_of_it():
    shares = sorted((person.activity for person in PEOPLE), reverse=True)
    assert sum(shares[:12]) > 0.4 * sum(shares)
    assert fmean(shares) > 1.3 * median(shares)


def test_who_talks_already_begins_no_other_conversation():
    free = PEOPLE[-1]
    busy = {person.id for person in PEOPLE[:-1]}
    assert next_speaker(PEOPLE, Random(1), busy=busy) is free


def test_passers_by_are_others_each_once_and_about_so_many():
    draw = Random(3)
    groups = [list(passers_by(PEOPLE, draw, mean=3.0, besides="1010")) for _ in range(800)]
    assert all(len({person.id for person in group}) == len(group) for group in groups)
    assert not any(person.id == "1010" or person.role == "moderator" for group in groups for person in group)
    assert 2.5 < fmean(map(len, groups)) < 3.5


def test_three_of_ten_raters_turn_into_trolls_and_no_moderator_does():
    found = with_trolls(PEOPLE, 0.3, Random(1))
    trolls = [person for person in found if person.reliability < 0.5]
    assert len(trolls) == 17
    assert all(person.role == "user" for person in trolls)
    assert [person.id for person in found] == [person.id for person in PEOPLE]


def test_a_heavy_troll_says_more_than_twenty_others():
    *others, troll = with_heavy_troll(PEOPLE)
    assert rightness(troll) < 0.15
    assert troll.activity > 20 * fmean(person.activity for person in others)


def test_split_moderators_are_of_two_opinions():
    said = [thumb(person, Random(1), is_good=True) for person in split(PEOPLE)[:4]]
    assert said == [1, -1, 1, -1]
