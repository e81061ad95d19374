"""The moderators' page in a real browser, over the real core and store: keys judge what a group was told."""

from __future__ import annotations

import asyncio
import contextlib
import os
from dataclasses import replace

import pytest
import pytest_asyncio

from bot.platform import Incoming, Place
from bot.web.server import Web
from tests.fakes.engine import FakeEngine
from tests.fakes.port import CAPABILITIES, FakePort
from tests.fakes.troupe import troupe
from tests.waiting import until

playwright = pytest.importorskip("playwright.async_api", reason="playwright is not installed")
expect = playwright.expect
PATIENCE_MS = 30_000
expect.set_options(timeout=PATIENCE_MS)

CHROMIUM = "/usr/bin/chromium"
pytestmark = [
    pytest.mark.skipif(
        not os.access(CHROMIUM, os.X_OK), reason=f"there is no {CHROMIUM}; apt-get install chromium"
    ),
    pytest.mark.asyncio(loop_scope="module"),
]
SWITCHES = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--no-first-run"]
GROUP = Place("telegram", "-5", guild="-5")
PRIVATE = Place("telegram", "7")


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="browser")
async def _browser(tmp_path_factory):
    home = tmp_path_factory.mktemp("chromium")
    async with playwright.async_playwright() as driver:
        browser = await driver.chromium.launch(
            executable_path=CHROMIUM, args=SWITCHES, env={"HOME": str(home), "PATH": os.environ["PATH"]}
        )
        yield browser
        await browser.close()


@contextlib.asynccontextmanager
async def told(home, questions, *, reply="So I say."):
    """A bot whose group was told the reply to each question; gives (parts, engine, the page's address)."""
    port = FakePort(caps=replace(CAPABILITIES, max_units=2000))
    async with FakeEngine(reply=reply) as engine, troupe(home, engine.url) as parts:
        parts.core.attach(port)
        for number, (place, text) in enumerate(questions):
            said = Incoming(place, str(number), "ann", "Ann", text, place is PRIVATE, mentions_bot=True)
            await parts.core.receive([said])
            await until(lambda: len(port.with_votes()) > number)  # noqa: B023 - waited for at once
        async with serving(parts) as web:
            yield parts, engine, web.url


@contextlib.asynccontextmanager
async def serving(parts, **how):
    how = {"host": "127.0.0.1", "port": 0, "adapter_of": lambda slug: None, **how}
    web = Web(parts.core, parts.cast, **how)
    web.bind()
    task = asyncio.create_task(web.run())
    try:
        yield web
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@contextlib.asynccontextmanager
async def looking(browser, url, *, locale="en-US", size=None):
    """A page whose console must stay clean and which may ask nobody but us."""
    context = await browser.new_context(locale=locale, viewport=size or {"width": 1100, "height": 900})
    context.set_default_timeout(PATIENCE_MS)
    page = await context.new_page()
    complaints: list[str] = []
    page.on("console", lambda one: complaints.append(one.text) if one.type in {"error", "warning"} else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda one: None if one.url.startswith(url) else complaints.append(one.url))
    try:
        await page.goto(f"{url}/review")
        yield page
        assert complaints == []
    finally:
        await context.close()


async def verdicts(parts):
    """(kind, value, text) of every live vote, oldest first."""
    found = []
    for number in range(1, 9):
        reply = await parts.store.reply_of(number)
        votes = () if reply is None else await parts.store.votes(reply.id)
        found += [(vote.id, vote.kind, vote.value, vote.text) for vote in votes if vote.closed_at is None]
    return [one[1:] for one in sorted(found)]


async def test_everything_can_be_done_by_keyboard(browser, tmp_path):
    questions = [(GROUP, "one"), (GROUP, "two"), (PRIVATE, "a secret"), (GROUP, "three"), (GROUP, "four")]
    async with told(tmp_path, questions) as (parts, engine, url), looking(browser, url) as page:
        progress, judged = page.locator(".progress span"), page.locator(".judged article")
        await expect(progress).to_have_text("waiting: 4, judged by you: 0")
        await expect(page.locator(".message").last).to_contain_text("four")
        await expect(judged).to_have_text(["Harry Potter\nSo I say."], use_inner_text=True)
        await page.keyboard.press("g")
        await expect(progress).to_have_text("waiting: 3, judged by you: 1")
        await expect(page.locator(".notice")).to_have_text("Stored, thank you.")
        question = page.get_by_role("region", name="One question")
        await question.get_by_role("button", name="Yes").click()
        await expect(question).to_contain_text("Thank you!")

        await page.keyboard.press("r")
        field = page.get_by_label("What Harry Potter should have said")
        await expect(field).to_be_focused()
        await expect(field).to_have_value("So I say.")
        await page.keyboard.press("Control+Enter")
        await expect(page.locator("#notice")).to_contain_text("What should the answer have been?")
        await page.keyboard.press("Escape")
        await expect(field).to_be_hidden()
        await page.keyboard.press("r")
        await field.fill("I am good at g, b and s.")
        await page.keyboard.press("Control+Enter")
        await expect(progress).to_have_text("waiting: 2, judged by you: 2")

        engine.reply = "Quite another."
        await page.keyboard.press("a")
        await expect(judged).to_have_count(2)
        texts = await judged.locator("p").all_inner_texts()
        await page.keyboard.press(str(texts.index("Quite another.") + 1))
        await expect(progress).to_have_text("waiting: 1, judged by you: 3")
        await page.keyboard.press("s")
        await expect(page.locator("#desk")).to_contain_text("Nothing is waiting to be reviewed")
        await page.keyboard.press("n")
        await expect(page.locator("#desk")).to_contain_text("Judged by you so far: 3.")
        assert await verdicts(parts) == [
            ("thumb", 1, None), ("rewrite", 1, "I am good at g, b and s."), ("pair", 1, None),
        ]  # fmt: skip


async def test_neither_and_bad_and_pause_and_keys_that_mean_nothing(browser, tmp_path):
    async with (
        told(tmp_path, [(GROUP, "one"), (GROUP, "two"), (GROUP, "three")]) as (parts, engine, url),
        looking(browser, url, locale="zh-TW", size={"width": 390, "height": 844}) as page,
    ):
        await expect(page.locator("h1")).to_have_text("審閱")
        for key in ("x", "1", "Enter", "Control+b", "Alt+g"):
            await page.keyboard.press(key)
        engine.reply = "Quite another."
        await page.keyboard.press("a")
        await expect(page.locator(".judged article")).to_have_count(2)
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        await page.keyboard.press("0")
        await expect(page.locator(".judged article")).to_have_count(1)
        await page.keyboard.press("b")
        await expect(page.locator(".progress span")).to_have_text("等待 1 則，你已審閱 2 則")
        await page.keyboard.press("q")
        await expect(page.locator("#desk")).to_contain_text("已經放回")
        assert await verdicts(parts) == [("pair", 0, None), ("thumb", -1, None)]
        assert await parts.store.reviews.next("somebody else", None, lease_s=60) is not None


async def test_everything_on_the_page_has_a_name_and_reads_as_it_is(browser, tmp_path):
    evil = "<img src=x onerror=alert(1)>{{7*7}}"
    async with (
        told(tmp_path, [(GROUP, evil)], reply=evil) as (_, _, url),
        looking(browser, url) as page,
    ):
        await expect(page.locator(".judged p")).to_have_text(evil)
        await expect(page.locator(".message .words")).to_have_text(evil)
        for role in ("button", "link", "textbox"):
            for one in await page.get_by_role(role).all():
                assert (await one.inner_text() or await one.get_attribute("aria-label") or "").strip()
        assert await page.get_by_role("heading", level=1).count() == 1
