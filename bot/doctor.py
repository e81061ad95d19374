"""`troupe doctor`: what is set, what is missing, what is unsafe; looks at everything, changes nothing."""

from __future__ import annotations

import shutil
import socket
import sqlite3
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from bot.engine_process import read_engine_file
from bot.settings import Settings
from data.home import Home
from data.manifest import ManifestError, base_fingerprint, verify
from personas.loader import load_cast

__all__ = ["Finding", "examine"]

Level = Literal["fine", "missing", "unsafe", "broken"]

# Two connections that write at once can corrupt a WAL before this version; we have one writer.
FIXED_SQLITE = (3, 51, 3)
LOOPBACK = ("127.0.0.1", "::1", "localhost")
LEAST_FREE_MIB = 500
ENGINE_PACKAGES = ("torch", "transformers", "peft", "bitsandbytes")


@dataclass(frozen=True, slots=True)
class Finding:
    level: Level
    what: str
    text: str


def examine(settings: Settings, *, shipped: Path, adapters: Path, base: Path) -> Iterator[Finding]:
    """Every finding, in the order in which one would look."""
    home = Home(settings.home.resolve())
    yield from _machine(home)
    yield from _tokens(settings)
    yield from _network(settings, home)
    yield from _models(settings, home, shipped=shipped, adapters=adapters, base=base)


def _machine(home: Home) -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    yield Finding("fine", "Python", version)
    missing = [name for name in ENGINE_PACKAGES if find_spec(name) is None]
    if missing:
        yield Finding("missing", "packages", f"{', '.join(missing)} for the engine; run make run")
    sqlite = sqlite3.sqlite_version
    note = "" if sqlite3.sqlite_version_info >= FIXED_SQLITE else " (safe with our single writer)"
    yield Finding("fine", "SQLite", sqlite + note)
    gpu = shutil.which("nvidia-smi") is not None
    yield Finding("fine", "GPU", "an NVIDIA driver is here" if gpu else "none; the engine runs on the CPU")
    if not home.root.is_dir():
        yield Finding("fine", "home", f"{home.root} will be made at the first run")
        return
    mode = stat.S_IMODE(home.root.stat().st_mode)
    if mode & 0o077:
        yield Finding("unsafe", "home", f"others can read {home.root}; run chmod 700 {home.root}")
    else:
        yield Finding("fine", "home", str(home.root))
    if home.secret_file.exists() and stat.S_IMODE(home.secret_file.stat().st_mode) & 0o077:
        yield Finding("unsafe", "secret.key", f"others can read it; run chmod 600 {home.secret_file}")
    free = shutil.disk_usage(home.root).free // 2**20
    if free < LEAST_FREE_MIB:
        yield Finding("unsafe", "disk", f"{free} MiB free; the store stops remembering when it is full")


def _tokens(settings: Settings) -> Iterator[Finding]:
    for name, token in (
        ("DISCORD_TOKEN", settings.discord_token),
        ("TELEGRAM_TOKEN", settings.telegram_token),
    ):
        if token is None:
            yield Finding("missing", name, f"not set; that platform stays off (also {name}_FILE)")
        else:
            yield Finding("fine", name, "set")


def _network(settings: Settings, home: Home) -> Iterator[Finding]:
    if settings.web_host in LOOPBACK:
        yield Finding("fine", "page", f"http://{settings.web_host}:{settings.web_port}, this machine only")
    else:
        text = f"listens on {settings.web_host}: anybody who reaches it can chat; put a proxy in front"
        yield Finding("unsafe", "page", text)
    running = read_engine_file(home)
    for name, port in (("web_port", settings.web_port), ("engine_port", settings.engine_port)):
        if running is None and port and _is_taken(port):
            yield Finding("broken", name, f"{port} is in use; stop that program or set {name}")
    if settings.engine_urls:
        yield Finding("fine", "engine", f"configured: {', '.join(settings.engine_urls)}")
        if settings.train_policy == "pause":
            text = "pause is as coexist: the engines of engine_urls are not ours to end while a run trains"
            yield Finding("fine", "train_policy", text)
    elif running is not None:
        yield Finding("fine", "engine", f"runs at {running.url}")


def _models(
    settings: Settings, home: Home, *, shipped: Path, adapters: Path, base: Path
) -> Iterator[Finding]:
    cast = load_cast([shipped, home.personas])
    for slug, reason in cast.broken:
        yield Finding("broken", f"persona {slug}", reason)
    if settings.engine_urls:
        return
    if not base.is_dir():
        if settings.base == "starter" or "/" not in settings.base or settings.base.startswith(("/", ".")):
            yield Finding("broken", "base", f"there is no folder {base}; set base (TROUPE_BASE)")
        else:
            yield Finding("fine", "base", f"{settings.base}, from the hub at the first start")
        return
    try:
        fingerprint = base_fingerprint(base)
    except ManifestError as error:
        yield Finding("broken", "base", str(error))
        return
    yield Finding("fine", "base", f"{settings.base}, fingerprint {fingerprint[:12]}")
    for slug in cast.personas:
        yield from _adapter(slug, fingerprint, [adapters, home.adapters])


def _adapter(slug: str, fingerprint: str, roots: list[Path]) -> Iterator[Finding]:
    reasons = []
    for root in roots:
        for manifest in sorted(root.glob(f"{slug}/*/manifest.json")):
            try:
                digest = verify(manifest.parent, base_fingerprint=fingerprint).digest
            except ManifestError as error:
                reasons.append(str(error))
                continue
            yield Finding("fine", f"persona {slug}", f"adapter {manifest.parent.name} ({digest[:8]})")
            return
    why = f" ({reasons[0]})" if reasons else ""
    text = f"no adapter for this base: prompt only{why}; run troupe train {slug} --from corpus"
    yield Finding("missing", f"persona {slug}", text)


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
