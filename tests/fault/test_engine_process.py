"""The engine as a process: it starts, says where it is, and always ends."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from engine.client import HttpEngine
from engine.errors import EngineUnavailable
from engine.protocol import Message, Sampling
from tests.fakes import tiny

ROOT = Path(__file__).resolve().parents[2]
ENDLESS = Sampling(max_tokens=900, temperature=2.0, seed=4)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny.make_base(tmp_path_factory.mktemp("process") / "base")


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "engine", *map(str, arguments)]


@contextmanager
def started(home: Path, *arguments: object, prefix: tuple[str, ...] = ()):
    environment = {**os.environ, "TROUPE_HOME": str(home), "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [*prefix, *command(*arguments)], cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def note_of(home: Path, process: subprocess.Popen[str]) -> dict[str, object]:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if (home / "engine.json").is_file():
            return json.loads((home / "engine.json").read_text())
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    raise AssertionError("the engine did not come up")


def until(fact, *, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    """Nobody reaps an adopted child in a container without init: a zombie has ended, too."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def refused(home: Path, *arguments: object) -> tuple[int, str]:
    with started(home, *arguments) as process:
        _, words = process.communicate(timeout=120)
        return process.returncode, words


@pytest.mark.slow
async def test_sigterm_in_mid_reply_ends_it_in_seconds_and_takes_its_note_away(base, tmp_path):
    with started(tmp_path, "--base", base, "--port", 0, "--threads", 1) as process:
        note = await asyncio.to_thread(note_of, tmp_path, process)
        assert set(note) == {"url", "pid", "base_fingerprint", "tokenizer", "context"}
        assert note["pid"] == process.pid
        client = HttpEngine(str(note["url"]))
        deltas = client.generate("base", [Message("user", "go")], ENDLESS, request_id="1")
        await anext(deltas)
        process.send_signal(signal.SIGTERM)
        with pytest.raises(EngineUnavailable):
            [delta async for delta in deltas]
        code = await asyncio.to_thread(process.wait, 15)
        assert code == 0
        assert not (tmp_path / "engine.json").exists()
        assert "Traceback" not in process.stderr.read()
        await client.close()


PARENT = """
import subprocess, sys, os, time
child = subprocess.Popen([*sys.argv[1:], "--parent-pid", str(os.getpid())])
time.sleep(600)
"""


@pytest.mark.slow
def test_an_engine_whose_supervisor_was_killed_ends_by_itself(base, tmp_path):
    prefix = (sys.executable, "-c", PARENT)
    with started(tmp_path, "--base", base, "--port", 0, prefix=prefix) as parent:
        pid = int(str(note_of(tmp_path, parent)["pid"]))
        assert pid != parent.pid
        parent.kill()
        try:
            until(lambda: not is_alive(pid))
        finally:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        assert not (tmp_path / "engine.json").exists()


def test_a_taken_port_is_one_sentence(base, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        code, words = refused(tmp_path, "--base", base, "--port", port)
    assert code == 1
    assert words.count("\n") == 1
    assert f"127.0.0.1:{port}" in words


@pytest.mark.slow
def test_a_missing_base_is_one_sentence(tmp_path):
    code, words = refused(tmp_path, "--base", "/nowhere/at/all", "--port", 0)
    assert code == 1
    assert words == "There is no base model folder /nowhere/at/all; correct the setting base.\n"
    assert not (tmp_path / "engine.json").exists()


def test_an_unknown_flag_or_value_is_refused_at_once(tmp_path):
    assert refused(tmp_path, "--quantise", "nf4")[0] == 2
    code, words = refused(tmp_path, "--quantize", "gptq")
    assert code == 1
    assert words == "quantize cannot be 'gptq'; choose auto, nf4, int8, none.\n"
