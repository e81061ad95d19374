"""An adapter folder is refused for the first thing that is wrong with it, by type and in one sentence."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from data.manifest import (
    AdapterUnfit,
    BaseDiffers,
    FileChanged,
    FileForbidden,
    ManifestBroken,
    base_fingerprint,
    verify,
    write_manifest,
)
from tests.fakes import tiny


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("manifest")
    base = tiny.make_base(root / "base")
    return base, tiny.make_adapter(root / "adapter", base)


@pytest.fixture
def adapter(made, tmp_path) -> Path:
    return Path(shutil.copytree(made[1], tmp_path / "adapter"))


def resealed(folder: Path) -> Path:
    """As somebody would publish it who wrote the manifest after the change."""
    old = json.loads((folder / "manifest.json").read_text())
    write_manifest(folder, base_fingerprint=old["base_fingerprint"], details={"persona": old["persona"]})
    return folder


def refused(folder: Path, kind: type[Exception], word: str, **known: str) -> None:
    with pytest.raises(kind) as caught:
        verify(folder, **known)
    sentence = str(caught.value)
    assert word in sentence
    assert sentence.endswith(".")
    assert "\n" not in sentence


def test_a_good_folder_passes_and_tells_whose_it_is(made, adapter):
    manifest = verify(adapter, base_fingerprint=base_fingerprint(made[0]))
    assert manifest.persona == "harry_potter"
    assert set(manifest.files) == {"adapter_config.json", "adapter_model.safetensors"}


def test_the_digest_is_of_the_adapter_and_not_of_its_report(adapter):
    before = verify(adapter).digest
    (adapter / "report.md").write_text("better")
    resealed(adapter)
    assert verify(adapter).digest == before


def test_the_fingerprint_of_a_base_changes_with_a_weight_and_not_with_its_place(made, tmp_path):
    copy = Path(shutil.copytree(made[0], tmp_path / "copy"))
    assert base_fingerprint(copy) == base_fingerprint(made[0])
    weights = copy / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    assert base_fingerprint(copy) != base_fingerprint(made[0])


def test_a_base_without_safetensors_has_no_fingerprint(made, tmp_path):
    copy = Path(shutil.copytree(made[0], tmp_path / "copy"))
    (copy / "model.safetensors").rename(copy / "pytorch_model.bin")
    with pytest.raises(ManifestBroken, match="safetensors"):
        base_fingerprint(copy)


def test_no_folder_and_no_manifest(tmp_path, adapter):
    refused(tmp_path / "ghost", ManifestBroken, "no adapter folder")
    (adapter / "manifest.json").write_text("{nonsense")
    refused(adapter, ManifestBroken, "not JSON")
    (adapter / "manifest.json").write_text('{"format": 99}')
    refused(adapter, ManifestBroken, "not a manifest")


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors"])
def test_a_flipped_byte(adapter, name):
    data = bytearray((adapter / name).read_bytes())
    data[len(data) // 2] ^= 1
    (adapter / name).write_bytes(data)
    refused(adapter, FileChanged, name)


def test_a_digest_that_is_not_of_the_files(adapter):
    tiny.edit_json(adapter / "manifest.json", digest="0" * 64)
    refused(adapter, FileChanged, "digest")


def test_another_base(adapter):
    refused(adapter, BaseDiffers, "trained for base", base_fingerprint="e" * 64)


def test_a_missing_file(adapter):
    (adapter / "adapter_model.safetensors").unlink()
    refused(adapter, FileChanged, "missing")


def test_a_link_a_folder_and_a_stranger(adapter, tmp_path):
    (adapter / "notes.txt").symlink_to(tmp_path)
    refused(adapter, FileForbidden, "link")
    (adapter / "notes.txt").unlink()
    (adapter / "more").mkdir()
    refused(adapter, FileForbidden, "folder")
    (adapter / "more").rmdir()
    (adapter / "modeling.py").write_text("import os")
    refused(adapter, FileForbidden, "not named")


def test_a_path_out_of_the_folder(adapter):
    files = json.loads((adapter / "manifest.json").read_text())["files"]
    tiny.edit_json(adapter / "manifest.json", files=files | {"../secret.key": "0" * 64})
    refused(adapter, FileForbidden, "not a file of that folder")


def test_a_pickle_even_if_announced(adapter):
    (adapter / "adapter_model.bin").write_bytes(b"\x80\x04.")
    refused(resealed(adapter), FileForbidden, "pickle")


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"r": 12}, "rank 12"),
        ({"r": 16}, "rank 16"),
        ({"peft_type": "IA3"}, "IA3"),
        ({"target_modules": ["lm_head"]}, "targets"),
        ({"target_modules": "all-linear"}, "targets"),
        ({"use_dora": True}, "use_dora"),
        ({"bias": "all"}, "bias"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"rank_pattern": {"q_proj": 4}}, "rank_pattern"),
    ],
)
def test_what_no_slot_can_hold(adapter, change, word):
    tiny.edit_json(adapter / "adapter_config.json", **change)
    refused(resealed(adapter), AdapterUnfit, word)


@pytest.mark.parametrize("damage", ["cut", "longer", "empty", "header"])
def test_a_damaged_weight_file_even_if_announced(adapter, damage):
    path = adapter / "adapter_model.safetensors"
    data = path.read_bytes()
    path.write_bytes(
        {
            "cut": data[:-10],
            "longer": data + b"xx",
            "empty": b"",
            "header": b"\xff" * 8 + data[8:],
        }[damage]
    )
    refused(resealed(adapter), FileChanged, "adapter_model.safetensors")
