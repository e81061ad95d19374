"""The talk at the keyboard: whole answers, thumbs, the consent question, and the end."""

from __future__ import annotations

import asyncio

import pytest

from bot.errors import BotError
from bot.platform import Button, Command, Incoming, PortError, Press, Shown, VoteOutcome
from bot.platforms import terminal
from bot.platforms.terminal import Terminal, talk
from bot.sentences import sentence
from personas.loader import load_cast
from tests.fakes.core import RecordingCore
from tests.fakes.troupe import ROOT
from tests.waiting import until

THUMBS = (Button("👍", "vote:r1:u"), Button("👎", "vote:r1:d"))


@pytest.fixture(name="cast", scope="module")
def _cast():
    return load_cast([ROOT / "personas"])


@pytest.fixture(name="core")
def _core(monkeypatch):
    monkeypatch.setattr(terminal, "ASK_AGAIN_S", 0.01)
    return RecordingCore()


class Desk:
    """A keyboard and a screen on a terminal session; a line goes in when the last answer is whole."""

    def __init__(self, core, cast, persona="li_bai"):
        self.core = core
        self.port = Terminal(core, cast)
        self.persona = persona
        self.lines = asyncio.Queue()
        self.events = asyncio.Queue()
        self.requests = asyncio.Queue()
        self.screen = ""
        self.reads = 0

    async def __aenter__(self):
        self.tasks = asyncio.TaskGroup()
        await self.tasks.__aenter__()
        self.tasks.create_task(self.port.session(self.persona, "en", self._requests(), self.events.put))
        self.talking = self.tasks.create_task(
            talk(self._read, self._write, self.requests.put, self.events, lang="en")
        )
        await until(lambda: self.reads)
        return self

    async def __aexit__(self, *error):
        self.lines.put_nowait(None)
        await self.talking
        self.requests.put_nowait(None)
        await self.tasks.__aexit__(*error)

    async def type(self, line):
        """Types a line and waits until the next is asked for."""
        reads = self.reads
        self.lines.put_nowait(line)
        await until(lambda: self.reads > reads)

    async def _requests(self):
        while (request := await self.requests.get()) is not None:
            yield request

    async def _read(self):
        self.reads += 1
        return await self.lines.get()

    def _write(self, text):
        self.screen += text


async def said(desk, number=1):
    await until(lambda: sum(isinstance(event, Incoming) for event in desk.core.events) == number)
    return [event for event in desk.core.events if isinstance(event, Incoming)][-1]


async def test_a_reply_grows_on_the_screen_and_is_whole_before_the_next_line(core, cast):
    async with Desk(core, cast) as desk:
        desk.lines.put_nowait("hello")
        incoming = await said(desk)
        core.shown[incoming.place, "li_bai"] = (Shown("user", "hello", message_id=incoming.message_id),)
        number = await desk.port.send(incoming.place, "The", nonce="n")
        await desk.port.edit(incoming.place, number, "The moon")
        await desk.port.edit(incoming.place, number, "The moon is here.", buttons=THUMBS)
        await until(lambda: desk.screen.endswith("The moon is here.\n"))
        assert incoming.persona_hint == "li_bai"
        await until(lambda: desk.reads == 2)


async def test_after_a_sentence_of_the_bot_the_answer_is_still_waited_for(core, cast):
    async with Desk(core, cast) as desk:
        desk.lines.put_nowait("hello")
        incoming = await said(desk)
        core.shown[incoming.place, "li_bai"] = (Shown("user", "hello", message_id=incoming.message_id),)
        await desk.port.send(incoming.place, "Li Bai is resting.", nonce="a")
        await until(lambda: "resting" in desk.screen)
        await desk.port.send(incoming.place, "Here I am.", nonce="b", buttons=THUMBS)
        await until(lambda: desk.screen.endswith("resting.\nHere I am.\n"))


async def test_an_answer_without_thumbs_ends_when_the_core_has_settled_the_message(core, cast):
    async with Desk(core, cast) as desk:
        await desk.type("")
        assert desk.reads == 2


async def test_u_and_d_rate_the_last_reply_and_numbers_choose_what_was_asked(core, cast):
    async with Desk(core, cast) as desk:
        await desk.type("u")
        assert sentence("nothing_to_choose", "en") in desk.screen
        desk.lines.put_nowait("hello")
        incoming = await said(desk)
        await desk.port.send(incoming.place, "Yes.", nonce="n", buttons=THUMBS)
        await until(lambda: desk.reads == 3)
        core.outcome = VoteOutcome("May it?", (Button("Yes", "consent:yes"), Button("No", "consent:no")))
        await desk.type("u")
        assert "May it?\n  1 Yes\n  2 No\n" in desk.screen
        await desk.type("9")
        core.outcome = VoteOutcome("Thanks.")
        await desk.type("d")
        presses = [event.data for event in core.events if isinstance(event, Press)]
        assert presses == ["vote:r1:u", "vote:r1:d"]
        core.outcome = VoteOutcome("What?", (Button("Wrong", "why:r1:wrong_fact"),))
        await desk.type("d")
        await desk.type("1")
        assert [event.data for event in core.events if isinstance(event, Press)][-1] == "why:r1:wrong_fact"


async def test_a_number_is_a_message_where_nothing_is_to_be_chosen(core, cast):
    async with Desk(core, cast) as desk:
        await desk.type("42")
        assert (await said(desk)).text == "42"


async def test_a_command_answers_in_line_and_another_persona_answers_from_then_on(core, cast):
    async with Desk(core, cast) as desk:
        core.outcome = VoteOutcome("Done.")
        await desk.type("/persona Harry Potter")
        await desk.type("/reset")
        await desk.type("/persona nobody")
        await desk.type("hello")
        commands = [event for event in core.events if isinstance(event, Command)]
        assert [(one.name, one.argument) for one in commands] == [
            ("persona", "Harry Potter"), ("reset", ""), ("persona", "nobody"),
        ]  # fmt: skip
        assert commands[1].persona_hint == (await said(desk)).persona_hint == "harry_potter"
        assert desk.screen.count("Done.\n") == 3


async def test_a_closed_terminal_refuses_what_comes_late(core, cast):
    async with Desk(core, cast) as desk:
        await desk.type("hello")
        place = (await said(desk)).place
    with pytest.raises(PortError):
        await desk.port.send(place, "too late", nonce="n")


async def test_a_bot_that_ends_meanwhile_is_one_sentence():
    events = asyncio.Queue()

    async def ask(_request):
        events.put_nowait({"ended": True})

    async def read():
        return "hello"

    with pytest.raises(BotError, match="troupe run"):
        await talk(read, lambda _text: None, ask, events, lang="en")
