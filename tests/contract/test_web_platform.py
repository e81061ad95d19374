"""The page over loopback, without a browser: what the core is told, and what the tabs are shown."""

from __future__ import annotations

import contextlib
import re
import time

import pytest

from bot.errors import PortTaken, SettingsWrong
from bot.platform import Button, Command, Incoming, Press, Shown, VoteOutcome
from bot.sentences import sentence
from bot.web.server import Web
from tests.fakes.core import RecordingCore
from tests.fakes.page import CAST, Tab, serving
from tests.waiting import until

THUMBS = (Button("up", "vote:r1:u"), Button("down", "vote:r1:d"))
CONSENT = tuple(Button(name, f"consent:{name}") for name in ("yes", "no", "vote"))


@contextlib.asynccontextmanager
async def opened(core=None, *, language="en", slug="li_bai", **how):
    core = core or RecordingCore()
    async with serving(core, **how) as web, Tab(web, language=language) as tab:
        await tab.open(slug)
        yield web, core, tab


async def asked(core, tab, text="Why wine?"):
    """Sends a message and returns where the core may answer it."""
    answer = await tab.say(text)
    assert answer.status_code == 200, answer.text
    return core.events[-1].place


async def test_a_message_arrives_whole():
    async with opened(language="zh-TW,zh;q=0.9") as (_, core, tab):
        key = tab.key
        await tab.say("你好\n😀", key=key)
        (event,) = core.events
        assert isinstance(event, Incoming)
        assert (event.text, event.message_id, event.is_direct) == ("你好\n😀", key, True)
        assert (event.persona_hint, event.lang_hint) == ("li_bai", "zh-TW")
        assert (event.place.platform, event.place.thread) == ("web", "li_bai")
        assert event.user == event.place.chat
        assert abs(event.sent_at - time.time()) < 60


async def test_a_reply_grows_in_one_bubble_and_ends_with_thumbs():
    async with opened() as (web, core, tab), tab.following():
        place = await asked(core, tab)
        await tab.sees("Why wine?")
        message = await web.send(place, "Because", nonce="1")
        first = await tab.sees("Because")
        assert f'id="b-{message}"' in first
        assert 'class="thumb"' not in first
        await web.edit(place, message, "Because the moon", buttons=THUMBS)
        last = await tab.sees("Because the moon")
        assert f'id="t-{message}"' in last
        assert f'id="b-{message}"' not in last
        assert "vote:r1:u" in last
        assert "vote:r1:d" in last


async def test_a_slow_tab_gets_the_newest_words_only():
    async with opened() as (web, core, tab):
        place = await asked(core, tab)
        message = await web.send(place, "0", nonce="1")
        for count in range(1, 500):
            await web.edit(place, message, f"words {count};")
        async with tab.following():
            await tab.sees("words 499;")
            assert len(tab.news) == 1
            assert "words 498;" not in tab.news[0]


async def test_typing_shows_until_there_are_words():
    async with opened() as (web, core, tab), tab.following():
        place = await asked(core, tab)
        await tab.sees('class="words dots"')
        tab.news.clear()
        await web.send(place, "So.", nonce="1")
        assert 'class="words dots"' not in await tab.sees('id="typing"')
        tab.news.clear()
        await web.typing(place)
        await tab.sees('class="words dots"')


async def test_the_same_form_sent_twice_is_one_message_on_the_page():
    async with opened() as (_, core, tab):
        key = tab.key
        await tab.say("once", key=key)
        await tab.say("once", key=key)
        assert {event.message_id for event in core.events} == {key}
        assert (await tab.open()).count(">once<") == 1


async def test_each_answer_brings_the_next_messages_key():
    async with opened() as (_, _, tab):
        before = tab.key
        answer = await tab.say("one")
        assert answer.headers["hx-trigger"] == "accepted"
        new = re.search(r'name="key" value="([\w-]+)"', answer.text)
        assert new
        assert new[1] != before


async def test_a_reload_shows_the_conversation_again():
    async with opened() as (web, core, tab):
        place = await asked(core, tab)
        message = await web.send(place, "The moon.", nonce="1")
        await web.edit(place, message, "The moon.", buttons=THUMBS)
        await tab.post("/chat/li_bai/press", data="vote:r1:u")
        again = await tab.open()
        assert ">Why wine?<" in again
        assert ">The moon.<" in again
        assert re.search(r'id="u-\w+"[^>]*aria-pressed="true"', again)


async def test_after_a_restart_the_page_shows_what_the_store_kept():
    core = RecordingCore()
    async with opened(core) as (_, _, tab):
        place = await asked(core, tab)
        core.shown[place, "li_bai"] = (
            Shown("user", "Why wine?", message_id="k1"),
            Shown("assistant", "The moon.", reply_id="r1", vote="d"),
            Shown("user", "And tea?", message_id="k2"),
        )
        cookies = tab.client.cookies
    core.ports.clear()
    async with serving(core) as web, Tab(web) as tab:
        tab.client.cookies = cookies
        # The reply that was cut off goes on under its old name before anybody looks.
        await web.edit(place, "m-of-before", "Tea too")
        page = await tab.open()
        shown = re.findall(r'class="words" id="[^"]+" lang="[^"]+">([^<]+)<', page)
        assert shown == ["Why wine?", "The moon.", "And tea?", "Tea too"]
        assert re.search(r'id="d-\w+"[^>]*aria-pressed="true"', page)


async def test_a_tab_that_was_away_gets_what_it_missed_and_nothing_twice():
    async with opened() as (web, core, tab):
        place = await asked(core, tab)
        async with tab.following():
            message = await web.send(place, "one", nonce="1")
            await tab.sees(">one<")
        mark = tab.ids[-1]
        await web.edit(place, message, "one two")
        other = await web.send(place, "three", nonce="2")
        tab.news.clear()
        async with tab.following(since=mark):
            news = await tab.sees("three")
            assert f'id="t-{message}"' in news
            assert f'id="b-{message}"' not in news
            assert f'id="b-{other}"' in news


@pytest.mark.parametrize("mark", ["", "x", "feed-3", "feed-99999999999999999999", "-", "ü-²"])
async def test_a_tab_from_another_life_gets_the_whole_room(mark):
    async with opened() as (web, core, tab):
        await web.send(await asked(core, tab), "The moon.", nonce="1")
        tab.html = re.sub(r"seen=[\w-]+", f"seen={mark}", tab.html)
        async with tab.following():
            news = await tab.sees("The moon.")
            assert 'hx-swap-oob="innerHTML:#log"' in news


async def test_two_tabs_of_one_visitor_show_the_same():
    async with opened() as (web, core, tab), Tab(web) as other:
        other.client.cookies = tab.client.cookies
        await other.open()
        async with tab.following(), other.following():
            place = await asked(core, tab)
            await other.sees("Why wine?")
            message = await web.send(place, "The moon.", nonce="1", buttons=THUMBS)
            await other.sees("The moon.")
            await tab.post("/chat/li_bai/press", data="vote:r1:u")
            await until(lambda: any(f'id="v-{message}"' in one and "oob" in one for one in other.news))


async def test_a_thumb_goes_to_the_core_and_is_confirmed_in_line():
    async with opened() as (web, core, tab):
        place = await asked(core, tab)
        await web.send(place, "The moon.", nonce="1", buttons=THUMBS)
        core.outcome = VoteOutcome("Thank you.")
        answer = await tab.post("/chat/li_bai/press", data="vote:r1:u")
        press = core.events[-1]
        assert isinstance(press, Press)
        assert (press.data, press.place, press.user) == ("vote:r1:u", place, place.chat)
        assert "Thank you." in answer.text
        assert re.search(r'id="u-\w+"[^>]*aria-pressed="true"', answer.text)


async def test_a_thumb_down_asks_why_and_takes_a_reason_or_own_words():
    async with opened() as (web, core, tab):
        await web.send(await asked(core, tab), "The moon.", nonce="1", buttons=THUMBS)
        core.outcome = VoteOutcome("What was wrong?")
        answer = await tab.post("/chat/li_bai/press", data="vote:r1:d")
        for reason in ("wrong_fact", "out_of_voice", "boring", "unsafe", "other"):
            assert f"why:r1:{reason}" in answer.text
        assert "data-close" in answer.text
        await tab.post("/chat/li_bai/press", data="why:r1:wrong_fact")
        assert core.events[-1].data == "why:r1:wrong_fact"
        await tab.post("/chat/li_bai/press", data="why:r1:other", text=" too short ")
        assert (core.events[-1].data, core.events[-1].text) == ("why:r1:other", "too short")


async def test_the_consent_question_is_a_card_under_the_reply_beside_the_reasons():
    async with opened() as (web, core, tab):
        await web.send(await asked(core, tab), "The moon.", nonce="1", buttons=THUMBS)
        core.outcome = VoteOutcome("May this chat train him?", CONSENT)
        answer = await tab.post("/chat/li_bai/press", data="vote:r1:d")
        assert "May this chat train him?" in answer.text
        assert all(f"consent:{name}" in answer.text for name in ("yes", "no", "vote"))
        assert "why:r1:boring" in answer.text
        core.outcome = VoteOutcome("All right.")
        assert "All right." in (await tab.post("/chat/li_bai/press", data="consent:vote")).text
        assert core.events[-1].data == "consent:vote"


async def test_a_new_conversation_empties_every_tab_and_late_words_stay_out():
    async with opened() as (web, core, tab), tab.following():
        place = await asked(core, tab)
        message = await web.send(place, "Old words", nonce="1")
        await tab.sees("Old words")
        core.outcome = VoteOutcome("A new conversation begins.")
        tab.news.clear()
        answer = await tab.post("/chat/li_bai/reset")
        command = core.events[-1]
        assert isinstance(command, Command)
        assert (command.name, command.persona_hint, command.place) == ("reset", "li_bai", place)
        assert "A new conversation begins." in answer.text
        await tab.sees('<div hx-swap-oob="innerHTML:#log"></div>')
        await web.edit(place, message, "Old words and more")
        assert "Old words" not in await tab.open()


async def test_what_is_kept_is_told_and_forgetting_is_asked_for_and_empties_every_room():
    async with opened() as (web, core, tab), tab.following():
        await web.send(await asked(core, tab), "Old words", nonce="1")
        await tab.sees("Old words")
        await web.send(await asked_of(core, tab, "harry_potter"), "Old spells", nonce="2")
        core.outcome = VoteOutcome("What I keep", CONSENT)
        told = (await tab.post("/chat/li_bai/privacy")).text
        assert "What I keep" in told
        assert all(f"consent:{name}" in told for name in ("yes", "no", "vote"))
        core.outcome = VoteOutcome("Shall I?", (Button("Forget", f"forget:everything:{'0f' * 8}"),))
        question = (await tab.post("/chat/li_bai/forget")).text
        assert "forget:everything:0f0f0f0f0f0f0f0f" in question
        assert [one.name for one in core.events[-2:]] == ["privacy", "forget"]
        assert {one.place.thread for one in core.events[-2:]} == {"li_bai"}
        core.outcome = VoteOutcome("Forgotten.", is_forgotten=True)
        tab.news.clear()
        answer = await tab.post("/chat/li_bai/press", data=f"forget:everything:{'0f' * 8}")
        assert "Forgotten." in answer.text
        await tab.sees('<div hx-swap-oob="innerHTML:#log"></div>')
        assert "Old words" not in await tab.open()
        assert "Old spells" not in await tab.open("harry_potter")


async def asked_of(core, tab, slug):
    await tab.open(slug)
    await tab.say("Hi", slug=slug)
    return core.events[-1].place


async def test_conversations_with_two_personas_are_two():
    async with opened() as (web, core, tab):
        place = await asked(core, tab)
        await web.send(place, "The moon.", nonce="1")
        assert "The moon." not in await tab.open("harry_potter")
        await tab.say("Hi Harry", slug="harry_potter")
        assert core.events[-1].place.chat == place.chat
        assert core.events[-1].place != place


@pytest.mark.parametrize(
    ("language", "lang"),
    [
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh-CN"),
        ("zh-Hant-HK", "zh-TW"),
        ("fr-FR,fr;q=0.9,zh-TW;q=0.7,en;q=0.5", "zh-TW"),
        ("de", "en"),
        ("en;q=0.2, zh-CN;q=0.9", "zh-CN"),
        (";;;q=x,", "en"),
    ],
)
async def test_the_page_speaks_the_browsers_language(language, lang):
    async with opened(language=language) as (_, _, tab):
        assert f'<html lang="{lang}">' in tab.html
        assert CAST["li_bai"].greeting[lang] in tab.html
        for opener in CAST["li_bai"].openers[lang]:
            assert opener.split("'")[0] in tab.html


async def test_a_chosen_language_wins_and_stays():
    async with opened(language="en") as (_, _, tab):
        answer = await tab.post("/language", lang="zh-TW")
        assert answer.headers["hx-refresh"] == "true"
        assert '<html lang="zh-TW">' in await tab.open()
        await tab.post("/language", lang="tlh")
        assert '<html lang="zh-TW">' in await tab.open()


async def test_the_first_page_shows_everybody():
    async with opened(adapter_of=lambda slug: None if slug == "harry_potter" else "x@1") as (_, _, tab):
        page = (await tab.client.get("/")).text
        for persona in CAST.personas.values():
            assert persona.names["en"] in page
            assert f"/chat/{persona.slug}" in page
            picture = await tab.client.get(f"/avatar/{persona.slug}.png")
            assert picture.headers["content-type"] == "image/png"
        assert page.count('class="badge"') == 1


async def test_a_persona_without_an_adapter_says_how_to_train_one():
    async with opened(slug="harry_potter", adapter_of=lambda slug: None) as (_, _, tab):
        assert "troupe train harry_potter --from corpus" in tab.html


@pytest.mark.parametrize("text", ["", "   \n\t "])
async def test_an_empty_message_gets_one_sentence(text):
    async with opened(language="zh-CN") as (_, core, tab):
        answer = await tab.say(text)
        assert sentence("empty", "zh-CN") in answer.text
        assert core.events == []


async def test_a_message_of_100_kilobytes_gets_one_sentence():
    async with opened() as (_, core, tab):
        for text in ("a" * 100_000, "长" * 34_000):
            answer = await tab.say(text)
            assert answer.status_code == 200
            assert sentence("too_long", "en", most=8000) in answer.text
        assert core.events == []


class BrokenCore(RecordingCore):
    async def receive(self, events, *, cursor=None):
        raise OSError("disk full")


async def test_a_message_that_could_not_be_stored_is_taken_back():
    async with opened(BrokenCore()) as (_, _, tab):
        answer = await tab.say("keep me")
        assert answer.status_code == 500
        assert answer.headers["hx-retarget"] == "#notice"
        assert "Something went wrong here" in answer.text
        assert "keep me" not in await tab.open()


async def test_a_taken_port_is_one_sentence_that_names_the_setting():
    async with serving(RecordingCore()) as web:
        port = int(web.url.rpartition(":")[2])
        other = Web(RecordingCore(), CAST, host="127.0.0.1", port=port, adapter_of=lambda slug: None)
        with pytest.raises(PortTaken, match=rf"Port {port} .* web_port"):
            await other.run()


async def test_an_address_that_is_not_ours_is_one_sentence_that_names_the_setting():
    for host in ("192.0.2.1", "no such host"):
        web = Web(RecordingCore(), CAST, host=host, port=0, adapter_of=lambda slug: None)
        with pytest.raises(SettingsWrong, match="web_host"):
            web.bind()


async def test_the_page_stops_at_once_with_open_streams_and_starts_again_on_its_port():
    core = RecordingCore()
    async with contextlib.AsyncExitStack() as server:
        web = await server.enter_async_context(serving(core))
        async with Tab(web) as tab:
            await tab.open()
            async with tab.following():
                await tab.say("hello")
                await tab.sees("hello")
                began = time.monotonic()
                await server.aclose()
                assert time.monotonic() - began < 2
    core.ports.clear()
    port = int(web.url.rpartition(":")[2])
    async with serving(core, port=port) as again:
        assert again.url == web.url


async def test_health_and_figures_are_told():
    async with opened() as (_, _, tab), tab.following():
        health = await tab.client.get("/health")
        assert health.json() == {"status": "ok"}
        await tab.say("secret words")
        text = (await tab.client.get("/metrics")).text
        assert 'troupe_web_requests_total{method="POST",status="2xx"} 1.0' in text
        assert "troupe_web_streams 1.0" in text
        assert "secret words" not in text
