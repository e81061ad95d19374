"""The command line: answers on standard output, one sentence on standard error, and the exit codes."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from pathlib import Path

import click
import pytest
import typer

from bot import cli
from data.home import Home
from data.records import Ballot, InboxItem, NewReply, Result, Said
from data.sqlite import open_store
from tests.fakes.adapter import adapter
from tests.fakes.engine import FINGERPRINT, FakeEngine

ROOT = Path(__file__).parents[2]


@pytest.fixture(name="home")
def _home(tmp_path, monkeypatch):
    monkeypatch.setenv("TROUPE_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return Home(tmp_path / "home")


pytestmark = pytest.mark.usefixtures("logs_as_before")


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


def commands(group, path=()):
    for name, command in group.commands.items():
        if isinstance(command, click.Group) or hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


ALL = dict(commands(typer.main.get_command(cli.app)))


@pytest.mark.parametrize("path", sorted(ALL), ids=" ".join)
def test_every_command_explains_itself_with_an_example(path):
    assert ALL[path].help
    assert ALL[path].epilog.startswith("example: ")
    assert f"troupe {' '.join(path)}" in ALL[path].epilog


def test_the_commands_are_the_ones_of_the_design():
    names = {" ".join(path) for path in ALL}
    assert {
        "run", "chat", "data check", "eval", "personas list", "personas check", "train", "adapters list",
        "adapters show",
        "adapters promote", "adapters rollback", "adapters verify", "votes stats", "votes export",
        "runs list", "runs show", "runs approve", "runs veto", "user export", "user forget", "doctor",
        "engine", "bench loop", "bench train",
    } == names  # fmt: skip


@pytest.mark.parametrize(
    "arguments",
    [
        ("sing",),
        ("chat", "gandalf", "--once", "hello"),
        ("chat", "li_bai", "--once", "a", "--batch", "b"),
        ("chat", "li_bai", "--batch", "nowhere.jsonl"),
        ("chat", "li_bai", "--seed", "x", "--once", "a"),
        ("train", "gandalf"),
        ("train", "li_bai", "--from", "thin air"),
        ("personas", "check", "gandalf"),
    ],
    ids=" ".join,
)
def test_wrong_use_is_code_two_and_nothing_on_standard_output(troupe, arguments):
    code, out, err = troupe(*arguments)
    assert (code, out) == (2, "")
    assert "Error" in err
    assert "Traceback" not in err


def test_a_batch_that_is_no_text_is_wrong_use(troupe, tmp_path):
    (tmp_path / "b").write_bytes(b"\xff\xfe\x00")
    assert troupe("chat", "li_bai", "--batch", "b")[0] == 2


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("TROUPE_QUANTISE", "nf4", "did you mean quantize"),
        ("TROUPE_DTYPE", "float8", "dtype"),
        ("DISCORD_TOKEN_FILE", "/nowhere", "DISCORD_TOKEN_FILE"),
        ("TROUPE_CONFIG", "/nowhere", "/nowhere"),
    ],
)
def test_a_wrong_setting_is_one_sentence(troupe, monkeypatch, name, value, words):
    monkeypatch.setenv(name, value)
    code, out, err = troupe("personas", "list")
    assert (code, out) == (1, "")
    assert len(err.strip().splitlines()) == 1
    assert words in err


def test_an_unknown_key_in_the_file_is_one_sentence(troupe, tmp_path):
    (tmp_path / "troupe.toml").write_text('bass = "starter"\n')
    code, _, err = troupe("doctor")
    assert code == 1
    (line,) = err.strip().splitlines()
    assert "troupe.toml has an unknown key 'bass' (did you mean base?)" in line


def test_a_broken_persona_is_named_and_the_others_are_listed(troupe, home):
    (home.personas / "gandalf").mkdir(parents=True)
    (home.personas / "gandalf/persona.toml").write_text("format = 1\nwand = true\n")
    code, out, _ = troupe("personas", "list")
    assert code == 1
    assert "li_bai" in out
    assert "gandalf" in out
    assert troupe("personas", "check", "gandalf")[0] == 1
    assert troupe("personas", "check", "li_bai")[:2] == (0, "li_bai is fine.\n")


@pytest.mark.parametrize(
    "arguments",
    [("votes", "stats"), ("adapters", "list"), ("adapters", "promote", "li_bai", "v0")],
    ids=" ".join,
)
def test_without_a_store_one_sentence_says_who_makes_it(troupe, arguments):
    code, out, err = troupe(*arguments)
    assert (code, out) == (1, "")
    (line,) = err.strip().splitlines()
    assert "troupe run makes it" in line


def test_a_home_that_another_process_holds_is_one_sentence(troupe, home):
    home.prepare()
    home.store.touch()
    with home.lock():
        code, _, err = troupe("votes", "stats")
    assert code == 1
    assert len(err.strip().splitlines()) == 1


def test_votes_are_counted_as_they_stand(troupe, home):
    asyncio.run(_fill(home))
    code, out, _ = troupe("votes", "stats", "--json")
    assert code == 0
    found = json.loads(out)
    assert found["votes"] == [
        {"persona": "li_bai", "kind": "thumb", "value": 1, "consent": "unasked", "many": 1},
        {"persona": "li_bai", "kind": "thumb", "value": -1, "consent": "yes", "many": 1},
    ]
    (run,) = found["next_runs"]
    assert run["fates"] == {"unasked": 1, "others_unasked": 1}
    assert run["lacking"] == {"rows": 50, "ups": 15, "downs": 15, "raters": 5, "held_out": 40}
    code, out, _ = troupe("votes", "stats")
    assert code == 0
    assert "li_bai" in out
    assert "waits: the rater has not answered" in out
    assert "The next run of li_bai needs 50 more usable replies" in out


def test_an_adapter_folder_is_verified(troupe, tmp_path):
    digest = adapter(tmp_path / "li_bai/v0")
    code, out, _ = troupe("adapters", "verify", "li_bai/v0")
    assert code == 0
    assert f"li_bai@{digest[:8]}" in out
    (tmp_path / "li_bai/v0/adapter_model.safetensors").write_bytes(b"swapped")
    code, out, err = troupe("adapters", "verify", "li_bai/v0")
    assert (code, out) == (1, "")
    assert len(err.strip().splitlines()) == 1


async def in_thread(troupe, *arguments):
    return await asyncio.to_thread(troupe, *arguments)


async def test_once_prints_the_reply_alone_or_as_json(troupe, monkeypatch):
    async with FakeEngine(reply="四个。") as engine:
        monkeypatch.setenv("TROUPE_ENGINE_URLS", engine.url)
        assert await in_thread(troupe, "chat", "li_bai", "--once", "几个？") == (0, "四个。\n", "")
        code, out, err = await in_thread(troupe, "chat", "li_bai", "--once", "几个？", "--json", "--explain")
    assert code == 0
    row = json.loads(out)
    assert row.pop("seconds") >= 0
    assert row == {"id": "once", "reply": "四个。", "persona": "li_bai", "adapter": None}
    assert "'几个？'" in err


async def test_a_batch_answers_in_order_and_a_bad_row_makes_the_code_one(troupe, tmp_path, monkeypatch):
    rows = ['{"id": 1, "question": "a"}', "{}", '{"id": "t", "turns": ["b", "c"]}']
    (tmp_path / "b.jsonl").write_text("\n".join(rows))
    async with FakeEngine(reply="so") as engine:
        monkeypatch.setenv("TROUPE_ENGINE_URLS", engine.url)
        code, out, _ = await in_thread(troupe, "chat", "base", "--batch", "b.jsonl")
    assert code == 1
    first, bad, last = map(json.loads, out.splitlines())
    assert (first["id"], first["reply"], first["persona"]) == (1, "so", "base")
    assert set(bad) == {"id", "error"}
    assert (last["id"], last["replies"]) == ("t", ["so", "so"])


def test_an_engine_that_is_not_there_is_one_sentence(troupe, monkeypatch):
    monkeypatch.setenv("TROUPE_ENGINE_URLS", "http://127.0.0.1:1")
    code, out, err = troupe("chat", "li_bai", "--once", "hello")
    assert (code, out) == (1, "")
    assert len(err.strip().splitlines()) == 1


async def test_what_asks_an_engine_never_opens_the_store(troupe, home, monkeypatch):
    async with FakeEngine() as engine:
        monkeypatch.setenv("TROUPE_ENGINE_URLS", engine.url)
        assert (await in_thread(troupe, "chat", "li_bai", "--once", "hello"))[0] == 0
    assert not home.root.exists()


async def test_held_out_questions_are_asked_and_counted_without_the_store(
    troupe, home, monkeypatch, tmp_path
):
    monkeypatch.setattr("bot.app.SETS", tmp_path / "sets")  # the shared ones are thousands
    kept = {"dialogues": 300, "probes": 40, "choices": 10, "offlist": 10}
    folder = home.personas / "wanderer"
    shutil.copytree(ROOT / "personas" / "li_bai", folder, ignore=shutil.ignore_patterns("*.jsonl"))
    for name, count in kept.items():
        lines = (ROOT / "personas" / "li_bai" / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
        (folder / f"{name}.jsonl").write_text(
            "\n".join(lines[:: len(lines) // count][:count]) + "\n", encoding="utf-8"
        )
    async with FakeEngine() as engine:
        monkeypatch.setenv("TROUPE_ENGINE_URLS", engine.url)
        code, out, err = await in_thread(troupe, "eval", "wanderer", "--json")
    assert code == 0, err
    found = json.loads(out)
    asked = {score["group"]: score["asked"] for score in found["scores"]}
    assert (asked["all"], asked["lore choices"], asked["off the list: fitting"]) == (40, 10, 10)
    probes = (folder / "probes.jsonl").read_text(encoding="utf-8").splitlines()
    kinds = {"several turns" if "turns" in row else row["kind"] for row in map(json.loads, probes)}
    assert sum(asked[kind] for kind in kinds) == len(probes)
    assert not home.store.exists()


async def test_a_persona_without_held_out_questions_is_not_evaluated(troupe, home):
    folder = home.personas / "wanderer"
    shutil.copytree(ROOT / "personas" / "li_bai", folder, ignore=shutil.ignore_patterns("*.jsonl"))
    code, _, err = troupe("eval", "wanderer")
    assert (code, "has no probes.jsonl" in " ".join(err.split())) == (2, True)
    (folder / "probes.jsonl").write_text("\n", encoding="utf-8")
    code, _, err = troupe("eval", "wanderer")
    assert (code, "is empty" in " ".join(err.split())) == (2, True)


async def test_a_persona_that_nobody_knows_is_not_evaluated(troupe):
    code, out, err = troupe("eval", "hary")
    assert (code, out) == (2, "")
    assert "hary" in err


async def _fill(home):
    home.prepare()
    async with open_store(home.store) as store:
        for number in range(2):
            (inbox,) = await store.receive([InboxItem("web", "c", "", str(number), "u", "message", "{}")])
            live = await store.conversation("web", "c", "", "li_bai")
            reply = await store.open_reply(
                NewReply(
                    inbox_id=inbox, conversation_id=live.id, persona="li_bai", platform="web", chat="c",
                    lang="en", messages="[]", lore="[]", sampling="{}", seed=0, base_fingerprint=FINGERPRINT,
                )
            )  # fmt: skip
            await store.complete_reply(reply.id, Result("yes", "stop"), [Said("hello", "u", "Ann")])
            rater = ("ann", "bob")[number]
            await store.cast(Ballot(reply.id, rater, "thumb", 1))
            if rater == "bob":
                # Changed, and then agreed to: two closed rows that are not counted.
                await store.cast(Ballot(reply.id, rater, "thumb", -1))
                await store.answer_consent(rater, "yes")
