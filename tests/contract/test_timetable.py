"""The timetable on the real scheduler: each work once at a time, failures apart, nothing left behind."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from datetime import UTC, datetime, timedelta

from structlog.testing import capture_logs

import bot.timetable
from bot.timetable import TICK, Timetable
from tests.fakes.clock import FakeClock
from tests.waiting import until
from training.schedule import Cron, due, next_fire

TICK_S = 0.01
WEEK_S = 7 * 86_400.0


@contextlib.asynccontextmanager
async def running(timetable):
    task = asyncio.create_task(timetable.run())
    try:
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


class Counter:
    """Work that counts how often it was started."""

    def __init__(self):
        self.times = 0

    async def __call__(self):
        self.times += 1

    async def more(self, times=3):
        """Returns after so many further starts."""
        enough = self.times + times
        await until(lambda: self.times >= enough)


class Weekly:
    """Work as the bot has it: due by the clock and by what the store remembers."""

    def __init__(self, clock):
        self._clock = clock
        self._cron = Cron("0 4 * * mon")
        self.last_at = clock.now()
        self.started = []

    async def __call__(self):
        now = self._clock.now()
        if due(self._cron, self.last_at, now):
            self.last_at = now
            self.started.append(now)

    def until_next(self):
        return next_fire(self._cron, self._clock.now()) - self._clock.now()


async def test_what_is_due_starts_once_for_each_time_and_once_for_all_that_were_missed():
    clock, ticks = FakeClock(), Counter()
    weekly = Weekly(clock)
    timetable = Timetable(clock, every_s=TICK_S)
    timetable.add("weekly", weekly)
    timetable.add("ticks", ticks)
    async with running(timetable):
        await ticks.more()
        assert weekly.started == []
        for number in (1, 2, 3):
            clock.advance(weekly.until_next())
            await ticks.more()
            assert len(weekly.started) == number
        clock.advance(3 * WEEK_S)
        await ticks.more()
        assert len(weekly.started) == 4
        clock.advance(-WEEK_S)
        await ticks.more()
        assert len(weekly.started) == 4


async def test_what_was_missed_is_caught_up_at_the_start():
    clock = FakeClock()
    weekly = Weekly(clock)
    weekly.last_at -= 5 * WEEK_S
    timetable = Timetable(clock, every_s=3600.0)
    timetable.add("weekly", weekly)
    async with running(timetable):
        await until(lambda: weekly.started == [clock.now()])


async def test_work_that_is_still_going_on_is_not_started_again():
    entered, ticks, go_on = Counter(), Counter(), asyncio.Event()

    async def blocked():
        await entered()
        await go_on.wait()

    timetable = Timetable(FakeClock(), every_s=TICK_S)
    timetable.add("blocked", blocked)
    timetable.add("ticks", ticks)
    async with running(timetable):
        await ticks.more(5)
        assert entered.times == 1
        go_on.set()
        await until(lambda: entered.times > 1)


async def test_one_work_s_failure_is_logged_with_its_name_and_stops_nothing():
    failures, ticks = Counter(), Counter()

    async def fails():
        await failures()
        raise OSError("the disk is full")

    timetable = Timetable(FakeClock(), every_s=TICK_S)
    timetable.add("fails", fails)
    timetable.add("ticks", ticks)
    with capture_logs() as logs:
        async with running(timetable):
            await until(lambda: failures.times >= 3 and ticks.times >= 3)
    assert {(line["event"], line["work"]) for line in logs} == {("timetable.failed", "fails")}


async def test_a_cancelled_timetable_leaves_no_task_and_no_scheduler():
    cancelled, entered = [], asyncio.Event()

    async def blocked():
        entered.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    timetable = Timetable(FakeClock(), every_s=TICK_S)
    ticks = Counter()
    timetable.add("blocked", blocked)
    timetable.add("ticks", ticks)
    async with running(timetable) as task:
        await entered.wait()
        await ticks.more()
    assert task.cancelled()
    assert cancelled == [True]
    await until(lambda: not timetable._scheduler.running)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_nudge_ticks_now():
    ticks = Counter()
    timetable = Timetable(FakeClock(), every_s=3600.0)
    timetable.add("ticks", ticks)
    async with running(timetable):
        await until(lambda: ticks.times == 1)
        timetable.nudge()
        await until(lambda: ticks.times == 2)


async def test_a_wall_clock_that_was_set_back_does_not_keep_the_ticks_away(monkeypatch):
    """Guards: APScheduler's next time lay an hour ahead of the clock, and nothing ran for that hour."""
    monkeypatch.setattr(bot.timetable, "LATE_S", 0.05)
    ticks = Counter()
    timetable = Timetable(FakeClock(), every_s=TICK_S)
    timetable.add("ticks", ticks)
    with capture_logs() as logs:
        async with running(timetable):
            await ticks.more()
            hour_ahead = datetime.now(UTC) + timedelta(hours=1)
            timetable._scheduler.modify_job(TICK, next_run_time=hour_ahead)
            await ticks.more(5)
            assert timetable._scheduler.get_job(TICK).next_run_time < hour_ahead - timedelta(minutes=50)
    assert "timetable.late" in {line["event"] for line in logs}


async def test_a_late_tick_is_made_up_for_once_however_late():
    """Guards: APScheduler leaves a job out that is later than its grace time, of one second by default."""
    timetable = Timetable(FakeClock(), every_s=3600.0)
    async with running(timetable):
        await until(lambda: timetable._scheduler.get_job(TICK))
        job = timetable._scheduler.get_job(TICK)
        assert (job.misfire_grace_time, job.coalesce, job.max_instances) == (None, True, 1)
        assert job.trigger.timezone == UTC
        ticks = Counter()
        timetable.add("ticks", ticks)
        job.modify(next_run_time=datetime.now(UTC) - timedelta(days=2))
        await until(lambda: ticks.times)
        assert ticks.times == 1


async def test_work_that_takes_longer_than_a_tick_is_named():
    clock = FakeClock()
    timetable = Timetable(clock, every_s=30.0)
    timetable.add("long", lambda: clock.sleep(31.0))
    with capture_logs() as logs:
        async with running(timetable):
            await until(lambda: logs)
    assert logs == [{"event": "timetable.slow", "log_level": "warning", "work": "long", "seconds": 31.0}]


async def test_a_name_is_held_by_one_work():
    old, new = Counter(), Counter()
    timetable = Timetable(FakeClock(), every_s=3600.0)
    timetable.add("work", old)
    timetable.add("work", new)
    async with running(timetable):
        await until(lambda: new.times)
    assert old.times == 0


async def test_ticks_are_not_logged(caplog):
    ticks = Counter()
    timetable = Timetable(FakeClock(), every_s=TICK_S)
    timetable.add("ticks", ticks)
    caplog.set_level(logging.INFO)
    async with running(timetable):
        await ticks.more()
        caplog.clear()
        await ticks.more()
    assert [record for record in caplog.records if "Running job" in record.message] == []
