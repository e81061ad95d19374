"""`troupe user`: a copy of what is kept of a person, and its end, with or without a running bot."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import sys

import pytest

from bot import cli, control, rights
from bot.desk import Desk
from bot.errors import BotError
from data.home import Home, rater_hash
from data.records import Ballot, InboxItem, NewReply, Result, Said
from data.sqlite import open_store
from tests.waiting import until

pytestmark = pytest.mark.usefixtures("logs_as_before")


@pytest.fixture(name="home")
def _home(tmp_path, monkeypatch):
    monkeypatch.setenv("TROUPE_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    home = Home(tmp_path / "home")
    home.prepare()
    return home


@pytest.fixture(name="troupe")
def _troupe(home, monkeypatch, capsys):
    """Runs a command and returns (exit code, standard output, standard error)."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["troupe", *arguments])
        try:
            cli.main()
            code = 0
        except SystemExit as end:
            code = end.code
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


async def talked(home, store, user="12345"):
    rater = rater_hash(home.secret(), "telegram", user)
    item = InboxItem("telegram", user, "", "m", rater, "message", '{"text": "我是谁？"}')
    (inbox_id,) = await store.receive([item])
    live = await store.conversation("telegram", user, "", "li_bai")
    reply = await store.open_reply(
        NewReply(inbox_id, live.id, "li_bai", "telegram", user, "zh-CN", "[]", "[]", "{}", seed=1)
    )
    await store.complete_reply(reply.id, Result("一位朋友。", "stop"), [Said("我是谁？", rater, "Ann")])
    await store.cast(Ballot(reply.id, rater, "thumb", 1))
    snapshot = home.snapshots / "run"
    snapshot.mkdir()
    (snapshot / "thumbs.jsonl").write_text(json.dumps({"reply_id": reply.id}), encoding="utf-8")


@pytest.fixture(name="kept")
def _kept(home):
    """A store in which one person talked, and nobody has it open."""

    async def fill():
        async with open_store(home.store) as store:
            await talked(home, store)

    asyncio.run(fill())


@pytest.mark.usefixtures("kept")
def test_what_is_kept_goes_to_standard_output_or_into_a_file_for_the_owner_alone(troupe, tmp_path):
    code, out, err = troupe("user", "export", "telegram:12345")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert found["person"] == "telegram:12345"
    assert found["messages"][0]["text"] == "我是谁？"
    assert found["replies"][0]["text"] == "一位朋友。"
    assert [vote["value"] for vote in found["votes"]] == [1]
    assert found["consents"][0]["answer"] == "asked"
    assert found["events"][0]["payload"] == {"text": "我是谁？"}
    code, out, _ = troupe("user", "export", "telegram:12345", "--out", "kept.json")
    assert code == 0
    assert "1 messages, 1 replies, 1 votes" in out
    assert json.loads((tmp_path / "kept.json").read_text(encoding="utf-8")) == found
    assert (tmp_path / "kept.json").stat().st_mode & 0o777 == 0o600
    code, _, err = troupe("user", "export", "telegram:12345", "--out", "no/where.json")
    assert (code, len(err.strip().splitlines())) == (1, 1)


@pytest.mark.usefixtures("kept")
def test_forgetting_asks_first_and_then_says_what_is_gone(troupe, home, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    code, out, err = troupe("user", "forget", "telegram:12345")
    assert (code, out.strip()) == (1, "")
    assert "for ever?" in err
    assert json.loads(troupe("user", "export", "telegram:12345")[1])["messages"]
    code, out, _ = troupe("user", "forget", "telegram:12345", "--yes")
    assert code == 0
    assert "telegram:12345 is forgotten: 1 messages, 1 replies, 1 votes" in out
    assert "snapshots/run is deleted." in out
    assert not (home.snapshots / "run").exists()
    assert troupe("user", "forget", "telegram:12345", "--yes")[1] == "Nothing was kept of telegram:12345.\n"
    assert not json.loads(troupe("user", "export", "telegram:12345")[1])["events"]


@pytest.mark.parametrize("person", ["12345", "icq:1", "telegram:", "discord-role:5", "telegram:1 2"])
@pytest.mark.parametrize("command", ["export", "forget"])
def test_a_name_that_is_nobodys_is_wrong_use(troupe, command, person):
    code, out, err = troupe("user", command, person)
    assert (code, out) == (2, "")
    assert "PLATFORM:USER_ID" in " ".join(err.split())


async def test_a_running_bot_is_asked_for_it(troupe, home, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    async with open_store(home.store) as store:
        await talked(home, store)
        handlers = dict.fromkeys(rights.COMMANDS, Desk(store, home, None).answer)
        serving = asyncio.create_task(control.serve(home.control_socket, handlers))
        try:
            await until(home.control_socket.is_socket)
            with home.lock():
                _, out, _ = await asyncio.to_thread(troupe, "user", "export", "telegram:12345")
                assert json.loads(out)["messages"]
                code, out, err = await asyncio.to_thread(troupe, "user", "forget", "telegram:12345")
            assert code == 0, err
            assert "is forgotten" in out
        finally:
            serving.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await serving
        assert await store.erasures.latest() == 1


async def test_the_desk_refuses_a_name_that_is_nobodys(home):
    async with open_store(home.store) as store:
        with pytest.raises(BotError, match="names nobody"):
            await Desk(store, home, None).answer({"command": "user_forget", "person": "everybody"})
