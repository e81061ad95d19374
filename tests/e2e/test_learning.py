"""The whole loop with real processes: thumbs, training, gate, canary, promotion, and a moderator's way back.

The bot's real parts run here, its engine and its trainer are processes of their own, the base is the shipped
one. People come by the real discord.py, the real python-telegram-bot and Chromium; only the calendar skips.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
import sqlite3
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import cycle
from pathlib import Path

import pytest

from bot.app import SETS, SHIPPED_ADAPTERS, starter_or
from bot.bench.calendar import Calendar
from bot.desk import Desk
from bot.engine_process import borrowed_engine
from bot.loop import Loop, Terms
from bot.next_run import next_runs
from bot.platform import Incoming, Place
from bot.platforms.discord_ import Discord
from bot.platforms.telegram_ import Telegram
from bot.sentences import MENU
from bot.settings import Settings
from bot.timetable import Timetable
from bot.vote_runs import VoteRuns
from bot.web.server import Web
from bot.wiring import Ground, make_runs
from data.home import Home
from data.manifest import read_manifest, write_manifest
from data.records import Ballot
from data.snapshot import read_snapshot
from engine.protocol import model_name
from tests.fakes.discord import APPLICATION, MODERATORS, FakeDiscord, buttons_of
from tests.fakes.discord import TOKEN as DISCORD_TOKEN
from tests.fakes.learning import RATERS, exchange
from tests.fakes.port import CAPABILITIES, FakePort
from tests.fakes.telegram import TOKEN as TELEGRAM_TOKEN
from tests.fakes.telegram import FakeTelegram
from tests.fakes.troupe import ROOT, Troupe, troupe
from tests.waiting import until
from training import canary
from training.eligibility import is_held_out
from training.gate import MARGINS, Rules
from training.measures import GUARDS, MEASURES, read_measures
from training.schedule import Cron, Plan, next_fire
from training.vote_rows import read_votes

pytestmark = pytest.mark.slow

CHROMIUM = "/usr/bin/chromium"
SWITCHES = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--no-first-run"]
HARRY = "harry_potter"
MODERATORS_CHANNEL = "300000000000000002"
CRON = Cron("0 4 * * mon")
CANARY = canary.Rules(shares=(100,), hours=24.0, replies=3)
# What the gate judges is real; what it lets through is another test's: here a small adapter must come by.
GATE = Rules(margins=dict.fromkeys(MARGINS, 0.5), floors={}, length_band=(0.05, 20.0), preference_bound=0.0)
# A few more than a run needs.
TRAINING, HELD_OUT = 54, 42
REFUSAL = "I do not know. Please ask somebody else about that."
PATIENCE_S = 120.0


@dataclass(frozen=True, slots=True)
class World:
    """A running bot that learns, and what to look at."""

    parts: Troupe
    home: Home
    calendar: Calendar
    loop: Loop
    fingerprint: str

    @property
    def ledger(self):
        return self.parts.store.ledger

    async def champion(self):
        """The digest that the store names, once people hear it."""
        aliases = await self.parts.store.aliases(self.fingerprint)
        (digest,) = [one.digest for one in aliases if (one.persona, one.alias) == (HARRY, "champion")]
        await until(lambda: self.parts.reconciler.champion(HARRY).digest == digest)
        return digest

    async def run_in(self, state):
        """The only run, once it has come so far; fails where it came to another end."""
        async with asyncio.timeout(PATIENCE_S):
            while not (found := await self.ledger.runs()) or found[0].state != state:
                ended = found and found[0].state in {"failed", "rejected", "rolled_back", "superseded"}
                assert not ended, (found[0].state, found[0].error, found[0].reason, found[0].decision)
                await asyncio.sleep(0.05)
        (run,) = found
        return run

    def rows(self, query):
        with contextlib.closing(sqlite3.connect(f"file:{self.home.store}?mode=ro", uri=True)) as store:
            return store.execute(query).fetchall()


@dataclass
class Crowd:
    """Chats that ask one question after the other, whatever happens."""

    core: object
    chats: int
    rest_s: float = 0.0
    port: FakePort = field(
        default_factory=lambda: FakePort("terminal", replace(CAPABILITIES, max_units=10_000, can_edit=False))
    )

    @contextlib.asynccontextmanager
    async def asking(self):
        self.core.attach(self.port)
        # What was asked at a terminal before the bot looked there first is expired.
        await until(lambda: "terminal" in self.core._read)
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            for number in range(self.chats):
                tasks.create_task(self._ask(f"chat {number}", stop))
            try:
                yield self
            finally:
                stop.set()

    async def _ask(self, chat, stop):
        questions = cycle(["Who are you?", "你好", "What is your owl called?", "12 + 7?"])
        asked = 0
        while not stop.is_set():
            asked += 1
            place = Place("terminal", chat)
            await self.core.receive(
                [Incoming(place, f"{chat} {asked}", chat, chat, next(questions), is_direct=True)]
            )
            await until(lambda: self.told(chat) >= asked, seconds=PATIENCE_S)  # noqa: B023 - waited for at once
            await asyncio.sleep(self.rest_s)

    def told(self, chat):
        return sum(place.chat == chat for place in self.port.places.values())


def a_cast(root, *, words=None):
    """The shipped Harry with a part of his dialogues and questions; ``words`` limits his replies' tokens."""
    folder = root / HARRY
    shutil.copytree(ROOT / "personas" / HARRY, folder)
    for name, many in (("dialogues.jsonl", 600), ("choices.jsonl", 120), ("sycophancy.jsonl", 120)):
        lines = (folder / name).read_text(encoding="utf-8").splitlines(keepends=True)
        (folder / name).write_text("".join(lines[:: len(lines) // many][:many]), encoding="utf-8")
    if words is not None:
        card = folder / "persona.toml"
        text = re.sub(r"(?m)^max_tokens = \d+$", f"max_tokens = {words}", card.read_text(encoding="utf-8"))
        card.write_text(text, encoding="utf-8")
    return root


@contextlib.asynccontextmanager
async def learning(root, *, words=None, **more):
    """The bot with its engine and its timetable, which looks every half second."""
    home, calendar = Home(root / "home"), Calendar()
    settings = Settings(home=home.root, base="starter", threads=1)
    nudges = []
    async with contextlib.AsyncExitStack() as stack:
        url = await stack.enter_async_context(borrowed_engine(settings, home, os.environ))
        parts = await stack.enter_async_context(
            troupe(
                home.root,
                url,
                clock=calendar,
                personas=a_cast(root / "personas", words=words),
                shipped=SHIPPED_ADAPTERS,
                on_decision=lambda: [nudge() for nudge in nudges],
                **more,
            )
        )
        fingerprint = parts.reconciler.info.base_fingerprint
        ground = Ground(parts.store, home, settings, SETS, starter_or("starter"), fingerprint, calendar)
        opening = VoteRuns(
            parts.store,
            home,
            sets=SETS,
            base="starter",
            fingerprint=fingerprint,
            recipe="quick",
            clock=calendar,
        )
        loop = Loop(
            parts.store,
            parts.cast,
            make_runs(ground),
            opening,
            # Nobody falls silent here.
            Terms(Plan(CRON, most_replies=100_000), gate=GATE, canary=CANARY, threads=1),
            fingerprint=fingerprint,
            clock=calendar,
            news=parts.core.gate_post,
            changed=parts.reconciler.nudge,
        )
        timetable = Timetable(calendar, every_s=0.5)
        for name in ("open_due", "train", "judge", "canaries"):
            timetable.add(name, getattr(loop, name))
        timetable.add("gate post", parts.core.gate_post.catch_up)
        nudges += [timetable.nudge, parts.reconciler.nudge]
        await stack.enter_async_context(running(timetable.run, parts.reconciler.run))
        yield World(parts, home, calendar, loop, fingerprint)


@contextlib.asynccontextmanager
async def running(*works):
    tasks = [asyncio.create_task(work()) for work in works]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for _ in range(10):
            await asyncio.sleep(0)


async def voted(store, examples):
    """What people said before: they like an answer, and dislike a refusal to give one."""
    await asyncio.gather(*(store.answer_consent(rater, "yes") for rater in RATERS))
    left, number = {False: TRAINING, True: HELD_OUT}, 0
    said = cycle(examples)
    while any(left.values()):
        live = await store.conversation("web", f"before {number}", "", HARRY)
        kind = is_held_out(live.id)
        for turn in range(min(left[kind], 6 if kind else 1)):
            is_good = (number + turn) % 2 == 0
            one = next(said)
            name = f"{one.user} ({number})"
            text = one.assistant if is_good else REFUSAL
            reply_id = await exchange(store, live, RATERS[number % 16], f"{name} {turn}", text=text)
            raters = [RATERS[(number + turn + step) % 16] for step in (0, 5, 10)]
            await agree(store, reply_id, raters, 1 if is_good else -1)
            left[kind] -= 1
        number += 1


async def agree(store, reply_id, raters, value):
    await asyncio.gather(*(store.cast(Ballot(reply_id, rater, "thumb", value)) for rater in raters))


class OnDiscord:
    """A person in a server's channel, and a moderator."""

    def __init__(self, fake):
        self.fake = fake

    async def ask(self, text):
        """The reply's id, once its thumbs are there."""
        known = self._rated()
        await self.fake.say(f"<@{APPLICATION}> {text}")
        await until(lambda: len(self._rated()) > len(known), seconds=PATIENCE_S)
        return buttons_of(self._rated()[-1])[0].split(":")[1]

    async def vote(self, value):
        message, before = self._rated()[-1], len(self.fake.whispers)
        await self.fake.press(message["id"], buttons_of(message)[0 if value > 0 else 1])
        await until(lambda: len(self.fake.whispers) > before)
        await self.fake.press(self.fake.whispers[-1]["id"], "consent:yes")
        await until(lambda: len(self.fake.whispers) > before + 1)

    def report(self):
        return self.fake.bot_messages(MODERATORS_CHANNEL)

    async def roll_back(self, run_id):
        (message,) = [one for one in self.report() if buttons_of(one)]
        before = len(self.fake.whispers)
        await self.fake.press(message["id"], f"gate:{run_id}:rollback", user=8, is_moderator=True)
        await until(lambda: len(self.fake.whispers) > before)
        return self.fake.whispers[-1]["content"]

    def _rated(self):
        return [
            one
            for one in self.fake.bot_messages()
            if any(data.startswith("vote:") for data in buttons_of(one))
        ]


class OnTelegram:
    """A person in a private chat."""

    def __init__(self, fake):
        self.fake = fake

    async def ask(self, text):
        known = len(self._with("vote:"))
        self.fake.say(text, language="en")
        await until(lambda: len(self._with("vote:")) > known, seconds=PATIENCE_S)
        return self._with("vote:")[-1][1][0].split(":")[1]

    async def vote(self, value):
        number, thumbs = self._with("vote:")[-1]
        self.fake.press(7, number, thumbs[0 if value > 0 else 1])
        await until(lambda: self._with("consent:"))
        answered = len(self.fake.answers)
        self.fake.press(7, self._with("consent:")[-1][0], "consent:yes")
        await until(lambda: len(self.fake.answers) > answered)

    def _with(self, kind):
        found = [(one["message_id"], self.fake.buttons(7, one["message_id"])) for one in self._messages()]
        return [(number, data) for number, data in found if data and data[0].startswith(kind)]

    def _messages(self):
        return self.fake.bot_messages(7)


class OnThePage:
    """A person at a browser."""

    def __init__(self, page, world):
        self.page, self.world = page, world

    async def ask(self, text):
        replies = self.page.locator(".message.persona:has(.thumb)")
        known = await replies.count()
        await self.page.locator("#text").fill(text)
        await self.page.keyboard.press("Enter")
        await self.expect(replies).to_have_count(known + 1)
        said = "SELECT id FROM reply WHERE platform = 'web' AND text IS NOT NULL ORDER BY created_at"
        return self.world.rows(said)[-1][0]

    async def vote(self, value):
        name = "Good answer" if value > 0 else "Bad answer"
        await self.page.get_by_role("button", name=name).last.click()
        question = self.page.get_by_role("region", name="One question")
        await question.get_by_role("button", name="Yes").click()
        await self.expect(question).to_contain_text("Thank you")

    @staticmethod
    def expect(locator):
        from playwright.async_api import expect

        expect.set_options(timeout=PATIENCE_S * 1000)
        return expect(locator)


@contextlib.asynccontextmanager
async def at_the_page(world, home):
    from playwright.async_api import async_playwright

    web = Web(world.parts.core, world.parts.cast, host="127.0.0.1", port=0, adapter_of=lambda slug: None)
    web.bind()
    home.mkdir()
    environment = {"HOME": str(home), "PATH": os.environ["PATH"]}
    async with running(web.run), async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=CHROMIUM, args=SWITCHES, env=environment)
        try:
            page = await browser.new_page(locale="en-US")
            await page.goto(f"{web.url}/chat/{HARRY}")
            yield OnThePage(page, world)
        finally:
            await browser.close()


@contextlib.asynccontextmanager
async def on_discord(world, fake):
    async with running(Discord(DISCORD_TOKEN, world.parts.core, menu=MENU).run):
        await until(lambda: fake.connected)
        yield OnDiscord(fake)


@contextlib.asynccontextmanager
async def on_telegram(world, fake):
    telegram = Telegram(TELEGRAM_TOKEN, world.parts.core, menu=MENU, api_url=fake.url)
    async with running(telegram.run):
        yield OnTelegram(fake)


def no_request_failed(world, crowd):
    """Every question was answered, and nobody heard of a rest."""
    failed = world.rows("SELECT error FROM reply WHERE state = 'failed' AND error NOT LIKE 'no words%'")
    assert failed == []
    assert world.rows("SELECT error FROM inbox WHERE state = 'dead'") == []
    said = [text for (text,) in world.rows("SELECT text FROM outbox WHERE text IS NOT NULL")]
    assert not [text for text in said if "resting" in text or "Somebody else" in text]
    assert len(crowd.port.messages) > crowd.chats


@pytest.mark.skipif(
    not os.access(CHROMIUM, os.X_OK), reason=f"there is no {CHROMIUM}; apt-get install chromium"
)
async def test_thumbs_become_a_voice_that_people_hear_until_a_moderator_takes_it_back(tmp_path, monkeypatch):
    pytest.importorskip("playwright.async_api", reason="playwright is not installed")
    roles = {
        "moderators": (f"discord-role:{MODERATORS}",),
        "moderators_channel": f"discord:{MODERATORS_CHANNEL}",
    }
    async with contextlib.AsyncExitStack() as stack:
        discord_double = await stack.enter_async_context(FakeDiscord())
        telegram_double = await stack.enter_async_context(FakeTelegram())
        discord_double.redirect(monkeypatch)
        world = await stack.enter_async_context(learning(tmp_path, words=60, **roles))
        store = world.parts.store
        first = await world.champion()
        english = [one.turn for one in world.parts.cast[HARRY].examples.all if one.lang == "en"]
        await voted(store, english)
        discord = await stack.enter_async_context(on_discord(world, discord_double))
        telegram = await stack.enter_async_context(on_telegram(world, telegram_double))
        page = await stack.enter_async_context(at_the_page(world, tmp_path / "chromium"))
        crowd = await stack.enter_async_context(Crowd(world.parts.core, 8, rest_s=0.3).asking())

        clicked = []
        for person in (discord, telegram, page):
            reply_id = await person.ask("Who are you?")
            reply = await store.reply(reply_id)
            assert (reply.adapter_digest, reply.arm) == (first, None)
            # A thumb up for what a guard flagged would not count.
            value = 1 if reply.guard is None else -1
            await person.vote(value)
            (vote,) = [one for one in await store.votes(reply_id) if one.closed_at is None]
            assert (vote.value, vote.consent) == (value, "yes")
            await agree(store, reply_id, RATERS[:3], value)
            clicked.append((reply_id, vote.id))
        (stats,) = next_runs(await store.thumbs())
        assert (stats["lacking"], set(stats["fates"]) <= {"trains", "held_out"}) == ({}, True)
        assert await world.ledger.runs() == ()
        await until(lambda: world.loop.waits)
        assert "04:00" in world.loop.waits[HARRY]

        world.calendar.skip(next_fire(CRON, world.calendar.now()) - world.calendar.now())
        moment = datetime.fromtimestamp(world.calendar.now(), UTC)
        assert (moment.strftime("%a"), moment.hour) == ("Mon", 4)
        run = await world.run_in("canary")
        assert set(json.loads(run.decision)["verdict"]) >= {"passed", "checks"}
        snapshot = world.home.snapshots / run.id
        assert (read_snapshot(snapshot).recipe, run.kind) == ("quick", "incremental")
        votes = read_votes(snapshot)
        learnt = {one.reply_id: one for one in (*votes.thumbs, *votes.held_out)}
        assert all(vote in learnt[reply_id].vote_ids for reply_id, vote in clicked)
        measured = read_measures(world.home.adapters / HARRY / run.id / MEASURES)
        assert {one.name for one in measured.guards} == set(GUARDS)
        assert len(measured.held_out) == len(votes.held_out) >= HELD_OUT
        manifest = read_manifest(world.home.adapters / HARRY / run.id)
        assert manifest.digest == run.challenger != first
        assert manifest.details["parent"] == model_name(HARRY, first)

        await until(lambda: [one for one in discord.report() if f"gate:{run.id}:rollback" in buttons_of(one)])
        assert any("A:" in one["content"] for one in discord.report())
        await until(lambda: world.parts.reconciler.speaker(HARRY, "any").arm == "challenger")
        reply = await store.reply(await discord.ask("Do you like flying?"))
        assert (reply.adapter_digest, reply.arm) == (run.challenger, "challenger")

        world.calendar.skip(25 * 3600)
        run = await world.run_in("promoted")
        assert await world.champion() == run.challenger
        consumed = await world.ledger.consumed()
        trained = {vote for one in votes.thumbs for vote in one.vote_ids}
        assert {vote for vote, by in consumed.items() if by == run.id} == trained
        for person in (telegram, page):
            reply = await store.reply(await person.ask("Do you like flying?"))
            assert (reply.adapter_digest, reply.arm) == (run.challenger, None)

        assert "rolled" in await discord.roll_back(run.id)
        assert (await world.run_in("rolled_back")).reason == "A moderator rolled it back."
        assert await world.champion() == first
        for person in (discord, telegram, page):
            reply = await store.reply(await person.ask("And Quidditch?"))
            assert (reply.adapter_digest, reply.arm) == (first, None)
        assert await world.ledger.consumed() == {}
        no_request_failed(world, crowd)
