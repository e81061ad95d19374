"""The page's parts alone: rooms, words, colours."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from string import Formatter

import bot.web
from bot.platform import Place, Shown
from bot.web import room as room_module
from bot.web.room import Mark, Room, Rooms
from bot.web.words import WORDS
from data.script import LANGS

HERE = Path(bot.web.__file__).parent
PLACE = Place("web", "s", thread="li_bai")


def test_a_room_tells_only_what_is_new():
    room = Room()
    room.ask("k1", "hello")
    mark = room.mark
    assert not list(room.news(mark))
    room.say("m1", "hi", None)
    room.say("m1", "hi there", "r1")
    (news,) = room.news(mark)
    assert (news.text, news.reply_id) == ("hi there", "r1")
    assert news.made > mark.version
    mark = room.mark
    room.rate("r1", "u")
    (news,) = room.news(mark)
    assert news.text_changed <= mark.version < news.thumb_changed


def test_a_long_conversation_keeps_its_newest_part(monkeypatch):
    monkeypatch.setattr(room_module, "MOST_BUBBLES", 3)
    room = Room()
    for count in range(5):
        room.ask(f"k{count}", str(count))
    assert [bubble.text for bubble in room.bubbles] == ["2", "3", "4"]


def test_rooms_nobody_follows_are_forgotten_first(monkeypatch):
    monkeypatch.setattr(room_module, "MOST_ROOMS", 2)
    rooms = Rooms()
    followed = rooms[Place("web", "0")]
    followed.followers = 1
    for count in range(1, 5):
        rooms[Place("web", str(count))].ask("k", "hello")
    assert rooms[Place("web", "0")] is followed
    assert not rooms[Place("web", "1")].bubbles


def test_the_stored_conversation_comes_before_what_arrived_meanwhile_and_nothing_twice():
    room = Room()
    room.say("m1", "done", "r1")
    room.ask("k2", "next")
    room.seed(
        (Shown("user", "first", message_id="k1"), Shown("assistant", "done", reply_id="r1")),
    )
    room.seed((Shown("user", "never"),))
    assert [bubble.text for bubble in room.bubbles] == ["first", "done", "next"]


def test_marks_survive_their_text_and_rubbish_is_no_mark():
    mark = Room().mark
    assert Mark.read(str(mark)) == mark
    assert Mark.read("1234-１") == Mark("", 0)


async def test_a_room_wakes_who_waits_and_ends_them_when_closed():
    rooms = Rooms()
    room = rooms[PLACE]
    waiting = asyncio.create_task(room.wait(room.mark))
    await asyncio.sleep(0)
    assert not waiting.done()
    room.type()
    await waiting
    waiting = asyncio.create_task(room.wait(room.mark))
    await asyncio.sleep(0)
    rooms.close()
    await waiting
    assert rooms[Place("web", "later")].is_closed


def test_every_word_is_there_in_three_languages_with_the_same_blanks():
    for name, texts in WORDS.items():
        blanks = {
            lang: {part[1] for part in Formatter().parse(text) if part[1]} for lang, text in texts.items()
        }
        assert set(texts) == set(LANGS), name
        assert len({frozenset(found) for found in blanks.values()}) == 1, name


def test_every_word_is_used_and_every_used_word_is_there():
    sources = [*(HERE / "templates").glob("*.html"), *HERE.glob("*.py")]
    text = "\n".join(path.read_text(encoding="utf-8") for path in sources if path.name != "words.py")
    asked = set(re.findall(r'(?:say|words)\("(\w+)"', text)) | set(re.findall(r'Refusal\(\d+, "(\w+)"', text))
    assert asked <= set(WORDS)
    assert {name for name in WORDS if f'"{name}"' not in text} == set()


def test_the_vendored_files_have_their_licences_noted():
    noted = (HERE / "static" / "LICENSES.md").read_text(encoding="utf-8")
    for path in (HERE / "static").glob("*.min.js"):
        assert path.name in noted


def test_the_colours_can_be_read():
    """WCAG 2.2 AA: 4.5 between words and what is behind them, in both schemes."""
    css = (HERE / "static" / "troupe.css").read_text(encoding="utf-8")
    schemes = [block for block in re.findall(r":root \{(.*?)\}", css, re.DOTALL) if "--paper" in block]
    assert len(schemes) == 2
    for block in schemes:
        colour = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", block))
        pairs = [
            (ink, behind) for ink in ("ink", "muted", "accent") for behind in ("paper", "surface", "light")
        ]
        pairs += [("on-accent", "accent"), ("on-accent", "accent-strong"), ("on-soft", "soft")]
        for ink, behind in pairs:
            light, dark = sorted((_luminance(colour[ink]), _luminance(colour[behind])), reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= 4.5, (ink, behind)


def _luminance(colour: str) -> float:
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
