"""What a persona is asked at its exam, in which ways, and how it is counted."""

from __future__ import annotations

import pytest

from bot.exam import sit
from bot.papers import Papers, read_papers
from data.home import Home
from engine.client import HttpEngine
from personas.loader import load_cast
from tests.fakes.adapter import adapter
from tests.fakes.engine import FakeEngine
from tests.fakes.troupe import ROOT
from training.choices import Choice
from training.copying import Case
from training.evaluate import Probe, farthest_third
from training.offlist import OffListMessage
from training.style import Voices, masker, names_of

HEDWIG = (("Hedwig",),)
PROBES = [
    Probe("owl", "en", "fact", ("what do you call the owl you keep",), HEDWIG, ()),
    Probe("sum", "en", "sum", ("what is 4 x 5",), (("20",),), ()),
    Probe("again", "en", "fact", ("do you keep an owl", "and its name?"), HEDWIG, ()),
]


@pytest.fixture(name="cast", scope="module")
def _cast():
    return load_cast([ROOT / "personas"])


async def examined(fake, tmp_path, cast, *, with_adapter=True, **more):
    if with_adapter:
        adapter(tmp_path / "shipped/harry_potter/v0", seed=1)
    engine = HttpEngine(fake.url)
    counted = []
    expected = []
    try:
        result = await sit(
            engine,
            Home(tmp_path / "home"),
            tmp_path / "shipped",
            cast,
            "harry_potter",
            Papers(tuple(PROBES), **more),
            expect=expected.append,
            tick=lambda: counted.append(1),
        )
    finally:
        await engine.close()
    assert expected == [len(counted)]
    return result


async def test_the_same_questions_are_asked_with_and_without_help_and_of_the_bare_base(tmp_path, cast):
    async with FakeEngine() as fake:
        fake.reply = "Hedwig, a snowy one."
        result = await examined(fake, tmp_path, cast)
        sent = [(request["model"], request["messages"]) for request in fake.requests]
    assert [way.name for way in result.ways] == [
        "as served", "without lore and like exchanges", "the bare base", "last turns alone",
    ]  # fmt: skip
    owl = [(model, messages) for model, messages in sent if messages[-1]["content"].endswith("you keep")]
    helped, unaided, bare = owl[:3]
    assert "[like]" in helped[1][-1]["content"]
    assert unaided[1][-1]["content"] == PROBES[0].turns[0]
    assert unaided[1][0]["role"] == "system"
    assert bare == ("base", [{"role": "user", "content": PROBES[0].turns[0]}])
    assert helped[0] == unaided[0] != "base"
    alone = [messages for _, messages in sent if messages[-1]["content"].endswith("its name?")]
    assert sorted(len(messages) for messages in alone) == [2, 4]


async def test_right_answers_are_counted_by_way_and_one_reply_ten_times_is_no_variety(tmp_path, cast):
    async with FakeEngine() as fake:
        fake.reply = "Hedwig, a snowy one."
        result = await examined(fake, tmp_path, cast)
    served = {score.group: (score.right, score.asked) for score in result.ways[0].scores}
    assert (served["fact"], served["sum"], served["several turns"]) == ((1, 1), (0, 1), (1, 1))
    more = {score.group: (score.right, score.asked) for score in result.more}
    assert more["4 right replies of 10"] == (0, 1)
    assert result.median_seconds > 0


CHOICE = Choice("owl", "en", "lore", "your owl's name?", ("Errol, an old one.", "Hedwig, a snowy one."), 1)
CASES = (
    Case("a", "en", "lore", ("The mill is called Brindlow.",), "what's the mill called", "Brindlow"),
    Case("b", "zh-TW", "memory", ("使用者的貓叫墨菲。",), "我的貓叫什麼", "墨菲"),
)


async def test_choices_are_weighed_as_served_and_retention_bare_with_and_without_the_adapter(tmp_path, cast):
    async with FakeEngine() as fake:
        fake.reply, fake.likely = "Hedwig.", "Hedwig"
        result = await examined(fake, tmp_path, cast, choices=(CHOICE,), retention=(CHOICE,))
        weighed = [request for request in fake.requests if "prompt_logprobs" in request]
    more = {score.group: (score.right, score.asked) for score in result.more}
    names = ("lore choices", "retention, with the adapter", "retention, the bare base")
    assert [more[name] for name in names] == [(1, 1)] * 3
    served, with_adapter, bare = (weighed[at : at + 3] for at in (0, 3, 6))
    assert {request["model"] for request in (*served, *with_adapter)} == {result.adapter}
    assert {request["model"] for request in bare} == {"base"}
    assert [request["add_generation_prompt"] for request in served] == [True, False, False]
    assert served[0]["messages"][0]["role"] == "system"
    assert with_adapter[1]["messages"] == bare[1]["messages"] == [
        {"role": "user", "content": CHOICE.question},
        {"role": "assistant", "content": CHOICE.options[0]},
    ]  # fmt: skip


async def test_without_an_adapter_retention_is_asked_of_the_base_alone(tmp_path, cast):
    async with FakeEngine() as fake:
        fake.reply = "Hedwig."
        result = await examined(fake, tmp_path, cast, with_adapter=False, retention=(CHOICE,))
    names = [score.group for score in result.more if score.group.startswith("retention")]
    assert names == ["retention, the bare base"]


async def test_values_are_shown_in_their_kind_of_line_and_counted_by_script(tmp_path, cast):
    async with FakeEngine() as fake:
        fake.reply = "Brindlow it is."
        result = await examined(fake, tmp_path, cast, copying=CASES)
        asked = [request["messages"][-1]["content"] for request in fake.requests]
    assert "[lore] The mill is called Brindlow.\n\nwhat's the mill called" in asked
    assert "[memory] 使用者的貓叫墨菲。\n\n我的貓叫什麼" in asked
    more = {score.group: (score.right, score.asked) for score in result.more}
    assert (more["copied from lore, en"], more["copied from memory, zh-TW"]) == ((1, 1), (0, 1))


@pytest.mark.parametrize(("topic", "fitting", "out_of_place"), [("HP-OFF-01", 1, 0), ("HP-FR-12", 0, 1)])
async def test_off_the_list_a_learnt_answer_to_something_else_is_out_of_place(
    tmp_path, cast, topic, fitting, out_of_place
):
    written = next(one for one in cast["harry_potter"].examples.all if (one.topic, one.lang) == (topic, "en"))
    async with FakeEngine() as fake:
        fake.reply = written.turn.assistant
        message = OffListMessage("x", "en", "code", "fix my python loop")
        result = await examined(fake, tmp_path, cast, off_list=(message,))
    more = {score.group: (score.right, score.asked) for score in result.more}
    assert more["off the list: fitting"] == (fitting, 1)
    assert more["off the list: out of place"] == (out_of_place, 1)


def test_a_personas_papers_are_its_own_and_the_shared_ones(cast):
    papers = read_papers(cast["li_bai"], ROOT / "data" / "sets")
    assert len(papers.choices) >= 500
    assert len(papers.retention) >= 1000
    assert len(papers.off_list) == 200
    assert {case.lang for case in papers.copying} == {"en", "zh-CN", "zh-TW"}


def test_the_farthest_third_shares_the_fewest_pairs_with_any_trained_question():
    probes = [
        Probe("near", "en", "fact", ("who gave you the owl",), HEDWIG, ()),
        Probe("far", "en", "fact", ("zyx",), HEDWIG, ()),
        Probe("middle", "en", "fact", ("who gave it",), HEDWIG, ()),
        Probe("chat", "en", "fact", ("a", "qqq"), HEDWIG, ()),
    ]
    assert [probe.id for probe in farthest_third(probes, ["Who gave you the owl?"])] == ["far"]


def test_a_voice_is_known_when_names_are_hidden(cast):
    hide = masker(name for persona in cast.personas.values() for name in names_of(persona))
    written = {
        slug: [hide(example.turn.assistant) for example in persona.examples.all]
        for slug, persona in cast.personas.items()
    }
    voices = Voices({slug: texts[::2] for slug, texts in written.items()})
    for slug, texts in written.items():
        others = texts[1::20]
        assert sum(voices.whose(text) == slug for text in others) >= 0.9 * len(others)


def test_names_are_hidden_whole_whatever_their_case():
    assert masker(["Harry", "Harry Potter"])("I am HARRY, harry potter's son is James") == (
        "I am □, □'s son is James"
    )
