"""When a training run starts by itself, and otherwise why not yet; pure: time and counts are passed in.

Wall times are searched with APScheduler's CronTrigger on a calendar without time zones and placed in the zone
afterwards, so that a day on which the clocks change has each of them once: one that is skipped comes as much
later as the clocks jump, one that comes twice counts the first time. (On the zone itself the trigger fires
02:30 twice in autumn.)
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from apscheduler.triggers.cron import CronTrigger

from training.eligibility import LACKING

__all__ = [
    "Conditions", "Cron", "Plan", "QuietHours", "Start", "Wait", "decide", "due", "next_fire", "time_zone",
]  # fmt: skip

MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
# APScheduler reads no further than a name and ignores what follows, so the whole text is checked here.
NUMBERS = r"(?:\*|[0-9]+(?:-[0-9]+)?)(?:/[0-9]+)?"
MONTH = "(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)"
WEEKDAY = "(?:mon|tue|wed|thu|fri|sat|sun)"
FIELDS = {
    "minute": NUMBERS,
    "hour": NUMBERS,
    "day": NUMBERS,
    "month": rf"{NUMBERS}|{MONTH}(?:-{MONTH})?",
    "day_of_week": rf"\*|{WEEKDAY}(?:-{WEEKDAY})?",
}
EXAMPLE = '"0 4 * * mon" (minute, hour, day, month, weekday)'
HOURS = re.compile(r"([0-9]{1,2}):([0-9]{2})\s*-\s*([0-9]{1,2}):([0-9]{2})")
# Learning from votes that do not help costs the same each time.
REJECTIONS_TO_DOUBLE = 2
# Two a minute: on a machine that serves and trains, each of these people would feel the run.
MOST_REPLIES = 20


@dataclass(frozen=True, slots=True)
class Cron:
    """The five fields of a crontab line in an IANA time zone, weekdays by name.

    Raises:
        ValueError: what is wrong with the text or the zone and what to write, in one sentence.
    """

    text: str
    zone: str = "UTC"

    def __post_init__(self) -> None:
        time_zone(self.zone)
        trigger = _trigger(self.text)
        if trigger.get_next_fire_time(None, datetime(2000, 1, 1, tzinfo=UTC)) is None:
            raise ValueError(f"{self.text!r} is on a day that no month has; write one like {EXAMPLE}")


@dataclass(frozen=True, slots=True)
class QuietHours:
    """A stretch of every day, across midnight where it ends before it begins; an empty text is none.

    Raises:
        ValueError: what is wrong with the text or the zone and what to write, in one sentence.
    """

    text: str = ""
    zone: str = "UTC"

    def __post_init__(self) -> None:
        time_zone(self.zone)
        if self.text:
            _limits(self.text)

    def contains(self, now: float) -> bool:
        """Whether it is quiet at ``now``, in seconds since 1970."""
        if not self.text:
            return False
        begin, end = _limits(self.text)
        wall = _wall(now, time_zone(self.zone)).time()
        if begin < end:
            return begin <= wall < end
        return wall >= begin or wall < end


@dataclass(frozen=True, slots=True)
class Conditions:
    """What is so now: times in seconds since 1970, ``replies_lately`` in the last ten minutes.

    ``last_at`` is when a run was last started by the schedule, or when the schedule was first seen;
    ``lacking`` is `training.eligibility.lacking`'s, ``rejections`` the rejected runs since the last promoted
    one, ``live_run`` the state of a run that has not ended.
    """

    now: float
    last_at: float | None
    replies_lately: int
    free_bytes: int
    needed_bytes: int
    lacking: Mapping[str, int]
    rejections: int
    live_run: str | None


@dataclass(frozen=True, slots=True)
class Plan:
    """What the operator set; ``most_replies`` in ten minutes are still few enough to train beside."""

    cron: Cron
    quiet: QuietHours = field(default_factory=QuietHours)
    most_replies: int = MOST_REPLIES


@dataclass(frozen=True, slots=True)
class Start:
    """A run starts now."""


@dataclass(frozen=True, slots=True)
class Wait:
    """No run starts now; ``reason`` begins with "waits for"."""

    reason: str


def time_zone(name: str) -> ZoneInfo:
    """The IANA zone of that name.

    Raises:
        ValueError: there is none, and what to write.
    """
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError(f"{name!r} is no time zone; write UTC or a name like Europe/Berlin") from None


def next_fire(cron: Cron, after: float) -> float:
    """The first fire time later than ``after``, in seconds since 1970."""
    zone, trigger = time_zone(cron.zone), _trigger(cron.text)
    # Clocks that jumped within a day skipped wall times that are still to come.
    wall = min(_wall(after, zone), _wall(after - DAY.total_seconds(), zone) + DAY)
    wall = wall.replace(second=0, microsecond=0, tzinfo=UTC)
    while True:
        found: datetime = trigger.get_next_fire_time(None, wall)
        instant = found.replace(tzinfo=zone).timestamp()
        if instant > after:
            return instant
        wall = found + MINUTE


def due(cron: Cron, last_at: float | None, now: float, *, every: int = 1) -> bool:
    """Whether ``every`` fire times or more lie in (last_at, now]: however many were missed, once.

    Nothing is due before the first start was marked, nor where the clock stands before the last one.
    """
    return last_at is not None and _due_at(cron, last_at, every) <= now


def decide(conditions: Conditions, plan: Plan) -> Start | Wait:
    """Whether a run starts now; of several reasons against it, the first of those below."""
    reason = next(_reasons(conditions, plan), None)
    return Start() if reason is None else Wait(reason)


def _reasons(conditions: Conditions, plan: Plan) -> Iterator[str]:
    now, last_at = conditions.now, conditions.last_at
    is_doubled = conditions.rejections >= REJECTIONS_TO_DOUBLE
    every = 2 if is_doubled else 1
    if conditions.live_run is not None:
        yield f"waits for the end of the run before it ({conditions.live_run.replace('_', ' ')})"
    if not due(plan.cron, last_at, now, every=every):
        since = ", twice the interval after two rejections" if is_doubled else ""
        at = next_fire(plan.cron, now) if last_at is None else _due_at(plan.cron, last_at, every)
        yield f"waits for {_moment(at, plan)}{since}"
    if conditions.lacking:
        lacking = (f"{many} more {LACKING[name]}" for name, many in conditions.lacking.items())
        yield f"waits for {', '.join(lacking)}"
    if plan.quiet.contains(now):
        yield f"waits for the end of the quiet hours, {plan.quiet.text} ({plan.quiet.zone})"
    if (lately := conditions.replies_lately) > plan.most_replies:
        yield f"waits for a calmer time: {lately} replies in ten minutes are more than {plan.most_replies}"
    if conditions.free_bytes < conditions.needed_bytes:
        needed, free = conditions.needed_bytes / 2**30, conditions.free_bytes / 2**30
        yield f"waits for {needed:.1f} GiB of free memory, of which {free:.1f} are there"


def _due_at(cron: Cron, last_at: float, every: int) -> float:
    for _ in range(every):
        last_at = next_fire(cron, last_at)
    return last_at


def _moment(at: float, plan: Plan) -> str:
    return f"{_wall(at, time_zone(plan.cron.zone)):%Y-%m-%d %H:%M} ({plan.cron.zone})"


def _wall(at: float, zone: ZoneInfo) -> datetime:
    return datetime.fromtimestamp(at, zone).replace(tzinfo=None)


def _trigger(text: str) -> CronTrigger:
    """The wall times of a schedule, as if they were UTC."""
    values = dict(zip(FIELDS, text.lower().split(), strict=False))
    if len(text.split()) != len(FIELDS):
        raise ValueError(f"{text!r} is no schedule of five fields; write one like {EXAMPLE}")
    for name, form in FIELDS.items():
        for part in values[name].split(","):
            _check(part, name, form, text)
    if "*" not in {values["day"], values["day_of_week"]}:
        # crontab takes either of the two, APScheduler only days that are both.
        raise ValueError(f"{text!r} names a day of the month and a weekday; write * for one of them")
    try:
        return CronTrigger(**values, timezone=UTC)
    except ValueError as error:
        raise ValueError(f"{text!r} is no schedule ({error}); write one like {EXAMPLE}") from None


def _check(part: str, name: str, form: str, text: str) -> None:
    if re.fullmatch(form, part):
        return
    if name == "day_of_week":
        # 1 is Monday to crontab and Tuesday to APScheduler (its issue 286).
        raise ValueError(f"{part!r} names no weekday in {text!r}; write mon, tue, wed, thu, fri, sat or sun")
    raise ValueError(f"{part!r} is no {name} in {text!r}; write one like {EXAMPLE}")


def _limits(text: str) -> tuple[time, time]:
    found = HOURS.fullmatch(text.strip())
    try:
        hours, minutes, until_hours, until_minutes = map(int, found.groups()) if found else (24, 0, 24, 0)
        begin, end = time(hours, minutes), time(until_hours, until_minutes)
    except ValueError:
        raise ValueError(f"{text!r} are no hours; write them like 23:00-07:00") from None
    if begin == end:
        raise ValueError(f"{text!r} begin and end at once; write them like 23:00-07:00, or leave them empty")
    return begin, end
