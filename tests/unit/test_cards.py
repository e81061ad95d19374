"""Cards of replies to be judged, as text: whole where they can be, within every platform's limits always."""

from __future__ import annotations

import pytest

from bot.cards import choice, single, written
from bot.sentences import sentence
from bot.votes import consent_question
from data.records import Reply, Utterance
from data.reviews import MOST_COUNTED, ReviewCounts, ReviewItem
from data.script import LANGS
from data.text import units
from personas.loader import load_cast
from tests.fakes.troupe import ROOT

TELEGRAMS_MOST = 4096
COUNTS = ReviewCounts(waiting=7, judged=2)
NOTICES = ("stored", "taken", "same", "resting")
NOTHING = dict.fromkeys(Reply.__slots__)


@pytest.fixture(name="cast", scope="module")
def _cast():
    return load_cast([ROOT / "personas"])


def reply(text, number=1, persona="li_bai"):
    return Reply(**{**NOTHING, "id": f"{number:018}", "persona": persona, "text": text})


def item(text, *, said="hello", name="Ann", persona="li_bai"):
    spoken = Utterance("r0", "user", "hash", name, said)
    return ReviewItem(reply(text, persona=persona), (spoken,) * 5)


@pytest.mark.parametrize("lang", LANGS)
def test_the_longest_card_fits_into_one_message_with_all_that_may_stand_around_it(cast, lang):
    long = item("😀" * 3000, said="长" * 3000, name="n" * 128)
    counts = ReviewCounts(MOST_COUNTED, 10**6)
    notice = max((sentence(f"review_{name}", lang) for name in NOTICES), key=len)
    cards = [
        single(long, counts, cast, lang, notice=notice),
        choice(long, reply("🎈" * 3000, 2), counts, cast, lang, is_own_first=True),
    ]
    for card in cards:
        text = f"{written(card, lang)}\n\n{consent_question(lang).text}"
        assert units(text, "utf16") <= TELEGRAMS_MOST
        assert "{" not in text
        assert all(len(one.data.encode()) <= 64 and "{" not in one.label for one in card.buttons)


def test_what_is_to_be_judged_is_not_cut_as_long_as_it_fits(cast):
    text = "word " * 400
    assert text in written(single(item(text), COUNTS, cast, "en"), "en")


@pytest.mark.parametrize("is_own_first", [True, False])
def test_a_letter_stands_for_the_reply_under_it(cast, is_own_first):
    card = choice(item("own"), reply("other", 2), COUNTS, cast, "en", is_own_first=is_own_first)
    sides = [one.data.split(":")[2] for one in card.buttons]
    assert list(card.replies) == sides[:2]
    assert sides[2] == "neither"
    assert [one.label for one in card.buttons] == ["A is better", "B is better", "Neither"]
    assert f"▶ A: {card.replies[0]}\n\n▶ B: {card.replies[1]}" in written(card, "en")


def test_who_left_the_cast_is_called_by_the_slug(cast):
    assert single(item("hi", persona="merlin"), COUNTS, cast, "en").speaker == "merlin"


def test_more_than_can_be_counted_is_said_to_be_more(cast):
    assert "1000+" in written(single(item("hi"), ReviewCounts(MOST_COUNTED, 0), cast, "en"), "en")
