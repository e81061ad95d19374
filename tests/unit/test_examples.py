"""Written exchanges found for a question: the nearest last, in the asked script, within their share."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from data.stopwords import is_sum
from personas.examples import Example, Examples
from personas.loader import load_persona
from personas.prompt import Budget, Turn, plan
from personas.recall import recall

ROOT = Path(__file__).resolve().parents[2]

WORDS = ("then", "now", "again")
CORPUS = [
    ("en", "what is your wand made of", "Holly."),
    ("en", "who gave you the owl", "Hagrid did."),
    ("en", "who gave you the map", "The twins."),
    ("en", "tell me of the twins", "They were born jokers."),
    ("zh-CN", "你的魔杖是什么做的", "冬青木。"),
    ("zh-CN", "猫头鹰是谁送的", "海格送的，她叫海德薇。"),
    ("zh-TW", "地圖是誰給你的", "雙胞胎給的。"),
    ("zh-CN", "你喜欢下雨吗", "喜欢。"),
]


@pytest.fixture(scope="module")
def examples():
    return Examples([Example(Turn(question, answer), lang) for lang, question, answer in CORPUS])


def test_the_nearest_stands_last(examples):
    found = examples.nearest("who gave you that map", "en", limit=2)
    assert [turn.assistant for turn in found] == ["Hagrid did.", "The twins."]


def test_a_slip_of_the_finger_in_a_long_word_still_finds_it():
    examples = Examples(
        [
            Example(Turn("is quidditch dangerous", "Very."), "en"),
            Example(Turn("is potions dangerous", "Ask Neville."), "en"),
        ]
    )
    assert examples.nearest("quiditch?", "en", limit=1) == (Turn("is quidditch dangerous", "Very."),)


def test_both_chinese_scripts_are_searched_and_the_asked_one_is_shown(examples):
    (owl,) = examples.nearest("貓頭鷹是誰送的", "zh-TW", limit=1)
    assert owl == Turn("貓頭鷹是誰送的", "海格送的，她叫海德薇。")
    (card,) = examples.nearest("地图是谁给的", "zh-CN", limit=1)
    assert card == Turn("地图是谁给你的", "双胞胎给的。")


def test_english_and_chinese_exchanges_never_mix(examples):
    assert examples.nearest("魔杖", "en", limit=5) == ()
    assert examples.nearest("wand", "zh-CN", limit=5) == ()


def test_for_training_the_question_itself_counts_as_never_written(examples):
    seen = examples.nearest("Who gave you the owl?", "en", limit=1)
    unseen = examples.nearest("Who gave you the owl?", "en", limit=1, unseen=True)
    assert (seen[0].assistant, unseen[0].assistant) == ("Hagrid did.", "The twins.")


def test_what_was_asked_before_tells_what_a_short_question_is_about(examples):
    owl = examples.nearest("who gave it to you", "en", limit=1, before="where is the owl now")
    card = examples.nearest("who gave it to you", "en", limit=1, before="where is the map now")
    assert (owl[0].assistant, card[0].assistant) == ("Hagrid did.", "The twins.")


def test_a_topic_is_found_by_all_that_was_asked_and_said_of_it_and_gives_two_at_most():
    examples = Examples(
        [
            Example(Turn("what do you fear", "A Dementor. It eats joy."), "en", "fear"),
            Example(Turn("scared of anything", "Dementors, the joy eaters."), "en", "fear"),
            Example(Turn("what frightens you", "Whatever eats joy."), "en", "fear"),
            Example(Turn("what do you eat", "Tart."), "en", "food"),
            Example(Turn("what is joy", "Flying."), "en", "joy"),
        ]
    )
    *others, best = examples.nearest("what is it that eats joy and you fear", "en", limit=3)
    assert best.assistant == "A Dementor. It eats joy."
    assert len([one for one in others if one.user in ("scared of anything", "what frightens you")]) <= 1


def test_a_draw_shows_other_answers_of_the_same_topic_and_nothing_farther():
    examples = Examples(
        [
            *(
                Example(Turn(f"what is your owl called {word}", f"Hedwig {word}."), "en", "owl")
                for word in WORDS
            ),
            Example(Turn("what is your wand called", "A wand has no name."), "en", "wand"),
            Example(Turn("owl post?", "Hedwig brings it."), "en", "owl"),
        ]
    )
    asked = "what is the owl called"
    drawn = [examples.nearest(asked, "en", limit=2, draw=Random(seed))[-1].assistant for seed in range(60)]
    assert set(drawn) == {f"Hedwig {word}." for word in WORDS}
    assert len({examples.nearest(asked, "en", limit=2)[-1] for _ in range(5)}) == 1
    again = [examples.nearest(asked, "en", limit=2, draw=Random(seed))[-1].assistant for seed in range(60)]
    assert again == drawn


def test_no_answer_is_shown_twice():
    examples = Examples(
        [
            Example(Turn("hello", "Hi."), "en"),
            Example(Turn("hello there", "Hi."), "en"),
            Example(Turn("hello you", "Hey."), "en"),
        ]
    )
    answers = [turn.assistant for turn in examples.nearest("hello", "en", limit=3)]
    assert sorted(answers) == ["Hey.", "Hi."]


def test_one_section_answers_the_question_itself_and_one_what_it_follows_on():
    persona = load_persona(ROOT / "personas" / "harry_potter")
    before = "tell me about Hedwig\nMy snowy owl, the best there was."
    found = recall(persona, "and what is your wand made of?", "en", before=before).lore
    assert "wand" in found[0].text("en").lower()
    assert "hedwig" in " ".join(section.text("en") for section in found).lower()
    assert len(found) == 2


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("7+8", True),
        ("三加四等于几", True),
        ("what is three plus four", True),
        ("你有三个朋友吗", False),
        ("what is your owl called", False),
        ("the year 1998", False),
    ],
)
def test_a_sum_is_known_by_its_numbers(text, expected):
    assert is_sum(text) is expected


def test_a_sum_is_shown_no_other_sum():
    persona = load_persona(ROOT / "personas" / "harry_potter")
    assert recall(persona, "what is 4 x 5", "en").similar == ()
    assert recall(persona, "how many houses are there", "en").similar != ()


def test_similar_exchanges_take_what_lore_and_memory_leave_of_their_shares():
    near, far = Turn("n" * 4, "N" * 4), Turn("f" * 4, "F" * 4)
    budget = Budget(context=400, persona=20, lore=40, memory=20, reply=40)
    planned = plan("P", [], "q", count=len, budget=budget, lore=["l" * 20], similar=[far, near])
    assert planned.messages[-1].content == f"[lore] {'l' * 20}\n[like] nnnn\n[reply]\nNNNN\n\nq"
    assert [part.kind for part in planned.parts] == ["persona", "lore", "example", "question"]
