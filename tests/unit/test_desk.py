"""The operator's desk: what is live, promotion and going back, with or without a running bot."""

from __future__ import annotations

import asyncio
import contextlib
import json

import pytest

from bot import control
from bot.desk import COMMANDS, Desk, consult
from bot.errors import BotError
from data.home import Home
from data.records import Adapter, Ballot, InboxItem, NewReply, Result, Said
from data.run_records import NewRun
from data.sqlite import open_store
from tests.fakes.adapter import adapter
from tests.fakes.engine import FINGERPRINT
from tests.waiting import until
from training.eligibility import is_held_out


@pytest.fixture(name="home")
def _home(tmp_path):
    home = Home(tmp_path / "home")
    home.prepare()
    return home


@pytest.fixture(name="world")
async def _world(home):
    """Two versions of one persona, the first of them champion."""
    async with open_store(home.store) as store:
        for version, seed in (("v0", 1), ("v1", 2)):
            folder = home.adapters / "li_bai" / version
            digest = adapter(folder, seed=seed)
            row = Adapter(digest, "li_bai", version, FINGERPRINT, str(folder))
            await store.add_adapter(row, champion_if_none=True)
        yield store, Desk(store, home, FINGERPRINT)


async def live(desk):
    rows = (await desk.answer({"command": "adapters"}))["adapters"]
    return {row["version"]: row["aliases"] for row in rows}


async def tried(store, home, version="run", seed=3):
    """A run from votes whose adapter is in its canary."""
    ledger = store.ledger
    new = NewRun("li_bai", FINGERPRINT, "incremental", seed, id=version)
    await ledger.open_run(new)
    await ledger.snapshotted(version, "s" * 64)
    run = await ledger.claim("worker", lease_s=60)
    folder = home.adapters / "li_bai" / version
    digest = adapter(folder, seed=seed)
    made = Adapter(digest, "li_bai", version, FINGERPRINT, str(folder), run_id=version)
    await ledger.trained(version, "worker", run.attempt, made, None)
    await ledger.judged(version, passed=True, decision="{}", reason="Better.", needs_approval=False)
    assert await ledger.start_canary(version, 10)


async def test_promoting_keeps_the_old_version_and_rolling_back_goes_to_it(world, home):
    _, desk = world
    assert await live(desk) == {"v0": ["champion"], "v1": []}
    moved = await desk.answer({"command": "promote", "persona": "li_bai", "version": "v1"})
    assert moved["version"] == "v1"
    assert await live(desk) == {"v0": ["previous"], "v1": ["champion"]}
    mirrored = json.loads(home.champions.read_text())
    assert mirrored["champions"]["li_bai"]["name"] == moved["name"]
    assert (await desk.answer({"command": "rollback", "persona": "li_bai"}))["version"] == "v0"
    assert await live(desk) == {"v0": ["champion"], "v1": []}, "nothing falls back to what was taken back"
    assert json.loads(home.champions.read_text())["champions"]["li_bai"]["name"] != moved["name"]


async def test_rolling_back_ends_a_canary_first_and_takes_a_promotion_back_then(world, home):
    store, desk = world
    await tried(store, home)
    rollback = {"command": "rollback", "persona": "li_bai"}
    assert (await desk.answer(rollback))["version"] == "v0"
    assert (await store.ledger.run("run")).state == "rolled_back"
    assert await live(desk) == {"v0": ["champion"], "v1": [], "run": []}
    await tried(store, home, "again", 4)
    await store.ledger.promote_run("again", "the loop")
    assert (await live(desk))["again"] == ["champion"]
    assert (await desk.answer(rollback))["version"] == "v0"
    assert (await store.ledger.run("again")).state == "rolled_back"
    with pytest.raises(BotError, match="no previous version"):
        await desk.answer(rollback)


async def test_nobody_is_rolled_back_to_a_damaged_folder(world, home):
    store, desk = world
    await tried(store, home)
    await store.ledger.promote_run("run", "the loop")
    (home.adapters / "li_bai/v0/adapter_model.safetensors").write_bytes(b"swapped")
    with pytest.raises(BotError, match="v0 cannot go live"):
        await desk.answer({"command": "rollback", "persona": "li_bai"})
    assert (await store.ledger.run("run")).state == "promoted"


async def test_a_version_goes_by_its_model_name_too(world):
    _, desk = world
    rows = (await desk.answer({"command": "adapters"}))["adapters"]
    name = next(row["name"] for row in rows if row["version"] == "v1")
    assert (await desk.answer({"command": "promote", "persona": "li_bai", "version": name}))["name"] == name


async def test_what_is_not_there_is_named_and_what_is_damaged_does_not_go_live(world, home):
    _, desk = world
    with pytest.raises(BotError, match="no version v9 for this base; there are: v0, v1"):
        await desk.answer({"command": "promote", "persona": "li_bai", "version": "v9"})
    with pytest.raises(BotError, match="no previous version"):
        await desk.answer({"command": "rollback", "persona": "li_bai"})
    (home.adapters / "li_bai/v1/adapter_model.safetensors").write_bytes(b"swapped")
    with pytest.raises(BotError, match="cannot go live"):
        await desk.answer({"command": "promote", "persona": "li_bai", "version": "v1"})
    assert (await live(desk))["v0"] == ["champion"]


async def test_without_a_base_only_votes_are_answered(world, home):
    store, _ = world
    desk = Desk(store, home, None)
    assert await desk.answer({"command": "votes"}) == {"votes": [], "next_runs": []}
    with pytest.raises(BotError, match="engine is away"):
        await desk.answer({"command": "adapters"})


async def test_a_running_bot_is_asked_and_otherwise_the_store_itself(home):
    async with open_store(home.store):
        pass
    assert await consult(home, home.root, "votes") == {"votes": [], "next_runs": []}

    async def answer(request):
        return {"asked": request["command"], "persona": request.get("persona")}

    serving = asyncio.create_task(control.serve(home.control_socket, dict.fromkeys(COMMANDS, answer)))
    try:
        await until(home.control_socket.is_socket)
        with home.lock():
            answered = await consult(home, home.root, "rollback", persona="li_bai")
        assert answered == {"asked": "rollback", "persona": "li_bai"}
    finally:
        serving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await serving


async def test_a_base_that_is_not_there_is_one_sentence(home, tmp_path):
    async with open_store(home.store):
        pass
    with pytest.raises(BotError) as told:
        await consult(home, tmp_path / "nowhere", "adapters")
    assert "\n" not in str(told.value)


async def rated(store, chat, *, said, reply="Call me at 13812345678.", rater="ann"):
    """One exchange of a chat that a person rated and a moderator confirmed."""
    (inbox,) = await store.receive([InboxItem("web", chat, "", f"{chat} {said}", rater, "message", "{}")])
    live = await store.conversation("web", chat, "", "li_bai")
    messages = json.dumps([{"role": "system", "content": "A poet."}, {"role": "user", "content": said}])
    row = await store.open_reply(
        NewReply(inbox, live.id, "li_bai", "web", chat, "en", messages, "[]", "{}", seed=1)
    )
    await store.complete_reply(row.id, Result(reply, "stop"), [Said(said, rater, rater.title())])
    await store.cast(Ballot(row.id, rater, "thumb", 1))
    await store.answer_consent(rater, "yes")
    await store.cast(Ballot(row.id, "moderator", "thumb", 1, "moderator"))
    return live.id


async def test_votes_leave_as_rows_without_telephone_numbers_and_without_the_hold_out(world, tmp_path):
    store, desk = world
    talks = [
        await rated(store, f"chat {n}", said=f"mail me at a{n}@b.example", rater=f"r{n}") for n in range(30)
    ]
    kept = [talk for talk in talks if not is_held_out(talk)]
    out = tmp_path / "rows.jsonl"
    request = {"command": "export", "persona": "li_bai", "out": str(out)}
    answer = await desk.answer(request | {"shape": "trl"})
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert answer["rows"] == answer["good"] == len(rows) == len(kept)
    assert rows[0] == {
        "prompt": [
            {"role": "system", "content": "A poet."},
            {"role": "user", "content": "mail me at [e-mail]"},
        ],
        "completion": [{"role": "assistant", "content": "Call me at [phone]."}],
        "label": True,
    }
    assert out.stat().st_mode & 0o777 == 0o600
    await desk.answer(request | {"shape": "llamafactory"})
    first = json.loads(out.read_text().splitlines()[0])
    assert first["kto_tag"] is True
    assert [turn["from"] for turn in first["conversations"]] == ["human", "gpt"]
    with pytest.raises(BotError, match="cannot be written"):
        await desk.answer(request | {"shape": "trl", "out": str(tmp_path / "no" / "where.jsonl")})


async def test_who_withdraws_consent_is_in_no_row(world, tmp_path):
    store, desk = world
    await rated(store, "one", said="hello", rater="ann")
    await store.answer_consent("ann", "vote")
    out = tmp_path / "rows.jsonl"
    answer = await desk.answer({"command": "export", "persona": "li_bai", "out": str(out), "shape": "trl"})
    assert answer["rows"] == 0
    (run,) = (await desk.answer({"command": "votes"}))["next_runs"]
    assert run["fates"] == {"counts_only": 1, "unasked": 1}


async def test_what_lacks_is_what_the_operator_asks_for_and_who_has_no_vote_is_told_of_too(world, home):
    store, _ = world
    await rated(store, "one", said="hello", rater="ann")
    waits = {"li_bai": "waits for more", "harry_potter": "waits for 2027-01-18 04:00 (UTC)"}
    desk = Desk(store, home, FINGERPRINT, waits=waits, least_rows=7)
    harry, li_bai = (await desk.answer({"command": "votes"}))["next_runs"]
    assert [harry["persona"], li_bai["persona"]] == ["harry_potter", "li_bai"]
    assert [run["waits"] for run in (harry, li_bai)] == [waits["harry_potter"], waits["li_bai"]]
    assert harry["lacking"]["rows"] == 7
    assert harry["fates"] == {}
