"""Each service's real command, as a process with exactly its declared environment, secrets and volumes.

There is no container here, so that what only one gives has a stand-in: every mount lies below a folder of
the service's own, the services find each other on loopback, and their two ports are free ones.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
import socket
import sqlite3
import sys
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
import yaml

from tests.fakes.page import Tab, found
from tests.waiting import until

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
# Compose's own substitution, with BASE_FOLDER unset.
COMPOSE = yaml.safe_load(re.sub(r"\$\{BASE_FOLDER:-(.+?)\}", r"\1", TEXT))
# What the README's command writes; compose itself makes the named volumes.
SECRETS = {"discord_token": "", "telegram_token": "", "worker_secret": "a long random word\n"}
pytestmark = pytest.mark.slow


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def seconds(text):
    return float(text.removesuffix("s"))


class Service:
    """One service of the file; ``root`` is its container's file system, ``shared`` what several mount."""

    def __init__(self, name, root, shared, ports):
        self.declared = COMPOSE["services"][name]
        self.root = root
        root.mkdir()
        mounts = [self._mounted(line, shared) for line in self.declared["volumes"]]
        mounts += [self._made(folder) for folder in self.declared["tmpfs"]]
        mounts += [self._secret(secret, shared) for secret in self.declared.get("secrets", ())]
        self.stand_ins = {
            **{place: str(self.below(place)) for place in mounts},
            **{f"//{host}:": "//127.0.0.1:" for host in COMPOSE["services"]},
            "0.0.0.0": "127.0.0.1",
            **ports,
        }
        self.environment = {name: self.here(value) for name, value in self.declared["environment"].items()}
        # The image's own variable: where `python` and `troupe` are.
        self.environment["PATH"] = f"{Path(sys.executable).parent}:{os.defpath}"

    def below(self, place):
        return self.root / place.lstrip("/")

    def here(self, text):
        """A word of the file with its container's places put on this machine, in one pass."""
        longest_first = sorted(self.stand_ins, key=len, reverse=True)
        return re.sub("|".join(map(re.escape, longest_first)), lambda match: self.stand_ins[match[0]], text)

    def _mounted(self, line, shared):
        source, place, *_ = line.split(":")
        if source.startswith("."):
            # A copy of its own: no service can see a base by another's path.
            shutil.copytree(ROOT / source, self.below(place))
        else:
            (shared / source).mkdir(exist_ok=True)
            self._linked(place, shared / source)
        return place

    def _made(self, place):
        self.below(place).mkdir(parents=True)
        return place

    def _secret(self, name, shared):
        file = shared / COMPOSE["secrets"][name]["file"]
        file.parent.mkdir(exist_ok=True)
        file.write_text(SECRETS[name])
        self._linked(f"/run/secrets/{name}", file)
        return f"/run/secrets/{name}"

    def _linked(self, place, target):
        self.below(place).parent.mkdir(parents=True, exist_ok=True)
        self.below(place).symlink_to(target)

    async def start(self, command, output=None):
        return await asyncio.create_subprocess_exec(
            *map(self.here, command),
            env=self.environment,
            cwd=self.root,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )

    @contextlib.asynccontextmanager
    async def running(self):
        """The service's process; whatever happens, nothing of its session is left afterwards."""
        self.process = await self.start(self.declared["command"])
        try:
            yield self
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            await self.process.wait()

    async def healthy(self):
        """Runs the declared check until it passes, for as long as compose would wait for it."""
        check = self.declared["healthcheck"]
        kind, *command = check["test"]
        assert kind == "CMD"
        patience = seconds(check["start_period"]) + check["retries"] * seconds(check["interval"])
        async with asyncio.timeout(patience):
            while await (await self.start(command, asyncio.subprocess.DEVNULL)).wait():
                self.must_be_alive()
                await asyncio.sleep(0.5)

    def must_be_alive(self):
        assert self.process.returncode is None, f"{self.declared['command']} ended; its output says why"

    async def stopped(self):
        """The exit code after what `docker compose stop` sends."""
        self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(seconds(self.declared["stop_grace_period"])):
            return await self.process.wait()


@pytest.fixture(name="services")
def _services(tmp_path):
    ports = {"8080": str(free_port()), "8081": str(free_port())}
    shared = tmp_path / "shared"
    shared.mkdir()
    return {name: Service(name, tmp_path / name, shared, ports) for name in COMPOSE["services"]}


async def asks_for_work(training, page):
    """Waits for the first POST that the bot accepts: the worker's, as long as nobody else posts."""
    async with httpx.AsyncClient(base_url=page) as client, asyncio.timeout(60):
        while '{method="POST",status="2xx"}' not in (await client.get("/metrics")).text:
            training.must_be_alive()
            await asyncio.sleep(0.2)


async def test_the_declared_commands_are_healthy_answer_a_chat_store_a_vote_and_end_when_told(services):
    engine, bot, training = (services[name] for name in ("engine", "bot", "training"))
    page = bot.here("http://bot:8080")
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(engine.running())
        await engine.healthy()
        # The bot's container has no base, and this machine has one file system: it must ask the engine.
        (engine.below("/srv/base") / "tokenizer.json").unlink()
        await stack.enter_async_context(bot.running())
        await bot.healthy()
        await stack.enter_async_context(training.running())
        await asks_for_work(training, page)

        tab = await stack.enter_async_context(Tab(SimpleNamespace(url=page)))
        await tab.open("li_bai")
        async with tab.following():
            assert (await tab.say("你好")).status_code == 200
            await until(lambda: any("vote:" in news for news in tab.news), seconds=60)
        reply_id = found(r"vote:([\w-]+):u", "".join(tab.news))
        assert (await tab.post("/chat/li_bai/press", data=f"vote:{reply_id}:u")).status_code == 200

        store = bot.below("/var/lib/troupe/store.db")
        with contextlib.closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as connection:
            (reply,) = connection.execute("SELECT id, state, base, adapter FROM reply").fetchall()
            votes = connection.execute("SELECT reply_id, value FROM vote WHERE closed_at IS NULL").fetchall()
        assert reply[:3] == (reply_id, "complete", engine.environment["TROUPE_BASE"])
        assert reply[3].startswith("li_bai@")
        assert votes == [(reply_id, 1)]

        for service in (training, bot, engine):
            service.must_be_alive()
            assert await service.stopped() == 0
