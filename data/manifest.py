"""What an adapter folder holds and which base it belongs to, checked without loading a weight.

``manifest.json``: format, persona, ``digest`` (over peft's two files: what the adapter *is*), the base's
fingerprint, sha256 of every file, and where it came from (parent, snapshot, config, seed, code version,
metrics). A safetensors file carries no checksum of its own: a flipped byte loads without a word.

ManifestError
├── ManifestBroken     no manifest, or not one of ours
├── FileChanged        a file is missing or not the one that was published
├── FileForbidden      a link, a path out of the folder, a pickle, a file nobody announced
├── BaseDiffers        trained for another base
└── AdapterUnfit       a rank, target or kind that not every engine can serve
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = [
    "MANIFEST",
    "PEFT_FILES",
    "RANKS",
    "TARGETS",
    "AdapterUnfit",
    "BaseDiffers",
    "FileChanged",
    "FileForbidden",
    "Manifest",
    "ManifestBroken",
    "ManifestError",
    "adapter_digest",
    "base_fingerprint",
    "read_manifest",
    "verify",
    "write_manifest",
]

MANIFEST = "manifest.json"
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PEFT_FILES = (CONFIG, WEIGHTS)
FORMAT = 1
# vLLM's --max-lora-rank takes 8, 16, 32, 64 and larger; the common ones are enough for a persona.
RANKS = (8, 16, 32, 64)
# Attention and MLP linears, by the names that transformers' decoders give them.
TARGETS = frozenset(
    {"q_proj", "k_proj", "v_proj", "o_proj", "qkv_proj", "out_proj", "dense"}
    | {"gate_proj", "up_proj", "down_proj", "gate_up_proj", "fc1", "fc2"}
)
# Anything else than these values makes an adapter that fixed LoRA slots cannot hold.
PLAIN = {
    "alora_invocation_tokens": None,
    "bias": "none",
    "fan_in_fan_out": False,
    "lora_bias": False,
    "modules_to_save": None,
    "rank_pattern": None,
    "alpha_pattern": None,
    "layers_to_transform": None,
    "layer_replication": None,
    "trainable_token_indices": None,
    "target_parameters": None,
}
TENSOR = re.compile(r"\.(?P<target>\w+)\.lora_(?P<half>[AB])\.weight$")
MAX_HEADER_BYTES = 16 * 2**20


class ManifestError(Exception):
    """The adapter folder is not what it must be."""


class ManifestBroken(ManifestError):
    """The folder has no valid manifest."""


class FileChanged(ManifestError):
    """A file is missing or differs from the one that was published."""


class FileForbidden(ManifestError):
    """The folder holds a file that no adapter needs."""


class BaseDiffers(ManifestError):
    """The adapter was trained for another base."""


class AdapterUnfit(ManifestError):
    """The adapter's shape is not one that every engine serves."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What ``manifest.json`` says; ``details`` is where the adapter came from."""

    digest: str
    base_fingerprint: str
    files: Mapping[str, str]
    details: Mapping[str, Any]

    @property
    def persona(self) -> str:
        return str(self.details.get("persona") or "")


def base_fingerprint(folder: Path) -> str:
    """sha256 over the digests of config.json, tokenizer.json and the weight files, not the quantisation.

    Raises:
        ManifestBroken: one of them is missing.
    """
    weights = sorted(folder.glob("*.safetensors"))
    files = [folder / "config.json", folder / "tokenizer.json", *weights]
    missing = [path.name for path in files if not path.is_file()]
    if missing or not weights:
        raise ManifestBroken(
            f"{folder} holds no {', '.join(missing) or 'model in safetensors'}; a base needs config.json, "
            "tokenizer.json and its weights in safetensors."
        )
    with ThreadPoolExecutor(max_workers=4) as pool:  # hashing lets go of the interpreter lock
        digests = pool.map(_sha256, files)
        return _joined(dict(zip((path.name for path in files), digests, strict=True)))


def adapter_digest(folder: Path) -> str:
    """sha256 over the digests of peft's two files."""
    return _joined({name: _sha256(folder / name) for name in PEFT_FILES})


def write_manifest(folder: Path, *, base_fingerprint: str, details: Mapping[str, Any]) -> Manifest:
    """Writes and syncs ``manifest.json`` for the files that lie there; to be called last before publishing.

    Args:
        folder: the staging folder.
        base_fingerprint: of the base the adapter was trained on.
        details: persona, parent, snapshot, config, seed, code_version, metrics.
    """
    files = {path.name: _sha256(path) for path in sorted(folder.iterdir()) if path.name != MANIFEST}
    manifest = Manifest(adapter_digest(folder), base_fingerprint, files, dict(details))
    value = {
        "format": FORMAT,
        "digest": manifest.digest,
        "base_fingerprint": base_fingerprint,
        "files": files,
        **details,
    }
    with (folder / MANIFEST).open("w", encoding="utf-8") as file:
        json.dump(value, file, ensure_ascii=False, indent=1)
        file.flush()
        os.fsync(file.fileno())
    for name in files:
        _sync(folder / name)
    _sync(folder)
    return manifest


def read_manifest(folder: Path) -> Manifest:
    """What the manifest says, not yet whether it is true.

    Raises:
        ManifestBroken: there is none, or it is not one of ours.
    """
    if not folder.is_dir():
        raise ManifestBroken(f"There is no adapter folder {folder}.")
    value = _json(folder / MANIFEST)
    names = ("digest", "base_fingerprint", "files")
    digest, fingerprint, files = (value.pop(name, None) for name in names)
    known = value.pop("format", None) == FORMAT
    if not (known and isinstance(digest, str) and isinstance(fingerprint, str) and _is_table(files)):
        raise ManifestBroken(f"{folder / MANIFEST} is not a manifest of format {FORMAT}.")
    return Manifest(digest, fingerprint, files, value)


def verify(folder: Path, *, base_fingerprint: str | None = None) -> Manifest:
    """Checks everything that can be checked without the base: files, digests, base, rank and targets.

    Raises:
        ManifestError: the first thing that is wrong, in one sentence.
    """
    manifest = read_manifest(folder)
    _check_names(folder, manifest)
    _check_digests(folder, manifest)
    if base_fingerprint is not None and manifest.base_fingerprint != base_fingerprint:
        raise BaseDiffers(
            f"The adapter in {folder} was trained for base {manifest.base_fingerprint[:12]}, "
            f"and this base is {base_fingerprint[:12]}."
        )
    config = _json(folder / CONFIG)
    rank = _check_config(folder, config)
    _check_tensors(folder, rank)
    return manifest


def _check_names(folder: Path, manifest: Manifest) -> None:
    for name in manifest.files:
        if Path(name).name != name or name in {"..", MANIFEST}:
            raise FileForbidden(
                f"The manifest in {folder} names {name!r}, which is not a file of that folder."
            )
    absent = [name for name in PEFT_FILES if name not in manifest.files]
    if absent:
        raise ManifestBroken(f"The manifest in {folder} does not name {absent[0]}.")
    for path in sorted(folder.iterdir()):
        if path.is_symlink() or not path.is_file():
            raise FileForbidden(f"{path} is a link or a folder; an adapter holds plain files only.")
        if path.name not in manifest.files and path.name != MANIFEST and not path.name.startswith("."):
            raise FileForbidden(f"{path} is not named in the manifest; remove it.")
        if path.suffix in {".bin", ".pt", ".pth", ".pkl", ".ckpt"}:
            raise FileForbidden(f"{path} is a pickle; adapters come as safetensors only.")


def _check_digests(folder: Path, manifest: Manifest) -> None:
    found: dict[str, str] = {}
    for name, expected in manifest.files.items():
        if not (folder / name).is_file():
            raise FileChanged(f"{folder / name} is missing.")
        found[name] = _sha256(folder / name)
        if found[name] != expected:
            raise FileChanged(f"{folder / name} is not the file that was published: its sha256 differs.")
    if _joined({name: found[name] for name in PEFT_FILES}) != manifest.digest:
        raise FileChanged(f"The digest in {folder / MANIFEST} is not that of its files.")


def _check_config(folder: Path, config: Mapping[str, Any]) -> int:
    rank, targets = config.get("r"), config.get("target_modules")
    if config.get("peft_type") != "LORA":
        raise AdapterUnfit(f"The adapter in {folder} is {config.get('peft_type')}, not LoRA.")
    if rank not in RANKS:
        raise AdapterUnfit(f"The adapter in {folder} has rank {rank}; allowed are 8, 16, 32 and 64.")
    if not isinstance(targets, list) or not targets or not TARGETS.issuperset(targets):
        raise AdapterUnfit(
            f"The adapter in {folder} targets {targets}; only attention and MLP linears can be served."
        )
    variants = {name: False for name in config if name.startswith("use_") and name != "use_rslora"}
    for name, plain in (PLAIN | variants).items():
        if config.get(name) not in (plain, None, {}, []):
            raise AdapterUnfit(f"The adapter in {folder} sets {name}, which cannot be served.")
    return int(rank)


def _check_tensors(folder: Path, rank: int) -> None:
    header = _header(folder / WEIGHTS)
    if not header:
        raise AdapterUnfit(f"{folder / WEIGHTS} holds no tensors.")
    for name, entry in header.items():
        found = TENSOR.search(name)
        if found is None or found["target"] not in TARGETS:
            raise AdapterUnfit(f"{folder / WEIGHTS} holds {name!r}, which is no LoRA weight of a linear.")
        shape = entry["shape"]
        side = 0 if found["half"] == "A" else -1
        if len(shape) != 2 or shape[side] != rank:  # noqa: PLR2004 - a matrix
            raise AdapterUnfit(f"{name!r} in {folder / WEIGHTS} has shape {shape}, which is not rank {rank}.")


def _header(path: Path) -> dict[str, Any]:
    """The tensors a safetensors file declares: eight bytes of length, then JSON, then exactly their data."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 0 < length <= min(MAX_HEADER_BYTES, size - 8):
            raise FileChanged(f"{path} is cut off or is not a safetensors file.")
        raw = file.read(length)
    try:
        header = json.loads(raw)
        header.pop("__metadata__", None)
        end = max((entry["data_offsets"][1] for entry in header.values()), default=0)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise FileChanged(f"{path} is not a safetensors file.") from error
    if 8 + length + end != size:
        raise FileChanged(f"{path} is cut off or carries more than it declares.")
    return dict(header)


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ManifestBroken(f"{path} is missing or is not JSON.") from error
    if not isinstance(value, dict):
        raise ManifestBroken(f"{path} is not a JSON object.")
    return value


def _is_table(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(text, str) for text in value.values())


def _joined(digests: Mapping[str, str]) -> str:
    lines = "".join(f"{name} {digests[name]}\n" for name in sorted(digests))
    return hashlib.sha256(lines.encode()).hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
