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
from bot.sentences import MENU, sentence
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

pytestmark = pytest.mark.long

CHROMIUM = "/usr/bin/chromium"
SWITCHES = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--no-first-run"]
HARRY = "harry_potter"
MODERATORS_CHANNEL = "300000000000000002"
CRON = Cron("0 4 * * mon")
CANARY = canary.Rules(shares=(100,), hours=24.0, replies=3)
# It judges what was really measured; the guards' true limits need many more items than a test has time for.
GATE = Rules(margins=dict.fromkeys(MARGINS, 0.2), floors={}, least_items=40)
# A few more than a run needs.
TRAINING, HELD_OUT = 54, 42
REFUSAL = "I do not know. Please ask somebody else about that."
ITEMS = 48
PATIENCE_S = 240.0
ENDED = {"failed", "rejected", "rolled_back", "superseded"}
ROLLBACKS, STREAMS = 50, 16


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
                assert not found or found[0].state not in ENDED, found[0]
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
            said = Incoming(
                Place("terminal", chat), f"{chat} {asked}", chat, chat, next(questions), is_direct=True
            )
            await self.core.receive([said])
            await until(lambda: self._told(chat) >= asked, seconds=PATIENCE_S)  # noqa: B023 - at once
            await asyncio.sleep(self.rest_s)

    def _told(self, chat):
        return sum(place.chat == chat for place in self.port.places.values())


def a_cast(root, *, words):
    """The shipped Harry with a part of his dialogues and questions; ``words`` limits his replies' tokens."""
    source, folder = ROOT / "personas" / HARRY, root / HARRY
    shutil.copytree(source, folder)
    for name in ("dialogues.jsonl", "choices.jsonl", "sycophancy.jsonl"):
        some_of(source / name, folder, ITEMS)
    card = folder / "persona.toml"
    text = re.sub(r"(?m)^max_tokens = \d+$", f"max_tokens = {words}", card.read_text(encoding="utf-8"))
    card.write_text(text, encoding="utf-8")
    return root


def the_sets(root):
    """The shipped sets, cut: a run is measured on each of their lines."""
    root.mkdir()
    for name, many in (("general.jsonl", 4 * ITEMS), ("retention.jsonl", ITEMS), ("safety.jsonl", ITEMS)):
        some_of(SETS / name, root, many)
    return root


def some_of(source, folder, many):
    lines = source.read_text(encoding="utf-8").splitlines(keepends=True)
    (folder / source.name).write_text("".join(lines[:: len(lines) // many][:many]), encoding="utf-8")


@contextlib.asynccontextmanager
async def learning(root, *, words, **more):
    """The bot with its engine and its timetable, which looks every half second."""
    home, calendar, sets = Home(root / "home"), Calendar(), the_sets(root / "sets")
    settings = Settings(home=home.root, base="starter", threads=1)
    nudges = []
    async with contextlib.AsyncExitStack() as stack:
        url = await stack.enter_async_context(borrowed_engine(settings, home, os.environ))
        bot = troupe(
            home.root,
            url,
            clock=calendar,
            personas=a_cast(root / "personas", words=words),
            shipped=SHIPPED_ADAPTERS,
            on_decision=lambda: [nudge() for nudge in nudges],
            **more,
        )
        parts = await stack.enter_async_context(bot)
        fingerprint = parts.reconciler.info.base_fingerprint
        ground = Ground(parts.store, home, settings, sets, starter_or("starter"), fingerprint, calendar)
        loop = a_loop(ground, parts)
        timetable = Timetable(calendar, every_s=0.5)
        for work in (loop.open_due, loop.train, loop.judge, loop.canaries, parts.core.gate_post.catch_up):
            timetable.add(work.__name__, work)
        nudges += [timetable.nudge, parts.reconciler.nudge]
        await stack.enter_async_context(running(timetable.run, parts.reconciler.run))
        yield World(parts, home, calendar, loop, fingerprint)


def a_loop(ground, parts):
    opening = VoteRuns(
        ground.store,
        ground.home,
        sets=ground.sets,
        base=ground.settings.base,
        fingerprint=ground.fingerprint,
        recipe="quick",
        clock=ground.clock,
    )
    # Nobody falls silent here.
    plan = Plan(CRON, most_replies=100_000)
    return Loop(
        ground.store,
        parts.cast,
        make_runs(ground),
        opening,
        Terms(plan, gate=GATE, canary=CANARY, threads=1),
        fingerprint=ground.fingerprint,
        clock=ground.clock,
        news=parts.core.gate_post,
        changed=parts.reconciler.nudge,
    )


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
    left, number, said = {False: TRAINING, True: HELD_OUT}, 0, cycle(examples)
    while any(left.values()):
        live = await store.conversation("web", f"before {number}", "", HARRY)
        kind = is_held_out(live.id)
        for turn in range(min(left[kind], 6 if kind else 1)):
            is_good, one = (number + turn) % 2 == 0, next(said)
            message, text = f"{one.user} ({number} {turn})", one.assistant if is_good else REFUSAL
            reply_id = await exchange(store, live, RATERS[number % 16], message, text=text)
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
        known = len(self._rated())
        await self.fake.say(f"<@{APPLICATION}> {text}")
        await until(lambda: len(self._rated()) > known, seconds=PATIENCE_S)
        return buttons_of(self._rated()[-1])[0].split(":")[1]

    async def vote(self, value):
        message = self._rated()[-1]
        question = await self._press(message, buttons_of(message)[0 if value > 0 else 1])
        await self._press(question, "consent:yes")

    def report(self):
        return self.fake.bot_messages(MODERATORS_CHANNEL)

    def can_roll_back(self, run_id):
        """The report's last message, where its button is there."""
        return [one for one in self.report() if f"gate:{run_id}:rollback" in buttons_of(one)]

    async def roll_back(self, run_id):
        (message,) = self.can_roll_back(run_id)
        told = await self._press(message, f"gate:{run_id}:rollback", user=8, is_moderator=True)
        return told["content"]

    async def _press(self, message, data, **who):
        """What the person alone is told."""
        before = len(self.fake.whispers)
        await self.fake.press(message["id"], data, **who)
        await until(lambda: len(self.fake.whispers) > before)
        return self.fake.whispers[-1]

    def _rated(self):
        return [one for one in self.fake.bot_messages() if "".join(buttons_of(one)).startswith("vote:")]


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
        (number, thumbs), answered = self._with("vote:")[-1], len(self.fake.answers)
        self.fake.press(7, number, thumbs[0 if value > 0 else 1])
        question, _ = (await until(lambda: self._with("consent:")))[-1]
        self.fake.press(7, question, "consent:yes")
        # The thumb's own answer may come after the question.
        await until(lambda: len(self.fake.answers) == answered + 2)

    def _with(self, kind):
        found = [(one["message_id"], self.fake.buttons(7, one["message_id"])) for one in self._messages()]
        return [(number, data) for number, data in found if "".join(data).startswith(kind)]

    def _messages(self):
        return self.fake.bot_messages(7)


class OnThePage:
    """A person at a browser."""

    def __init__(self, page, expect, world):
        self.page, self.expect, self.world = page, expect, world

    async def ask(self, text):
        replies = self.page.locator(".message.persona:has(.thumb)")
        known = await replies.count()
        await self.page.locator("#text").fill(text)
        await self.page.keyboard.press("Enter")
        await self.expect(replies).to_have_count(known + 1)
        told = "SELECT id FROM reply WHERE platform = 'web' AND seconds IS NOT NULL ORDER BY created_at"
        return self.world.rows(told)[-1][0]

    async def vote(self, value):
        name = "Good answer" if value > 0 else "Bad answer"
        await self.page.get_by_role("button", name=name).last.click()
        question = self.page.get_by_role("region", name="One question")
        await question.get_by_role("button", name="Yes").click()
        await self.expect(question).to_contain_text("Thank you")


@contextlib.asynccontextmanager
async def at_the_page(world, home):
    browsers = pytest.importorskip("playwright.async_api", reason="playwright is not installed")
    browsers.expect.set_options(timeout=PATIENCE_S * 1000)
    web = Web(world.parts.core, world.parts.cast, host="127.0.0.1", port=0, adapter_of=lambda slug: None)
    web.bind()
    home.mkdir()
    environment = {"HOME": str(home), "PATH": os.environ["PATH"]}
    async with running(web.run), browsers.async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=CHROMIUM, args=SWITCHES, env=environment)
        try:
            page = await browser.new_page(locale="en-US")
            await page.goto(f"{web.url}/chat/{HARRY}")
            yield OnThePage(page, browsers.expect, world)
        finally:
            await browser.close()


@contextlib.asynccontextmanager
async def on_discord(world, monkeypatch):
    async with FakeDiscord() as fake:
        fake.redirect(monkeypatch)
        async with running(Discord(DISCORD_TOKEN, world.parts.core, menu=MENU).run):
            await until(lambda: fake.connected)
            yield OnDiscord(fake)


@contextlib.asynccontextmanager
async def on_telegram(world):
    async with FakeTelegram() as fake:
        telegram = Telegram(TELEGRAM_TOKEN, world.parts.core, menu=MENU, api_url=fake.url)
        async with running(telegram.run):
            yield OnTelegram(fake)


async def heard(world, person, text="Do you like flying?"):
    """The reply as it is stored, and whose voice that is."""
    reply = await world.parts.store.reply(await person.ask(text))
    return reply, (reply.adapter_digest, reply.arm)


async def thumb_of(world, person):
    """Asks and clicks a thumb, with which others agree; the reply's id and the vote's."""
    store = world.parts.store
    reply, _ = await heard(world, person, "Who are you?")
    # A thumb up for what a guard flagged would not count.
    value = 1 if reply.guard is None else -1
    await person.vote(value)
    (vote,) = [one for one in await store.votes(reply.id) if one.closed_at is None]
    assert (vote.value, vote.consent) == (value, "yes")
    await agree(store, reply.id, RATERS[:3], value)
    return reply.id, vote.id


async def monday_comes(world):
    """Nothing was begun before, although there are votes enough."""
    (stats,) = next_runs(await world.parts.store.thumbs())
    assert (stats["lacking"], set(stats["fates"])) == ({}, {"trains", "held_out"})
    await until(lambda: world.loop.waits)
    assert "04:00" in world.loop.waits[HARRY]
    assert await world.ledger.runs() == ()
    world.calendar.skip(next_fire(CRON, world.calendar.now()) - world.calendar.now())
    moment = datetime.fromtimestamp(world.calendar.now(), UTC)
    assert (moment.strftime("%a"), moment.hour) == ("Mon", 4)


async def learnt(world, run, clicked, champion):
    """The ids of the votes that trained, after a look at what the trainer and the gate left."""
    snapshot, adapter = world.home.snapshots / run.id, world.home.adapters / HARRY / run.id
    assert (run.kind, read_snapshot(snapshot).recipe) == ("incremental", "quick")
    votes = read_votes(snapshot)
    rows = {one.reply_id: one for one in (*votes.thumbs, *votes.held_out)}
    assert all(vote in rows[reply_id].vote_ids for reply_id, vote in clicked)
    measured = read_measures(adapter / MEASURES)
    assert {one.name for one in measured.guards} == set(GUARDS)
    assert len(measured.held_out) == len(votes.held_out) >= HELD_OUT
    verdict = json.loads(run.decision)["verdict"]
    assert verdict["passed"]
    assert {one["name"] for one in verdict["checks"]} > set(GUARDS)
    manifest = read_manifest(adapter)
    assert manifest.digest == run.challenger != champion
    assert manifest.details["parent"] == model_name(HARRY, champion)
    return {vote for one in votes.thumbs for vote in one.vote_ids}


def no_request_failed(world, crowd):
    """Every question was answered by the persona, and nobody heard of a rest."""
    assert world.rows("SELECT error FROM reply WHERE state = 'failed'") == []
    assert world.rows("SELECT error FROM inbox WHERE state = 'dead'") == []
    name = world.parts.cast[HARRY].names["en"]
    excuses = [sentence(one, "en", name=name) for one in ("resting", "given_up", "engine_busy")]
    said = [text for (text,) in world.rows("SELECT text FROM outbox")]
    assert not set(excuses) & set(said)
    assert len(crowd.port.with_votes()) == len(crowd.port.messages) > crowd.chats


@pytest.mark.skipif(
    not os.access(CHROMIUM, os.X_OK), reason=f"there is no {CHROMIUM}; apt-get install chromium"
)
async def test_thumbs_become_a_voice_that_people_hear_until_a_moderator_takes_it_back(tmp_path, monkeypatch):
    roles = {
        "moderators": (f"discord-role:{MODERATORS}",),
        "moderators_channel": f"discord:{MODERATORS_CHANNEL}",
    }
    async with contextlib.AsyncExitStack() as stack:
        world = await stack.enter_async_context(learning(tmp_path, words=60, **roles))
        first = await world.champion()
        examples = world.parts.cast[HARRY].examples.all
        await voted(world.parts.store, [one.turn for one in examples if one.lang == "en"])
        discord = await stack.enter_async_context(on_discord(world, monkeypatch))
        telegram = await stack.enter_async_context(on_telegram(world))
        page = await stack.enter_async_context(at_the_page(world, tmp_path / "chromium"))
        crowd = await stack.enter_async_context(Crowd(world.parts.core, 8, rest_s=1.5).asking())

        clicked = [await thumb_of(world, person) for person in (discord, telegram, page)]
        assert (await heard(world, discord))[1] == (first, None)
        await monday_comes(world)
        run = await world.run_in("canary")
        trained = await learnt(world, run, clicked, first)

        await until(lambda: discord.can_roll_back(run.id))
        assert any("A: " in one["content"] for one in discord.report())
        await until(lambda: world.parts.reconciler.speaker(HARRY, "any").arm == "challenger")
        assert (await heard(world, discord))[1] == (run.challenger, "challenger")

        world.calendar.skip(25 * 3600)
        run = await world.run_in("promoted")
        assert await world.champion() == run.challenger
        assert set(await world.ledger.consumed()) == trained
        for person in (discord, telegram, page):
            assert (await heard(world, person))[1] == (run.challenger, None)

        await discord.roll_back(run.id)
        assert (await world.run_in("rolled_back")).reason == "A moderator rolled it back."
        assert await world.champion() == first
        for person in (discord, telegram, page):
            assert (await heard(world, person))[1] == (first, None)
        assert await world.ledger.consumed() == {}
        assert discord.can_roll_back(run.id) == []
    no_request_failed(world, crowd)


def a_second_version(folder):
    """The shipped adapter, a little weaker."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(SHIPPED_ADAPTERS / HARRY / "v0", folder)
    manifest, weights = read_manifest(folder), folder / "adapter_model.safetensors"
    save_file({name: 0.9 * one for name, one in load_file(weights).items()}, weights)
    write_manifest(folder, base_fingerprint=manifest.base_fingerprint, details=manifest.details)


async def test_fifty_rollbacks_under_sixteen_streams_fail_no_request(tmp_path):
    a_second_version(tmp_path / "home" / "adapters" / HARRY / "second")
    async with learning(tmp_path, words=12) as world:
        parts = world.parts
        first = await world.champion()
        desk = Desk(parts.store, world.home, world.fingerprint)
        async with Crowd(parts.core, STREAMS).asking() as crowd:
            for _ in range(ROLLBACKS):
                for command in ("promote", "rollback"):
                    await desk.answer({"command": command, "persona": HARRY, "version": "second"})
                    await parts.reconciler.once()
        assert await world.champion() == first
        spoke = world.rows("SELECT count(*) FROM reply GROUP BY adapter_digest")
        assert len(spoke) == 2, "both versions were heard"
        no_request_failed(world, crowd)
