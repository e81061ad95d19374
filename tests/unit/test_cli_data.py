"""`troupe data check`: tables, JSON, the rows of one check, and the exit codes."""

from __future__ import annotations

import json
import sys

import pytest

from bot import cli

CLEAN = [("who are you", "I am Harry, and I am fine."), ("do you like tea", "I like tea very much.")]


pytestmark = pytest.mark.usefixtures("logs_as_before")


@pytest.fixture(name="troupe")
def _troupe(tmp_path, monkeypatch, capsys):
    """Runs `troupe data check` and returns (exit code, standard output, standard error)."""
    monkeypatch.setenv("TROUPE_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["troupe", "data", "check", *arguments])
        with pytest.raises(SystemExit) as end:
            cli.main()
        captured = capsys.readouterr()
        return end.value.code, captured.out, captured.err

    return run


@pytest.fixture(name="file")
def _file(tmp_path):
    def write(*rows):
        path = tmp_path / "rows.json"
        path.write_text(json.dumps([{"Instruction": q, "input": "", "output": a} for q, a in rows]))
        return path.name

    return write


def test_a_clean_file_is_code_zero_and_says_how_rows_count(troupe, file):
    code, out, err = troupe(file(*CLEAN))
    assert (code, err) == (0, "")
    assert "2 rows; rows are counted from 0" in out
    assert "broken" not in out


def test_a_broken_bound_is_code_one_and_shows_the_row(troupe, file):
    code, out, _ = troupe(file(*CLEAN, CLEAN[0]))
    assert code == 1
    (line,) = [line for line in out.splitlines() if "duplicate" in line]
    assert "broken" in line
    assert "2  as 0: who are you" in line


def test_json_holds_every_check_with_its_share(troupe, file):
    code, out, _ = troupe(file(*CLEAN, CLEAN[0]), "--json", "--persona", "harry_potter")
    (report,) = json.loads(out)
    checks = {one["check"]: one for one in report["checks"]}
    assert code == 1
    assert (report["persona"], report["rows"], report["unit"]) == ("harry_potter", 3, "row")
    assert checks["duplicate"]["share"] == pytest.approx(1 / 3, abs=1e-6)
    assert checks["duplicate"]["hits"][0]["row"] == 2
    assert checks["first_person"] == {
        "check": "first_person", "count": 3, "total": 3, "share": 1.0, "bound": "≥ 50 %", "broken": False,
        "hits": [],
    }  # fmt: skip


def test_show_lists_every_row_of_one_check(troupe, file):
    code, out, _ = troupe(file(*[CLEAN[0]] * 9), "--show", "duplicate")
    assert code == 1
    assert [line.split(": ")[0] for line in out.splitlines()] == [
        f"rows.json, row {at}" for at in range(1, 9)
    ]


@pytest.mark.parametrize(
    "arguments",
    [("gandalf",), ("li_bai", "--show", "charm"), ("rows.json", "--persona", "gandalf")],
    ids=" ".join,
)
def test_wrong_use_is_code_two_and_one_hint(troupe, file, arguments):
    file(*CLEAN)
    code, out, err = troupe(*arguments)
    assert (code, out) == (2, "")
    assert "there are" in err or "neither a file nor one of" in " ".join(err.replace("│", "").split())


def test_a_file_without_rows_is_one_sentence(troupe, tmp_path):
    (tmp_path / "empty.jsonl").write_text("{}\n")
    code, out, err = troupe("empty.jsonl")
    assert (code, out) == (1, "")
    assert len(err.strip().splitlines()) == 1


def test_an_operators_persona_is_checked_by_its_name(troupe, tmp_path):
    shipped = cli.Path(cli.__file__).parents[1] / "personas/li_bai"
    folder = tmp_path / "home/personas/poet"
    folder.mkdir(parents=True)
    for name in ("persona.toml", "lore.md"):
        (folder / name).write_bytes((shipped / name).read_bytes())
    message = [
        {"role": "user", "content": "how do you travel"},
        {"role": "assistant", "content": "I take a zeppelin."},
    ]
    (folder / "dialogues.jsonl").write_text(json.dumps({"messages": message, "lang": "en", "topic": "P-1"}))
    (folder / "anachronisms.txt").write_text("# things\nzeppelin\n")
    (folder / "probes.jsonl").write_text('{"id": "p-1", "topic": "P-1", "question": "How do you travel?"}\n')
    code, out, _ = troupe("poet", "--json")
    (report,) = json.loads(out)
    broken = {one["check"] for one in report["checks"] if one["broken"]}
    assert code == 1
    assert broken == {"anachronism", "leak"}
