"""`--once` and `--batch`: questions in, replies out in order; bad rows keep their place."""

from __future__ import annotations

import json

import pytest

from bot.once import Asked, read_batch, visit
from data.home import Home
from engine.client import HttpEngine
from personas.loader import load_persona
from tests.fakes.adapter import adapter
from tests.fakes.engine import FINGERPRINT, FakeEngine
from tests.fakes.troupe import ROOT


@pytest.fixture(name="li_bai", scope="module")
def _li_bai():
    return load_persona(ROOT / "personas" / "li_bai")


@pytest.fixture(name="fake")
async def _fake():
    async with FakeEngine(context=4096) as fake:
        yield fake


@pytest.fixture(name="engine")
async def _engine(fake):
    engine = HttpEngine(fake.url)
    yield engine
    await engine.close()


async def guest(engine, tmp_path, persona, *, greedy=False, seed=0):
    home = Home(tmp_path / "home")
    return await visit(engine, home, tmp_path / "shipped", persona, seed=seed, greedy=greedy)


@pytest.mark.parametrize(
    "line",
    [
        "no JSON",
        "7",
        '{"id": "x"}',
        '{"id": "x", "question": ""}',
        '{"id": "x", "question": "\\u200b"}',
        '{"id": "x", "question": 7}',
        '{"id": "x", "turns": []}',
        '{"id": "x", "turns": "abc"}',
        '{"id": "x", "turns": ["a", null]}',
        "[" * 10_000,
    ],
)
def test_a_bad_row_keeps_its_place_and_says_why(line):
    first, bad, last = read_batch(
        f'{{"id": 1, "question": "a"}}\n{line}\n\n{{"id": "z", "turns": ["b", "c"]}}'
    )
    assert (first.id, first.turns, first.error) == (1, ("a",), None)
    assert bad.error is not None
    assert "line 2" in bad.error
    assert (last.id, last.turns, last.is_multi) == ("z", ("b", "c"), True)


async def test_answers_come_in_the_order_of_the_questions_a_few_at_a_time(engine, fake, tmp_path, li_bai):
    visitor = await guest(engine, tmp_path, li_bai)
    rows = [Asked(str(number), (f"question {number}",)) for number in range(9)]
    rows.insert(3, Asked("bad", error="why"))
    heard = []
    await visitor.batch(rows, heard.append)
    assert [one.asked.id for one in heard] == [row.id for row in rows]
    assert heard[3].error == "why"
    assert all(one.replies[0].endswith(f"{one.asked.id} noitseuq") for one in heard if one.error is None)
    assert len(fake.requests) == 9


async def test_a_conversation_takes_its_own_replies_along(engine, fake, tmp_path, li_bai):
    visitor = await guest(engine, tmp_path, li_bai)
    fake.reply = "so it is"
    heard = await visitor.ask(Asked("1", ("first", "second"), is_multi=True))
    assert heard.replies == ("so it is", "so it is")
    assert heard.seconds > 0
    said = [(message["role"], message["content"]) for message in fake.requests[1]["messages"]]
    assert said[-3:-1] == [("user", "first"), ("assistant", "so it is")]
    assert said[-1][1].endswith("second")


async def test_without_an_adapter_a_persona_speaks_by_card_lore_and_nearest_examples(
    engine, fake, tmp_path, li_bai
):
    visitor = await guest(engine, tmp_path, li_bai)
    heard = await visitor.ask(Asked("1", ("你字什么？",)))
    (request,) = fake.requests
    assert visitor.adapter is None
    assert request["model"] == "base"
    assert request["seed"] == 0
    kinds = [part.kind for part in heard.explained.parts]
    assert {"persona", "lore", "question"} < set(kinds)
    assert "example" in " ".join(kinds)


async def test_the_adapter_is_the_mirrored_champion_and_v0_where_that_one_is_broken(
    engine, fake, tmp_path, li_bai
):
    first = adapter(tmp_path / "shipped/li_bai/v0", seed=1)
    assert (await guest(engine, tmp_path, li_bai)).adapter == f"li_bai@{first[:8]}"
    home = Home(tmp_path / "home")
    home.prepare()
    champion = adapter(home.adapters / "li_bai/v1", seed=2)
    row = {"name": f"li_bai@{champion[:8]}", "path": str(home.adapters / "li_bai/v1")}
    mirror = {"base_fingerprint": FINGERPRINT, "champions": {"li_bai": row}}
    home.champions.write_text(json.dumps(mirror))
    assert (await guest(engine, tmp_path, li_bai)).adapter == row["name"]
    assert set(fake.adapters) == {f"li_bai@{first[:8]}", row["name"]}
    (home.adapters / "li_bai/v1/adapter_model.safetensors").write_bytes(b"broken")
    assert (await guest(engine, tmp_path, li_bai)).adapter == f"li_bai@{first[:8]}"
    home.champions.write_text(json.dumps(mirror | {"base_fingerprint": "0" * 64}))
    assert (await guest(engine, tmp_path, li_bai)).adapter == f"li_bai@{first[:8]}"


async def test_greedy_and_seed_reach_the_engine_and_the_base_gets_no_card(engine, fake, tmp_path):
    visitor = await guest(engine, tmp_path, None, greedy=True, seed=5)
    await visitor.ask(Asked("1", ("hello",)))
    (request,) = fake.requests
    assert (request["temperature"], request["seed"]) == (0.0, 5)
    assert request["messages"] == [{"role": "user", "content": "hello"}]


async def test_an_engine_that_dies_in_mid_reply_costs_that_row_only(engine, fake, tmp_path, li_bai):
    visitor = await guest(engine, tmp_path, li_bai)
    fake.die_after = 1
    broken = await visitor.ask(Asked("1", ("hello",)))
    assert broken.replies == ()
    assert "mid-reply" in broken.error
    assert (await visitor.ask(Asked("2", ("hello",)))).error is None


async def test_a_question_that_does_not_fit_is_one_sentence(engine, tmp_path, li_bai):
    visitor = await guest(engine, tmp_path, li_bai)
    heard = await visitor.ask(Asked("1", ("长" * 100_000,)))
    assert heard.error
    assert "\n" not in heard.error
