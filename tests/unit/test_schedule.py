"""When runs start: weekdays by name, days on which clocks change, what was missed, reasons to wait."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.schedule import (
    Conditions,
    Cron,
    Plan,
    QuietHours,
    Start,
    Wait,
    decide,
    due,
    next_fire,
    time_zone,
)

BERLIN, NEW_YORK = "Europe/Berlin", "America/New_York"
DAY = 86_400.0
WEEK = 7 * DAY


def at(text, zone="UTC", *, fold=0):
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp()


def fires(cron, begin, end):
    """Every fire time in (begin, end], as the zone's clocks show it."""
    found = []
    while (begin := next_fire(cron, begin)) <= end:
        found.append(datetime.fromtimestamp(begin, ZoneInfo(cron.zone)).isoformat(" ", "minutes"))
    return found


def due_times(cron, begin, end, *, step=600.0):
    """When a caller that looks every ten minutes, and marks each start, starts."""
    last_at, started = begin, []
    now = begin
    while now <= end:
        if due(cron, last_at, now):
            last_at = now
            started.append(now)
        now += step
    return started


def test_monday_is_monday():
    """Guards: APScheduler's from_crontab("0 4 * * 1") fires on Tuesday."""
    found = next_fire(Cron("0 4 * * mon"), at("2027-01-01"))
    assert found == at("2027-01-04 04:00")
    assert datetime.fromtimestamp(found, ZoneInfo("UTC")).strftime("%A") == "Monday"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0 4 * * mon,thu", ["2027-01-04 04:00", "2027-01-07 04:00", "2027-01-11 04:00"]),
        ("30 22 * * SAT-sun", ["2027-01-02 22:30", "2027-01-03 22:30", "2027-01-09 22:30"]),
        ("0 4 1,15 * *", ["2027-01-01 04:00", "2027-01-15 04:00", "2027-02-01 04:00"]),
        ("0 */12 10 feb-mar *", ["2027-02-10 00:00", "2027-02-10 12:00", "2027-03-10 00:00"]),
        ("0 4 29 2 *", ["2028-02-29 04:00", "2032-02-29 04:00", "2036-02-29 04:00"]),
    ],
)
def test_the_five_fields_mean_what_a_crontab_means(text, expected):
    found = fires(Cron(text), at("2027-01-01"), at("2040-01-01"))[:3]
    assert [one.removesuffix("+00:00") for one in found] == expected


@pytest.mark.parametrize("day", ["1", "0", "7", "1-5", "*/2", "monday", "mon/2", "mon5", ""])
def test_a_weekday_that_is_no_name_is_refused_with_the_remedy(day):
    with pytest.raises(ValueError, match=r"write (mon, tue, wed, thu, fri, sat or sun|one like)") as caught:
        Cron(f"0 4 * * {day}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("0 4 * *", "five fields"),
        ("60 4 * * *", "higher than the maximum value"),
        ("x 4 * * *", "'x' is no minute"),
        ("0 4 last * *", "'last' is no day"),
        ("0 4 * january *", "'january' is no month"),
        ("0 4 * * sun-mon", "must not be higher"),
        ("0 4 31 feb *", "a day that no month has"),
        ("0 4 1 * mon", "a day of the month and a weekday"),
    ],
)
def test_a_schedule_that_cannot_be_meant_is_refused(text, reason):
    with pytest.raises(ValueError, match=reason) as caught:
        Cron(text)
    assert "; write " in str(caught.value)


@pytest.mark.parametrize("name", ["", "Berlin", "Europe", "../UTC", "/etc/localtime"])
def test_a_zone_that_is_none_is_refused_with_the_remedy(name):
    for make in (time_zone, lambda zone: Cron("0 4 * * *", zone), lambda zone: QuietHours("", zone)):
        with pytest.raises(ValueError, match="write UTC or a name like Europe/Berlin"):
            make(name)


@pytest.mark.parametrize(
    ("zone", "text", "begin", "expected"),
    [
        (BERLIN, "30 2 * * *", "2027-03-27", ["27 02:30+01:00", "28 03:30+02:00", "29 02:30+02:00"]),
        (BERLIN, "30 2 * * *", "2027-10-30", ["30 02:30+02:00", "31 02:30+02:00", "01 02:30+01:00"]),
        (NEW_YORK, "30 2 * * *", "2027-03-13", ["13 02:30-05:00", "14 03:30-04:00", "15 02:30-04:00"]),
        (NEW_YORK, "30 1 * * *", "2027-11-06", ["06 01:30-04:00", "07 01:30-04:00", "08 01:30-05:00"]),
    ],
)
def test_a_day_on_which_the_clocks_change_has_the_job_once(zone, text, begin, expected):
    """Guards: APScheduler's trigger fires 02:30 twice on the day that has it twice."""
    cron = Cron(text, zone)
    start, end = at(begin, zone), at(begin, zone) + 3 * DAY
    assert [one[8:] for one in fires(cron, start, end)] == expected
    assert len(due_times(cron, start, end)) == 3


@pytest.mark.parametrize(
    ("zone", "text", "change"),
    [
        (BERLIN, "30 2 * * *", "2027-03-28 01:00+00:00"),
        (BERLIN, "30 2 * * *", "2027-10-31 01:00+00:00"),
        (NEW_YORK, "30 2 * * *", "2027-03-14 07:00+00:00"),
        (NEW_YORK, "30 1 * * *", "2027-11-07 06:00+00:00"),
    ],
)
def test_whenever_one_looks_around_a_change_the_job_is_found_once(zone, text, change):
    """Guards: a look right after the clocks jumped over 02:30 took the next day's for the next one."""
    cron = Cron(text, zone)
    moment = datetime.fromisoformat(change).timestamp()
    fire = next_fire(cron, moment - DAY / 2)
    assert fire < moment + DAY / 2
    for minute in range(-12 * 60, 12 * 60):
        after = moment + 60 * minute
        assert (next_fire(cron, after) == fire) is (after < fire)


def test_each_quarter_of_an_hour_that_there_is_comes_once_when_the_clocks_jump():
    cron = Cron("*/15 * * * *", BERLIN)
    found = fires(cron, at("2027-03-28 01:00", BERLIN), at("2027-03-28 04:00", BERLIN))
    assert [one[11:16] for one in found] == [
        "01:15", "01:30", "01:45", "03:00", "03:15", "03:30", "03:45", "04:00",
    ]  # fmt: skip


@given(
    after=st.floats(1_700_000_000, 1_900_000_000),
    text=st.sampled_from(["0 4 * * mon", "30 2 * * *", "*/20 1-3 * * *", "59 23 1 * *"]),
    zone=st.sampled_from(["UTC", BERLIN, NEW_YORK, "Australia/Lord_Howe", "Asia/Kathmandu"]),
)
@settings(max_examples=60, deadline=None)
def test_a_fire_time_is_due_from_its_own_second_on(after, text, zone):
    cron = Cron(text, zone)
    fire = next_fire(cron, after)
    assert fire > after
    assert due(cron, after, fire)
    assert not due(cron, after, fire - 0.5)
    assert not due(cron, fire, fire)


def test_three_missed_weeks_are_caught_up_once():
    cron = Cron("0 4 * * mon")
    last_at = at("2027-01-04 04:00")
    now = last_at + 3 * WEEK + 5 * DAY
    assert due(cron, last_at, now)
    assert due_times(cron, now, now + 2 * WEEK) == [at("2027-02-01 04:00"), at("2027-02-08 04:00")]


def test_nothing_is_due_before_the_first_mark():
    cron = Cron("* * * * *")
    assert not due(cron, None, at("2027-01-04 04:00"))


def test_a_clock_that_was_set_back_starts_nothing_and_no_run_comes_twice():
    cron = Cron("0 4 * * mon")
    last_at = at("2027-01-11 04:00")
    for now in (last_at - 1, last_at - DAY, last_at - 3 * WEEK):
        assert not due(cron, last_at, now)
    assert due(cron, last_at, last_at + WEEK)


@pytest.mark.parametrize(
    ("text", "wall", "is_quiet"),
    [
        ("23:00-07:00", "22:59:59", False),
        ("23:00-07:00", "23:00:00", True),
        ("23:00-07:00", "00:00:00", True),
        ("23:00-07:00", "06:59:59", True),
        ("23:00-07:00", "07:00:00", False),
        ("9:30 - 17:00", "09:30:00", True),
        ("9:30 - 17:00", "17:00:00", False),
        ("9:30 - 17:00", "03:00:00", False),
        ("", "03:00:00", False),
    ],
)
def test_quiet_hours_may_cross_midnight(text, wall, is_quiet):
    assert QuietHours(text, BERLIN).contains(at(f"2027-07-01 {wall}", BERLIN)) is is_quiet


@pytest.mark.parametrize(
    "text", ["23-7", "24:00-07:00", "23:00-07:60", "late", "23:00-07:00x", "07:00-07:00"]
)
def test_hours_that_are_none_are_refused_with_the_remedy(text):
    with pytest.raises(ValueError, match="write them like 23:00-07:00"):
        QuietHours(text)


PLAN = Plan(Cron("0 4 * * mon", BERLIN), QuietHours("23:00-03:00", BERLIN))
READY = Conditions(
    now=at("2027-01-11 04:00", BERLIN),
    last_at=at("2027-01-04 04:00", BERLIN),
    replies_lately=3,
    free_bytes=8 * 2**30,
    needed_bytes=2 * 2**30,
    lacking={},
    rejections=0,
    live_run=None,
)


def test_a_run_starts_when_nothing_speaks_against_it():
    assert decide(READY, PLAN) == Start()
    assert decide(replace(READY, replies_lately=20, free_bytes=2 * 2**30, rejections=1), PLAN) == Start()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"live_run": "awaiting_approval"}, "waits for the end of the run before it (awaiting approval)"),
        ({"last_at": None}, "waits for 2027-01-18 04:00 (Europe/Berlin)"),
        ({"now": READY.now - 1}, "waits for 2027-01-11 04:00 (Europe/Berlin)"),
        ({"last_at": READY.now + DAY}, "waits for 2027-01-18 04:00 (Europe/Berlin)"),
        (
            {"rejections": 2},
            "waits for 2027-01-18 04:00 (Europe/Berlin), twice the interval after two rejections",
        ),
        (
            {"lacking": {"rows": 12, "held_out": 3}},
            "waits for 12 more usable replies, 3 more replies kept for measuring",
        ),
        ({"now": at("2027-01-12 01:00", BERLIN)}, "waits for the end of the quiet hours, 23:00-03:00"),
        ({"replies_lately": 21}, "waits for a calmer time: 21 replies in ten minutes are more than 20"),
        ({"free_bytes": 3 * 2**29}, "waits for 2.0 GiB of free memory, of which 1.5 are there"),
    ],
)
def test_what_keeps_a_run_from_starting_is_one_sentence(change, reason):
    decided = decide(replace(READY, **change), PLAN)
    assert isinstance(decided, Wait)
    assert decided.reason.startswith(reason)
    assert "\n" not in decided.reason


def test_every_count_that_can_lack_has_its_words():
    from training.eligibility import lacking

    decided = decide(replace(READY, lacking=lacking([])), PLAN)
    assert isinstance(decided, Wait)
    assert decided.reason.count(" more ") == 5


def test_after_two_rejections_every_other_time_is_left_out():
    rejected = replace(READY, rejections=2)
    week_later = replace(rejected, now=READY.now + WEEK)
    assert isinstance(decide(rejected, PLAN), Wait)
    assert decide(week_later, PLAN) == Start()
    assert decide(replace(week_later, last_at=week_later.now), PLAN) != Start()


def test_what_was_missed_waits_for_its_moment_and_then_starts_once():
    """Tuesday's votes start Monday's run; the week after has its own."""
    monday = replace(READY, lacking={"rows": 1})
    tuesday = replace(READY, now=READY.now + DAY)
    assert isinstance(decide(monday, PLAN), Wait)
    assert decide(tuesday, PLAN) == Start()
    started = replace(tuesday, last_at=tuesday.now, now=tuesday.now + DAY)
    assert decide(started, PLAN) == Wait("waits for 2027-01-18 04:00 (Europe/Berlin)")
