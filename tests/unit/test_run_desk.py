"""Runs at the operator's desk and on the command line: the list, the gate's report, a yes, a veto."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys

import pytest

from bot import cli
from bot.desk import Desk
from bot.errors import BotError
from data.home import Home
from data.records import Adapter
from data.run_records import NewRun
from data.sqlite import open_store
from tests.fakes.adapter import adapter
from tests.fakes.engine import FINGERPRINT
from tests.fakes.judged import judged

pytestmark = pytest.mark.usefixtures("logs_as_before")


@pytest.fixture(name="home")
def _home(tmp_path, monkeypatch):
    monkeypatch.setenv("TROUPE_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    home = Home(tmp_path / "home")
    home.prepare()
    return home


@pytest.fixture(name="world")
async def _world(home):
    """A run that waits for a moderator, of a persona that speaks with v0."""
    async with open_store(home.store) as store:
        folder = home.adapters / "harry_potter"
        row = Adapter(adapter(folder / "v0", seed=1), "harry_potter", "v0", FINGERPRINT, str(folder / "v0"))
        await store.add_adapter(row, champion_if_none=True)
        await judged(store, folder)
        # What these ask needs no base: the engine may be away.
        yield store, Desk(store, home, None)


@pytest.fixture(name="troupe")
def _troupe(monkeypatch, capsys):
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


async def test_runs_are_listed_without_what_only_programs_read(world):
    store, desk = world
    await store.ledger.open_run(NewRun("li_bai", FINGERPRINT, "incremental", 1, id="other"))
    rows = (await desk.answer({"command": "runs"}))["runs"]
    assert [(row["id"], row["state"]) for row in rows] == [("run", "awaiting_approval"), ("other", "claimed")]
    assert rows[0]["reason"] == "Every check of the gate passed."
    assert not {"decision", "report"} & set(rows[0])


async def test_the_gates_report_is_shown_from_the_row_and_the_folder(world, home):
    _, desk = world
    found = await desk.answer({"command": "run", "run": "run"})
    assert found["report"].startswith("## The gate\n\n| what | before |")
    assert "**Passed:** the new version waits for a moderator to approve it." in found["report"]
    assert "“Hedwig” became “Errol”" in found["report"]
    shutil.rmtree(home.adapters / "harry_potter" / "run")
    report = (await desk.answer({"command": "run", "run": "run"}))["report"]
    assert "- passed: The votes favour it.\n" in report
    assert report.endswith("\nEvery check of the gate passed.\n")


async def test_a_run_that_was_not_judged_or_could_not_be_says_so(world):
    store, desk = world
    await store.ledger.open_run(NewRun("li_bai", FINGERPRINT, "incremental", 1, id="other"))
    found = await desk.answer({"command": "run", "run": "other"})
    assert found["report"] == "## The gate\n\nThe gate has not judged this run.\n"
    await store.ledger.snapshotted("other", "s" * 64)
    run = await store.ledger.claim("worker", lease_s=60)
    made = Adapter("d" * 64, "li_bai", "other", FINGERPRINT, "nowhere", run_id="other")
    await store.ledger.trained("other", "worker", run.attempt, made, None)
    told = {"decision": "{}", "reason": "measures.json is not there.", "needs_approval": False}
    await store.ledger.judged("other", passed=False, **told)
    found = await desk.answer({"command": "run", "run": "other"})
    assert found["report"] == "## The gate\n\nmeasures.json is not there.\n"


async def test_an_operator_approves_and_vetoes(world):
    store, desk = world
    approved = await desk.answer({"command": "run_approve", "run": "run"})
    assert approved["run"]["state"] == "approved"
    assert (await store.ledger.run("run")).is_ready
    vetoed = await desk.answer({"command": "run_veto", "run": "run"})
    assert (vetoed["run"]["state"], vetoed["run"]["reason"]) == ("rejected", "An operator vetoed it.")
    with pytest.raises(BotError, match="Run run cannot be approved: it is rejected"):
        await desk.answer({"command": "run_approve", "run": "run"})
    for command in ("run", "run_approve", "run_veto"):
        with pytest.raises(BotError, match="There is no run nothing; troupe runs list"):
            await desk.answer({"command": command, "run": "nothing"})


async def test_a_veto_of_what_is_live_reaches_commands_without_a_store(world, home):
    store, desk = world
    await store.ledger.approve("run", "mo")
    await store.ledger.start_canary("run", 10)
    await store.ledger.promote_run("run", "the gate")
    await Desk(store, home, FINGERPRINT).answer(
        {"command": "promote", "persona": "harry_potter", "version": "run"}
    )
    name = json.loads(home.champions.read_text())["champions"]["harry_potter"]["name"]
    vetoed = await desk.answer({"command": "run_veto", "run": "run"})
    assert vetoed["run"]["state"] == "rolled_back"
    assert json.loads(home.champions.read_text())["champions"]["harry_potter"]["name"] != name


async def test_a_mirror_of_another_base_stays(world, home):
    _, desk = world
    other = json.dumps({"base_fingerprint": "another", "champions": {}})
    home.champions.write_text(other)
    await desk.answer({"command": "run_veto", "run": "run"})
    assert home.champions.read_text() == other


def test_the_commands_say_what_they_did(home, troupe):
    asyncio.run(_filled(home))
    code, out, err = troupe("runs", "list")
    assert (code, err) == (0, "")
    assert "│ awaiting approval │" in out
    (row,) = json.loads(troupe("runs", "list", "--json")[1])
    assert row["id"] == "run"
    code, out, _ = troupe("runs", "show", "run")
    assert code == 0
    assert "\n## The gate\n" in out
    assert "UTC" in out
    assert troupe("runs", "approve", "run") == (0, "Run run of harry_potter is approved now.\n", "")
    assert troupe("runs", "veto", "run") == (0, "Run run of harry_potter is rejected now.\n", "")
    code, out, err = troupe("runs", "approve", "run")
    assert (code, out) == (1, "")
    assert len(err.strip().splitlines()) == 1


async def _filled(home):
    async with open_store(home.store) as store:
        await judged(store, home.adapters / "harry_potter")
