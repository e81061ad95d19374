"""What people see of a reply: latest text, nothing twice, nothing lost."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from itertools import pairwise

import pytest

from bot.outbox import Letter, Outbox
from bot.pace import Pace, interval_of
from bot.platform import Button, Capabilities, Place, PortError, RetryLater, SendUnknown
from bot.writer import ReplyWriter
from data.records import InboxItem
from data.sqlite import open_store
from data.text import split, units
from tests.fakes.clock import FakeClock
from tests.fakes.port import CAPABILITIES, FakePort
from tests.waiting import until

PLACE = Place("telegram", "7")
THUMBS = (Button("👍", "vote:r:u"), Button("👎", "vote:r:d"))


class Desk:
    """A writer with everything around it real but the platform and the clock."""

    def __init__(self, store, port, clock):
        self.store, self.port, self.clock = store, port, clock
        self.pace = Pace(clock)
        self.outbox = Outbox(store, self.pace, clock)
        self.letter = Letter(port, PLACE, 1, "reply", is_direct=False, reply_to="1")

    async def writer(self):
        known = await self.store.outbox(1, "reply")
        return ReplyWriter(self.letter, self.outbox, self.pace, known=known)

    async def write(self, text, *, buttons=THUMBS):
        writer = await self.writer()
        writer.finish(text, buttons=buttons)
        await writer.run()

    async def states(self):
        return [item.state for item in await self.store.outbox(1, "reply")]


@pytest.fixture(name="desk")
async def _desk(tmp_path):
    clock = FakeClock()
    async with open_store(tmp_path / "store.db", clock=clock) as store:
        await store.receive([InboxItem("telegram", "7", "", "1", "ann", "message", "{}")])
        yield Desk(store, FakePort(), clock)


async def test_a_short_reply_is_one_message_with_thumbs(desk):
    await desk.write("hello")
    assert desk.port.texts == ["hello"]
    assert (desk.port.sends, desk.port.edits) == (1, 0)
    assert desk.port.buttons["100"] == THUMBS
    assert desk.port.replies_to["100"] == "1"


async def test_a_long_reply_is_split_and_only_its_last_part_carries_the_thumbs(desk):
    text = "李白\n" * 150
    await desk.write(text)
    shown = desk.port.texts
    assert len(shown) == 3
    assert "\n".join(shown) == text.rstrip()
    assert all(units(part, "utf16") <= 200 for part in shown)
    assert [bool(row) for row in desk.port.buttons.values()] == [False, False, True]
    assert list(desk.port.replies_to.values()) == ["1", None, None]


async def test_the_newest_text_wins_and_nothing_queues(desk):
    desk.port.caps = replace(CAPABILITIES, min_edit_interval_s=3.0)
    words = [f"word{number} " for number in range(200)]
    writer = await desk.writer()
    desk.port.caps = replace(desk.port.caps, max_units=4000)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(writer.run())
        for end in range(1, len(words)):
            writer.show("".join(words[:end]).strip())
            desk.clock.advance(0.1)
            await asyncio.sleep(0)
        writer.finish("".join(words).strip(), buttons=THUMBS)
    (history,) = desk.port.history.values()
    assert history[-1] == "".join(words).strip()
    assert all(later.startswith(earlier) for earlier, later in pairwise(history))
    assert len(history) <= desk.clock.monotonic() / 3.0 + 2, "one call per interval"


async def test_a_growing_reply_is_continued_in_new_messages(desk):
    text = "A sentence of some length. " * 30
    writer = await desk.writer()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(writer.run())
        for end in range(20, len(text), 40):
            writer.show(text[:end])
            await until(
                lambda end=end: "".join(desk.port.texts).replace(" ", "") == text[:end].replace(" ", "")
            )
        writer.finish(text, buttons=THUMBS)
    pieces = [piece.text.strip("\n").rstrip() for piece in split(text, 200, "utf16")]
    assert desk.port.texts == pieces
    assert desk.port.sends == len(pieces)


async def test_a_platform_that_cannot_edit_gets_the_whole_reply_once(desk):
    desk.port.caps = replace(CAPABILITIES, can_edit=False)
    writer = await desk.writer()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(writer.run())
        for text in ("he", "hell", "hello"):
            writer.show(text)
            await asyncio.sleep(0)
        writer.finish("hello there", buttons=THUMBS)
    assert desk.port.history == {"100": ["hello there"]}


async def test_a_pause_that_the_platform_asks_for_is_kept_and_the_final_text_still_comes(desk):
    writer = await desk.writer()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(writer.run())
        writer.show("one")
        await until(lambda: desk.port.texts)
        desk.port.edit_script = [RetryLater(27.0), RetryLater(5.0)]
        began = desk.clock.monotonic()
        writer.finish("one two", buttons=THUMBS)
    assert desk.port.texts == ["one two"]
    assert desk.clock.monotonic() - began >= 32.0


async def test_a_refused_first_try_to_send_is_repeated_with_the_newest_text(desk):
    desk.port.script = [RetryLater(5.0)]
    writer = await desk.writer()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(writer.run())
        writer.show("early")
        writer.finish("early and late")
    assert desk.port.texts == ["early and late"]
    assert await desk.states() == ["sent"]


async def test_a_send_nobody_knows_about_is_never_repeated_on_telegram(desk):
    desk.port.script, desk.port.arrives = [SendUnknown("timed out")], True
    await desk.write("hello")
    assert desk.port.sends == 1
    assert await desk.states() == ["unknown"]
    await desk.write("hello")
    assert desk.port.texts == ["hello"], "not after a restart either"


async def test_a_send_nobody_knows_about_is_repeated_with_its_nonce_where_doubles_are_told_apart(desk):
    desk.port.caps = replace(CAPABILITIES, deduplicates=True)
    desk.port.script, desk.port.arrives = [SendUnknown("timed out")] * 3, True
    writer = await desk.writer()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(writer.run())
        writer.show("he")
        await until(lambda: desk.port.texts)
        writer.finish("hello", buttons=THUMBS)
    assert desk.port.texts == ["hello"]
    assert desk.port.buttons["100"] == THUMBS
    assert await desk.states() == ["sent"]


@pytest.mark.parametrize("age_s", [1.0, 600.0])
async def test_after_a_crash_between_send_and_record_discord_gets_the_nonce_again_while_it_remembers(
    desk, age_s
):
    desk.port.caps = replace(CAPABILITIES, deduplicates=True)
    item = await desk.store.sending(1, "reply", 0, platform="telegram", chat="7", thread="", text="he")
    await desk.port.send(PLACE, "he", nonce=item.nonce)
    desk.clock.advance(age_s)
    await desk.write("hello")
    assert len(desk.port.texts) == 1
    assert desk.port.texts == (["hello"] if age_s < 60 else ["he"])
    assert await desk.states() == (["sent"] if age_s < 60 else ["unknown"])


async def test_a_partly_shown_reply_is_finished_by_editing_what_is_there(desk):
    writer = await desk.writer()
    async with asyncio.TaskGroup() as tasks:
        run = tasks.create_task(writer.run())
        writer.show("first words")
        # Sent and recorded: between the two the part would be unknown, which another test covers.
        await writer.started.wait()
        run.cancel()
    await desk.write("first words, and now " + "all " * 60)
    assert desk.port.sends == 2
    assert desk.port.texts[0].startswith("first words, and now")
    assert [bool(row) for row in desk.port.buttons.values()] == [False, True]


async def test_a_shorter_second_version_leaves_no_stale_part(desk):
    writer = await desk.writer()
    async with asyncio.TaskGroup() as tasks:
        run = tasks.create_task(writer.run())
        writer.show("long " * 60)
        await until(lambda: len(desk.port.texts) == 2)
        run.cancel()
    await desk.write("short")
    assert desk.port.texts == ["short", "…"]
    assert [bool(row) for row in desk.port.buttons.values()] == [True, False]


async def test_a_refused_reply_is_not_tried_again_part_by_part(desk):
    desk.port.script = [PortError("blocked by the user")]
    await desk.write("x " * 300)
    assert desk.port.sends == 1
    assert await desk.states() == ["failed"]


async def test_a_message_that_a_person_deleted_is_not_sent_again(desk):
    writer = await desk.writer()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(writer.run())
        writer.show("one")
        await until(lambda: desk.port.texts)
        desk.port.edit_script = [PortError("message to edit not found")] * 3
        writer.finish("one two")
    assert desk.port.sends == 1


async def test_an_abandoned_reply_keeps_what_was_shown(desk):
    writer = await desk.writer()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(writer.run())
        writer.show("half a")
        await until(lambda: desk.port.texts)
        writer.abandon()
    assert desk.port.texts == ["half a"]
    assert writer.is_delivered


async def test_a_sentence_is_said_once_however_often_it_is_asked_for(desk):
    letter = replace(desk.letter, slot="resting")
    for _ in range(3):
        await desk.outbox.say(letter, "resting")
    assert desk.port.texts == ["resting"]


async def test_writers_in_one_place_share_its_slots_and_other_places_do_not_wait():
    clock = FakeClock()
    pace = Pace(clock)
    for _ in range(3):
        await pace.slot(PLACE, 2.0)
    assert clock.monotonic() == 4.0
    await pace.slot(Place("telegram", "8"), 2.0)
    assert clock.monotonic() == 4.0
    for number in range(3000):
        pace.hold(Place("telegram", str(number)), 1.0)
    clock.advance(100)
    pace.hold(PLACE, 1.0)
    assert len(pace._next) == 1


def test_private_chats_may_have_a_rhythm_of_their_own():
    telegram = Capabilities(4096, "utf16", can_edit=True, min_edit_interval_s=3.0, direct_edit_interval_s=0.6)
    assert (interval_of(telegram, is_direct=True), interval_of(telegram, is_direct=False)) == (0.6, 3.0)
    assert interval_of(CAPABILITIES, is_direct=True) == 0.0
