"""From written text to a starter and an adapter, through the real trainer, small."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from data.manifest import base_fingerprint, verify
from data.snapshot import SnapshotError, read_snapshot, write_snapshot

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]


def train(*arguments, check=True):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "training", "--threads", "1", *map(str, arguments)]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=ROOT, check=False)
    assert not check or result.returncode == 0, result.stderr[-2000:]
    return result


@pytest.fixture(name="built", scope="module")
def _built(tmp_path_factory):
    """What `make starter QUICK=1` builds."""
    out = tmp_path_factory.mktemp("built")
    train("starter", "--quick", "--out", out / "starter", "--work", out / "work")
    return out / "starter"


@pytest.mark.slow
def test_a_starter_is_built_from_text_with_a_valid_adapter_per_persona(built):
    for slug in ("harry_potter", "li_bai"):
        manifest = verify(built / "adapters" / slug / "v0", base_fingerprint=base_fingerprint(built))
        assert manifest.persona == slug
    report = json.loads((built / "report.json").read_text(encoding="utf-8"))
    assert report["last_loss"] < report["first_loss"]
    for picture in (built / "loss.svg", built / "adapters" / "li_bai" / "v0" / "loss.svg"):
        assert picture.read_text(encoding="utf-8").lstrip().startswith("<?xml")


@pytest.mark.slow
def test_the_quick_build_learns_as_fast_as_when_its_curve_was_committed(built):
    losses = json.loads((built / "report.json").read_text(encoding="utf-8"))["losses"]
    committed = json.loads((HERE / "quick_losses.json").read_text(encoding="utf-8"))
    assert list(losses) == list(committed), "another number of rows or steps: build and commit the curve anew"
    for step, loss in committed.items():
        assert losses[step] == pytest.approx(loss, rel=0.1), f"step {step}"


@pytest.mark.slow
def test_a_snapshot_that_was_changed_trains_nothing(built, tmp_path):
    folder = tmp_path / "snapshot"
    write_snapshot(
        folder,
        persona_folder=ROOT / "personas" / "li_bai",
        general=[ROOT / "data" / "sets" / "general.jsonl"],
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
def test_a_snapshot_of_another_base_is_refused_in_one_sentence(built, tmp_path):
    folder = tmp_path / "snapshot"
    write_snapshot(
        folder,
        persona_folder=ROOT / "personas" / "li_bai",
        general=[],
        base="other",
        base_fingerprint="0" * 64,
        recipe="quick",
        seed=1,
    )
    result = train("run", "--snapshot", folder, "--out", tmp_path / "out", "--base", built, check=False)
    assert result.returncode == 1
    assert "make a new snapshot or configure the old base" in result.stderr
