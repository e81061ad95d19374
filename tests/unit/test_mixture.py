"""What a training row's prompt shows: exchanges of its topic, answers dealt anew, things told anew."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from personas.loader import load_persona
from personas.prompt import Turn
from training.corpus import Row, read_rows
from training.invention import letters_of, told
from training.likes import Likes
from training.mixture import persona_chats
from training.recipes import Mixture

ROOT = Path(__file__).resolve().parents[2]


def row(topic, question, reply, lang="en", **more):
    return Row((Turn(question, reply),), lang, topic, **more)


WAND = [row("wand", f"wand question {n}", f"Holly {n % 2}.") for n in range(6)]
OWL = [row("owl", f"owl question {n}", f"Hedwig {n % 3}.") for n in range(6)]
MAP = [row("map", f"map question {n}", f"Parchment {n % 3}.") for n in range(6)]
ROWS = [*WAND, *OWL, *MAP]


def test_a_row_is_shown_its_topics_exchanges_but_not_its_own_wording():
    likes, found = Likes(ROWS), [Turn("owl question 1", "Hedwig 1."), Turn("map question 1", "Parchment 1.")]
    same = 0
    for seed in range(60):
        shown = likes.beside(
            row("wand", "wand question 0", "Holly 0.", similar=tuple(found)), random.Random(seed)
        )
        own = [turn for turn in shown.similar if turn.user.startswith("wand")]
        assert 1 <= len(own) <= 2
        assert len(shown.similar) <= 3
        assert "wand question 0" not in {turn.user for turn in own}
        assert shown.similar[-1] in own
        same += any(turn.assistant == "Holly 0." for turn in own)
    assert 30 < same < 60


def test_answers_dealt_anew_are_of_another_topic_and_mostly_stand_in_the_prompt():
    likes, copied = Likes(ROWS), 0
    for seed in range(60):
        generator = random.Random(seed)
        shown = likes.beside(row("wand", "wand question 0", "Holly 0.", facts=("It is holly.",)), generator)
        dealt = likes.reassigned(shown, generator)
        assert dealt.turns[0].user == "wand question 0"
        assert [turn.user for turn in dealt.similar] == [turn.user for turn in shown.similar]
        assert dealt.facts == ()
        copied += dealt.turns[0].assistant in {turn.assistant for turn in dealt.similar}
        answers = {turn.assistant.split()[0] for turn in (*dealt.similar, *dealt.turns)}
        assert len(answers) == 1, "exchanges of one topic get answers of one topic"
    assert copied > 30


@pytest.mark.parametrize("lang", ["zh-CN", "zh-TW"])
def test_both_chinese_scripts_are_one_topic_shown_in_the_asked(lang):
    rows = [row("owl", f"猫头鹰叫什么{n}", "海德薇，雪白的。", "zh-CN") for n in range(5)]
    shown = Likes(rows).beside(row("owl", "那隻鳥呢", "海德薇。", lang), random.Random(1))
    assert shown.similar[-1].assistant == "海德薇，雪白的。"
    assert ("貓" in shown.similar[-1].user) == (lang == "zh-TW")


def test_what_the_person_told_is_another_thing_in_all_of_the_chat():
    chat = Row(
        (
            Turn("my cat is called Mofiton", "Mofiton! A fine name."),
            Turn("what's the cat called", "Mofiton, you said."),
        ),
        "en",
        "t",
    )
    found = told(chat, letters_of([chat])["en"], random.Random(3))
    (name,) = {turn.assistant.split("!")[0].split(",")[0] for turn in found.turns}
    assert name != "Mofiton"
    assert found.turns[0].user == f"my cat is called {name}"
    assert found.turns[1].user == "what's the cat called"


def test_a_pass_shows_every_chat_once_and_the_same_again_for_one_seed():
    persona = load_persona(ROOT / "personas" / "li_bai")
    rows = read_rows(persona.folder / "dialogues.jsonl")[:120]
    mixture = Mixture(joined=0, sums=1, told=0, traditional=0, reassigned=0.5)
    first, again = (list(persona_chats(persona, rows, mixture, seed=4)) for _ in range(2))
    assert first == again
    assert sorted(chat[-1].question for _, chat in first) == sorted(one.question for one in rows)
    assert {card for card, _ in first} == {"", persona.prompt_text}
    for card, (dealt,) in first:
        assert card or dealt.similar, "only answers dealt anew come without the card"
