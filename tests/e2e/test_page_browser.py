"""The page in a real browser: Debian's chromium, driven by Playwright, over a recording core."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re

import pytest
import pytest_asyncio

from bot.platform import Button, Command, Press, Shown, VoteOutcome
from tests.fakes.core import RecordingCore
from tests.fakes.page import CAST, serving
from tests.waiting import until

playwright = pytest.importorskip("playwright.async_api", reason="playwright is not installed")
expect = playwright.expect
# Waiting longer for what comes costs nothing where it comes; a loaded machine takes its time.
PATIENCE_MS = 30_000
expect.set_options(timeout=PATIENCE_MS)

CHROMIUM = "/usr/bin/chromium"
pytestmark = [
    pytest.mark.skipif(
        not os.access(CHROMIUM, os.X_OK), reason=f"there is no {CHROMIUM}; apt-get install chromium"
    ),
    pytest.mark.asyncio(loop_scope="module"),
]

SWITCHES = [
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-sync",
    "--no-first-run",
]
THUMBS = (Button("up", "vote:r1:u"), Button("down", "vote:r1:d"))
# Faster than any person: in the very task that put the thumbs there.
PRESS_AT_ONCE = """
new MutationObserver((_, observer) => {
  const thumb = document.querySelector(".thumb");
  if (!thumb) return;
  observer.disconnect();
  thumb.click();
}).observe(document.getElementById("log"), { childList: true, subtree: true });
"""
DESK, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}


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
async def looking(browser, web, path="/chat/li_bai", *, locale="en-US", size=DESK, scheme="light"):
    """A page whose console must stay clean and which may ask nobody but us."""
    context = await browser.new_context(locale=locale, viewport=size, color_scheme=scheme)
    context.set_default_timeout(PATIENCE_MS)
    page = await context.new_page()
    complaints: list[str] = []
    page.on("console", lambda one: complaints.append(one.text) if one.type in {"error", "warning"} else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda one: None if one.url.startswith(web.url) else complaints.append(one.url))
    try:
        await page.goto(f"{web.url}{path}")
        yield page
        assert complaints == []
    finally:
        await context.close()


async def answered(core, web, text="The moon.", *, count=1):
    """Waits for the person's message and answers it."""
    await until(lambda: len(core.events) >= count)
    place = core.events[-1].place
    message = await web.send(place, text[:3], nonce="1")
    await web.edit(place, message, text, buttons=THUMBS)
    return place


async def test_a_newcomer_picks_somebody_clicks_an_opener_and_reads_the_reply_grow(browser):
    core = RecordingCore()
    async with serving(core) as web, looking(browser, web, "/") as page:
        await expect(page.get_by_role("heading", level=1)).to_have_text("Who would you like to talk to?")
        await page.get_by_role("link", name="Li Bai").click()
        await expect(page.locator(".greeting")).to_contain_text(CAST["li_bai"].greeting["en"])
        openers = page.get_by_role("group", name="Ways to begin").get_by_role("button")
        await expect(openers).to_have_count(6)
        await openers.first.click()
        opener = CAST["li_bai"].openers["en"][0]
        await expect(page.locator("#log .message.user .words")).to_have_text(opener)
        await expect(page.locator(".dots")).to_be_visible()
        await expect(page.locator(".openers")).to_be_hidden()
        place = core.events[-1].place
        message = await web.send(place, "Because", nonce="1")
        reply = page.locator("#log .message.persona .words")
        await expect(reply).to_have_text("Because")
        await expect(page.locator(".dots")).to_have_count(0)
        await expect(page.locator(".thumb")).to_have_count(0)
        for text in ("Because the moon", "Because the moon drinks with me."):
            await web.edit(place, message, text)
            await expect(reply).to_have_text(text)
        await web.edit(place, message, "Because the moon drinks with me.", buttons=THUMBS)
        await expect(page.get_by_role("button", name="Good answer")).to_be_visible()
        await expect(page.locator("#announce")).to_have_text("Li Bai: Because the moon drinks with me.")
        await expect(reply).to_have_count(1)


async def test_enter_sends_and_shift_enter_and_an_input_method_do_not(browser):
    core = RecordingCore()
    async with serving(core) as web, looking(browser, web) as page:
        field = page.get_by_label("Write to Li Bai", exact=True)
        await expect(field).to_be_focused()
        await page.keyboard.type("one")
        await page.keyboard.press("Shift+Enter")
        await page.keyboard.type("two")
        # What Chromium sends while a candidate of an input method is being picked.
        await field.dispatch_event("keydown", {"key": "Enter", "isComposing": True, "bubbles": True})
        assert core.events == []
        await page.keyboard.press("Enter")
        await expect(page.locator(".message.user .words")).to_have_text("one\ntwo")
        await expect(field).to_have_value("")
        await expect(field).to_be_focused()
        assert [event.text.replace("\r", "") for event in core.events] == ["one\ntwo"]


async def test_a_message_that_is_refused_stays_in_the_field(browser):
    core = RecordingCore()
    async with serving(core) as web, looking(browser, web) as page:
        field = page.locator("#text")
        await page.get_by_role("button", name="Send").click()
        await expect(page.locator("#notice")).to_contain_text("empty message")
        await field.fill("long " * 20_000)
        await page.get_by_role("button", name="Send").click()
        await expect(page.locator("#notice")).to_contain_text("at most 8000 characters")
        assert len(await field.input_value()) == 100_000
        assert core.events == []
        await field.fill("short")
        await page.keyboard.press("Enter")
        await expect(page.locator("#notice")).to_be_empty()


async def test_thumbs_reasons_and_consent_by_keyboard(browser):
    core = RecordingCore()
    async with serving(core) as web, looking(browser, web) as page:
        await page.locator("#text").fill("Why wine?")
        await page.keyboard.press("Enter")
        await answered(core, web)
        core.outcome = VoteOutcome(
            "May this chat train him?",
            tuple(Button(name, f"consent:{name}") for name in ("yes", "no", "vote")),
        )
        up, down = (page.get_by_role("button", name=name) for name in ("Good answer", "Bad answer"))
        # In one call: between two the bubble may be drawn anew, and a key then falls on the page.
        await up.press("Enter")
        await expect(up).to_have_attribute("aria-pressed", "true")
        await expect(up).to_be_focused()
        card = page.get_by_role("region", name="One question")
        await expect(card).to_contain_text("May this chat train him?")
        core.outcome = VoteOutcome("Only your votes, then.")
        await card.get_by_role("button", name="vote").press("Enter")
        await expect(card).to_contain_text("Only your votes, then.")

        core.outcome = VoteOutcome("What was wrong?")
        await down.press("Enter")
        await expect(down).to_have_attribute("aria-pressed", "true")
        await expect(up).to_have_attribute("aria-pressed", "false")
        why = page.get_by_role("region", name="What was wrong?")
        await expect(why.get_by_role("button")).to_have_count(7)
        await page.get_by_role("button", name="Close").press("Enter")
        await expect(why).to_have_count(0)
        await down.press("Enter")
        core.outcome = VoteOutcome("Thank you, that helps.")
        await page.get_by_label("In your own words (optional)").fill("He hates tea.")
        await page.keyboard.press("Enter")
        await expect(why).to_contain_text("Thank you, that helps.")

        presses = [(one.data, one.text) for one in core.events if isinstance(one, Press)]
        assert presses == [
            ("vote:r1:u", ""),
            ("consent:vote", ""),
            ("vote:r1:d", ""),
            ("vote:r1:d", ""),
            ("why:r1:other", "He hates tea."),
        ]
        await page.reload()
        await expect(down).to_have_attribute("aria-pressed", "true")


async def test_a_thumb_that_is_pressed_the_moment_it_appears_is_a_vote(browser):
    """htmx binds what it swapped in only when the swap settles; a click in between went nowhere."""
    core = RecordingCore()
    async with serving(core) as web, looking(browser, web) as page:
        await page.locator("#text").fill("Why wine?")
        await page.keyboard.press("Enter")
        await page.evaluate(PRESS_AT_ONCE)
        await answered(core, web)
        up = page.get_by_role("button", name="Good answer")
        await expect(up).to_have_attribute("aria-pressed", "true")
        assert [one.data for one in core.events if isinstance(one, Press)] == ["vote:r1:u"]


async def test_what_is_sent_while_the_scripts_are_still_coming_is_not_lost(browser):
    """A form that htmx has not bound yet would load the page anew, the message in its address."""
    core = RecordingCore()

    async def late(route) -> None:
        await asyncio.sleep(0.5)
        await route.continue_()

    async with serving(core) as web, looking(browser, web, "/") as page:
        await page.route("**/htmx.min.js*", late)
        await page.goto(f"{web.url}/chat/li_bai", wait_until="commit")
        await page.locator("#text").fill("Why wine?")
        await page.get_by_role("button", name="Send").click()
        await expect(page.locator(".message.user .words")).to_have_text("Why wine?")
        assert [event.text for event in core.events] == ["Why wine?"]
        assert "?" not in page.url


async def test_a_new_conversation_is_asked_for_and_empties_the_page(browser):
    core = RecordingCore()
    async with serving(core) as web, looking(browser, web) as page:
        await page.locator("#text").fill("Why wine?")
        await page.keyboard.press("Enter")
        await answered(core, web)
        await expect(page.locator(".thumb")).to_have_count(2)
        page.once("dialog", lambda dialog: dialog.accept())
        core.outcome = VoteOutcome("A new conversation begins.")
        await page.get_by_role("button", name="New conversation").click()
        await expect(page.locator("#log")).to_be_empty()
        await expect(page.locator("#notice")).to_have_text("A new conversation begins.")
        await expect(page.locator(".openers")).to_be_visible()
        assert isinstance(core.events[-1], Command)


async def test_the_language_is_the_browsers_until_another_is_picked(browser):
    async with serving(RecordingCore()) as web, looking(browser, web, locale="zh-CN") as page:
        await expect(page.get_by_role("heading", level=1)).to_have_text("李白")
        await expect(page.locator("#text")).to_have_attribute("placeholder", re.compile("对李白"))
        await page.get_by_role("button", name="语言").click()
        await page.get_by_role("button", name="繁體中文").click()
        await expect(page.locator("html")).to_have_attribute("lang", "zh-TW")
        await expect(page.locator(".greeting")).to_contain_text(CAST["li_bai"].greeting["zh-TW"])


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_a_phone_shows_everything_without_scrolling_sideways(browser, scheme):
    core = RecordingCore()
    async with (
        serving(core, adapter_of=lambda slug: None) as web,
        looking(browser, web, "/", size=PHONE, scheme=scheme) as page,
    ):
        assert await _is_narrow(page)
        await page.get_by_role("link", name="Harry Potter").click()
        await expect(page.get_by_role("link", name="Back to the troupe")).to_be_visible()
        await page.locator("#text").fill("w" * 3000)
        await page.get_by_role("button", name="Send").click()
        await answered(core, web, "无" * 700 + "x" * 700)
        await expect(page.locator(".thumb")).to_have_count(2)
        await page.get_by_role("button", name="Bad answer").click()
        await expect(page.locator(".reason")).to_be_in_viewport()
        assert await _is_narrow(page)
        await page.get_by_role("button", name="Prompt only").click()
        await expect(page.locator("#badge code")).to_have_text("troupe train harry_potter --from corpus")


async def _is_narrow(page) -> bool:
    return await page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("path", ["/", "/chat/li_bai", "/nowhere"])
async def test_everything_that_can_be_pressed_has_a_name(browser, path):
    async with serving(RecordingCore()) as web:
        context = await browser.new_context()
        page = await context.new_page()
        await page.goto(f"{web.url}{path}")
        for role in ("button", "link", "textbox"):
            nameless = page.get_by_role(role, name=re.compile(r"^\s*$"))
            assert await nameless.count() == 0
        assert await page.get_by_role("heading", level=1).count() == 1
        assert await page.locator("img:not([alt])").count() == 0
        await context.close()


async def test_a_lost_connection_shows_and_the_page_catches_up_when_it_is_back(browser):
    core = RecordingCore()
    async with contextlib.AsyncExitStack() as server:
        web = await server.enter_async_context(serving(core))
        context = await browser.new_context(locale="en-US")
        page = await context.new_page()
        await page.goto(f"{web.url}/chat/li_bai")
        await page.locator("#text").fill("Why wine?")
        await page.keyboard.press("Enter")
        await until(lambda: core.events)
        await server.aclose()
        await expect(page.get_by_text("The connection is lost.")).to_be_visible()
        core.shown[core.events[0].place, "li_bai"] = (
            Shown("user", "Why wine?", message_id=core.events[0].message_id),
            Shown("assistant", "The moon.", reply_id="r1"),
        )
        core.ports.clear()
        async with serving(core, port=int(web.url.rpartition(":")[2])):
            await expect(page.locator(".message.persona .words").last).to_have_text("The moon.")
            await expect(page.locator(".message.user")).to_have_count(1)
            await expect(page.get_by_text("The connection is lost.")).to_be_hidden()
        await context.close()
