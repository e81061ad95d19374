"""From written text to a starter and an adapter, through the real trainer, small."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from data.manifest import base_fingerprint, verify
from data.snapshot import SnapshotError, read_snapshot, write_corpus_snapshot

ROOT = Path(__file__).resolve().parents[2]


def sample(source: Path, target: Path, count: int) -> None:
    lines = source.read_text(encoding="utf-8").splitlines()
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("\n".join(lines[:: max(1, len(lines) // count)][:count]) + "\n", encoding="utf-8")


@pytest.fixture(name="text", scope="module")
def _text(tmp_path_factory):
    """One persona and the general sets, a few rows of each."""
    root = tmp_path_factory.mktemp("text")
    persona = root / "personas" / "li_bai"
    shutil.copytree(ROOT / "personas" / "li_bai", persona, ignore=shutil.ignore_patterns("*.jsonl"))
    sample(ROOT / "personas" / "li_bai" / "dialogues.jsonl", persona / "dialogues.jsonl", 24)
    for name in ("general", "lore_use", "memory_use"):
        sample(ROOT / "data" / "sets" / f"{name}.jsonl", root / "sets" / f"{name}.jsonl", 120)
    return root


def train(*arguments, check=True):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "training", "--threads", "1", *map(str, arguments)]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=ROOT, check=False)
    assert not check or result.returncode == 0, result.stderr[-2000:]
    return result


@pytest.fixture(name="built", scope="module")
def _built(text, tmp_path_factory):
    out = tmp_path_factory.mktemp("built")
    arguments = ["--personas", text / "personas", "--sets", text / "sets"]
    train("starter", "--quick", *arguments, "--out", out / "starter", "--work", out / "work")
    return out / "starter"


@pytest.mark.slow
def test_a_starter_is_built_from_text_with_a_valid_adapter_per_persona(built):
    manifest = verify(built / "adapters" / "li_bai" / "v0", base_fingerprint=base_fingerprint(built))
    assert manifest.persona == "li_bai"
    report = json.loads((built / "report.json").read_text(encoding="utf-8"))
    assert report["last_loss"] < report["first_loss"]
    for picture in (built / "loss.svg", built / "adapters" / "li_bai" / "v0" / "loss.svg"):
        assert picture.read_text(encoding="utf-8").lstrip().startswith("<?xml")


@pytest.mark.slow
def test_a_snapshot_that_was_changed_trains_nothing(built, text, tmp_path):
    folder = tmp_path / "snapshot"
    write_corpus_snapshot(
        folder,
        persona_folder=text / "personas" / "li_bai",
        general=[text / "sets" / "general.jsonl"],
        base="starter",
        base_fingerprint=base_fingerprint(built),
        recipe="quick",
        seed=1,
    )
    assert read_snapshot(folder).persona == "li_bai"
    with (folder / "replay_persona.jsonl").open("a", encoding="utf-8") as rows:
        rows.write("{}\n")
    with pytest.raises(SnapshotError, match="changed after it was written"):
        read_snapshot(folder)
    result = train("run", "--snapshot", folder, "--out", tmp_path / "out", "--base", built, check=False)
    assert result.returncode == 1
    assert "changed after it was written; make a new snapshot." in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_snapshot_of_another_base_is_refused_in_one_sentence(built, text, tmp_path):
    folder = tmp_path / "snapshot"
    write_corpus_snapshot(
        folder,
        persona_folder=text / "personas" / "li_bai",
        general=[],
        base="other",
        base_fingerprint="0" * 64,
        recipe="quick",
        seed=1,
    )
    result = train("run", "--snapshot", folder, "--out", tmp_path / "out", "--base", built, check=False)
    assert result.returncode == 1
    assert "make a new snapshot or configure the old base" in result.stderr
