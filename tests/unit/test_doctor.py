"""The doctor says what is set, missing, unsafe or broken, and never a token."""

from __future__ import annotations

import json
import os
import socket

import pytest

from bot.doctor import examine
from bot.settings import load_settings
from data.home import Home
from data.manifest import base_fingerprint
from tests.fakes.adapter import adapter
from tests.fakes.troupe import ROOT

SECRET = "123456789:AAnot-a-real-token-but-shaped-like-one-abc"


@pytest.fixture(name="base")
def _base(tmp_path):
    """Enough of a base to have a fingerprint."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "qwen3"}))
    (folder / "tokenizer.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


@pytest.fixture(name="look")
def _look(tmp_path, base):
    def look(**environment):
        values = {"TROUPE_HOME": str(tmp_path / "home"), "TROUPE_WEB_PORT": "0", "TROUPE_ENGINE_PORT": "0"}
        settings = load_settings({**values, "TROUPE_BASE": str(base), **environment})
        findings = examine(
            settings,
            shipped=ROOT / "personas",
            adapters=tmp_path / "adapters",
            base=tmp_path / settings.base,
        )
        return {finding.what: (finding.level, finding.text) for finding in findings}

    return look


def test_a_fresh_machine_is_told_what_is_missing_and_nothing_is_made(look, tmp_path):
    found = look()
    assert found["Python"][0] == "fine"
    assert found["DISCORD_TOKEN"][0] == found["TELEGRAM_TOKEN"][0] == "missing"
    assert found["base"][0] == "fine"
    level, text = found["persona li_bai"]
    assert level == "missing"
    assert text.endswith("prompt only; run troupe train li_bai --from corpus")
    assert not (tmp_path / "home").exists()


def test_a_token_is_set_and_never_shown(look):
    found = look(TELEGRAM_TOKEN=SECRET)
    assert found["TELEGRAM_TOKEN"] == ("fine", "set")
    assert SECRET not in str(found)


def test_an_adapter_of_this_base_is_fine_and_a_damaged_one_has_its_reason(look, tmp_path, base):
    folder = tmp_path / "adapters/li_bai/v0"
    digest = adapter(folder, fingerprint=base_fingerprint(base))
    assert look()["persona li_bai"] == ("fine", f"adapter v0 ({digest[:8]})")
    (folder / "adapter_model.safetensors").write_bytes(b"swapped")
    level, text = look()["persona li_bai"]
    assert level == "missing"
    assert "adapter_model.safetensors" in text
    assert "troupe train li_bai" in text


def test_a_base_that_is_not_there_and_one_from_the_hub(look, tmp_path):
    assert look(TROUPE_BASE="nowhere")["base"][0] == "broken"
    assert look(TROUPE_BASE=str(tmp_path / "gone"))["base"][0] == "broken"
    level, text = look(TROUPE_BASE="Qwen/Qwen3-8B")["base"]
    assert level == "fine"
    assert "first start" in text


def test_what_others_can_read_is_unsafe(look, tmp_path):
    home = Home(tmp_path / "home")
    home.prepare()
    home.secret()
    assert look()["home"][0] == "fine"
    home.root.chmod(0o755)
    home.secret_file.chmod(0o644)
    found = look()
    assert found["home"][0] == found["secret.key"][0] == "unsafe"
    assert "chmod 700" in found["home"][1]


def test_a_page_for_everybody_is_unsafe(look):
    assert look()["page"][0] == "fine"
    assert look(TROUPE_WEB_HOST="0.0.0.0")["page"][0] == "unsafe"


def test_a_taken_port_is_broken_unless_our_own_engine_has_it(look, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert look(TROUPE_WEB_PORT=port)["web_port"][0] == "broken"
        home = Home(tmp_path / "home")
        home.prepare()
        url = f"http://127.0.0.1:{port}"
        home.engine_file.write_text(json.dumps({"url": url, "pid": os.getpid(), "base_fingerprint": "f"}))
        found = look(TROUPE_ENGINE_PORT=port)
        assert "engine_port" not in found
        assert url in found["engine"][1]


def test_a_broken_persona_has_its_reason(look, tmp_path):
    folder = tmp_path / "home/personas/gandalf"
    folder.mkdir(parents=True)
    (folder / "persona.toml").write_text("format = 1\nwand = true\n")
    level, text = look()["persona gandalf"]
    assert level == "broken"
    assert "wand" in text


def test_configured_engines_need_no_base(look):
    found = look(TROUPE_ENGINE_URLS="http://engine:8081")
    assert found["engine"] == ("fine", "configured: http://engine:8081")
    assert "base" not in found


def test_a_pause_of_engines_that_are_not_ours_is_said_to_be_none(look):
    found = look(TROUPE_TRAIN_POLICY="pause", TROUPE_ENGINE_URLS="http://127.0.0.1:1")
    assert found["train_policy"] == (
        "fine",
        "pause is as coexist: the engines of engine_urls are not ours to end while a run trains",
    )
    assert "train_policy" not in look(TROUPE_TRAIN_POLICY="pause")
    assert "train_policy" not in look(TROUPE_ENGINE_URLS="http://127.0.0.1:1")
