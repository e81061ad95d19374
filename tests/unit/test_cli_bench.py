"""`troupe bench`: what it refuses, and that the other process's words and code come through."""

from __future__ import annotations

import subprocess
import sys

import pytest

from bot import cli

pytestmark = pytest.mark.usefixtures("logs_as_before")

WITHOUT_TRL = """
import importlib.util
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name == "trl" else found(name, package)
"""


@pytest.fixture(name="troupe")
def _troupe(tmp_path, monkeypatch, capfd):
    """Runs a command and returns (exit code, standard output, standard error), the other process's too."""
    monkeypatch.setenv("TROUPE_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["troupe", *arguments])
        with pytest.raises(SystemExit) as end:
            cli.main()
        captured = capfd.readouterr()
        return end.value.code, captured.out, captured.err

    return run


def test_help_tells_what_is_measured_against_whom(troupe):
    code, out, _ = troupe("bench", "train", "--help")
    assert code == 0
    assert "TRL" in out
    assert "--quick" in out


@pytest.mark.parametrize(
    "arguments",
    [("--rows", "x"), ("--rows", "0"), ("--rows", "7"), ("--threads", "0"), ("--fast",), ("li_bai",)],
    ids=" ".join,
)
def test_wrong_use_is_code_two_and_nothing_on_standard_output(troupe, arguments):
    code, out, err = troupe("bench", "train", *arguments)
    assert (code, out) == (2, "")
    assert "error" in err.lower()
    assert "Traceback" not in err


def test_without_trl_one_sentence_says_how_to_get_it(troupe, tmp_path, monkeypatch):
    (tmp_path / "sitecustomize.py").write_text(WITHOUT_TRL)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    code, out, err = troupe("bench", "train", "--quick", "--json")
    assert (code, out) == (1, "")
    (line,) = err.strip().splitlines()
    assert "pip install 'troupe[bench]'" in line


def test_the_configured_threads_hold_where_none_are_asked_for(troupe, monkeypatch):
    started = []
    monkeypatch.setattr(subprocess, "call", lambda command: started.append(command) or 75)
    monkeypatch.setenv("TROUPE_THREADS", "3")
    assert troupe("bench", "train", "--json", "--rows", "16")[0] == 75
    assert troupe("bench", "train", "--threads", "1")[0] == 75
    python = [sys.executable, "-m", "training", "--threads"]
    assert started == [[*python, "3", "bench", "--json", "--rows", "16"], [*python, "1", "bench"]]
