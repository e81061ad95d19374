"""The compose file: hardened, secrets as files, and only the bot reaches outside."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(name="services", scope="module")
def _services():
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", ["bot", "engine", "training"])
def test_each_service_is_hardened(services, name):
    service = services["services"][name]
    assert service["user"] == "10001"
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["init"] is True
    assert "/tmp" in service["tmpfs"]


def test_only_the_bot_reaches_outside_and_publishes_on_loopback_alone(services):
    networks = {name: service["networks"] for name, service in services["services"].items()}
    assert networks == {"bot": ["inside", "outside"], "engine": ["inside"], "training": ["inside"]}
    assert services["networks"]["inside"] == {"internal": True}
    published = {name: service.get("ports", []) for name, service in services["services"].items()}
    assert published == {"bot": ["127.0.0.1:8080:8080"], "engine": [], "training": []}


def test_platform_tokens_reach_the_bot_alone_and_as_files(services):
    assert set(services["services"]["bot"]["secrets"]) == {"discord_token", "telegram_token", "worker_secret"}
    assert "secrets" not in services["services"]["engine"]
    assert services["services"]["training"]["secrets"] == ["worker_secret"]
    for service in services["services"].values():
        for variable, value in service["environment"].items():
            secret = "TOKEN" in variable or "SECRET" in variable
            assert not secret or (variable.endswith("_FILE") and value.startswith("/run/secrets/"))


def test_the_engine_cannot_change_adapters_or_the_base(services):
    mounts = services["services"]["engine"]["volumes"]
    assert all(mount.endswith(":ro") for mount in mounts)


def test_bot_and_engine_are_health_checked_and_the_gpu_is_reserved(services):
    for name in ("bot", "engine"):
        check = services["services"][name]["healthcheck"]
        assert check["test"][0] == "CMD"
        assert check["retries"] == 4
    (device,) = services["services"]["engine"]["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}


def test_one_service_builds_the_image_that_all_run(services):
    """Guards: compose builds services beside each other, and a second build of one tag fails at first."""
    assert {service["image"] for service in services["services"].values()} == {"troupe"}
    assert [name for name, service in services["services"].items() if "build" in service] == ["engine"]


def test_the_image_has_every_place_of_a_named_volume_for_the_services_user(services):
    """Guards: a volume that is mounted where the image has nothing belongs to root, and is not writable."""
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    made = re.search(r"install -d .*-o troupe -g troupe (.+)", dockerfile)
    assert made is not None
    mounts = [mount.split(":") for service in services["services"].values() for mount in service["volumes"]]
    assert {place for source, place, *_ in mounts if source in services["volumes"]} == set(made[1].split())
    assert "useradd --uid 10001 " in dockerfile


@pytest.mark.parametrize("name", ["README.md", "README.zh-CN.md"])
def test_what_the_readme_says_of_docker_fits_the_file(services, name):
    section = (ROOT / name).read_text(encoding="utf-8").split("\n## Docker\n")[1].split("\n## ")[0]
    made, start = re.search(r"```\n(.+)\n(.+)\n```", section).groups()
    declared = {secret["file"].removeprefix("./") for secret in services["secrets"].values()}
    assert set(re.findall(r"secrets/\w+", made)) == declared
    assert start == "docker compose up"
    assert "http://127.0.0.1:8080" in section
    text = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    assert "${BASE_FOLDER:-" in text
    assert len(re.findall(r"^ +deploy: \*gpu$", text, re.MULTILINE)) == 2


def test_every_source_in_the_dockerfile_is_in_the_tree():
    for line in (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines():
        if line.startswith("COPY "):
            *sources, _target = line.split()[1:]
            assert all((ROOT / source).exists() for source in sources), line
