"""Each service's real command, as a process with exactly its declared environment, secrets and volumes."""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
import socket
import sqlite3
import sys
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
import yaml

from tests.fakes.page import Tab
from tests.waiting import until

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Compose:
    """The services' commands with container paths, hosts and ports put on this machine."""

    def __init__(self, root):
        self.services = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]
        self.page, self.engine = free_port(), free_port()
        self.home = root / "home"
        self.places = {
            "/var/lib/troupe": str(self.home),
            "/run/secrets": str(root / "secrets"),
            "/srv/base": str(ROOT / "data" / "starter"),
            "/tmp/troupe": str(root / "scratch"),
            "http://engine:8081": f"http://127.0.0.1:{self.engine}",
            "http://bot:8080": f"http://127.0.0.1:{self.page}",
            "0.0.0.0": "127.0.0.1",
            "8080": str(self.page),
            "8081": str(self.engine),
        }
        (root / "secrets").mkdir()
        (root / "scratch").mkdir()
        for name in ("discord_token", "telegram_token"):
            (root / "secrets" / name).touch()
        (root / "secrets" / "worker_secret").write_text("a long random word")

    def here(self, text):
        for there, value in self.places.items():
            text = text.replace(there, value)
        return text

    @contextlib.asynccontextmanager
    async def running(self, name):
        service = self.services[name]
        command = [self.here(word) for word in service["command"]]
        program = str(Path(sys.executable).with_name(command[0]))
        environment = {key: self.here(value) for key, value in service["environment"].items()}
        environment |= {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "OMP_NUM_THREADS": "1"}
        process = await asyncio.create_subprocess_exec(program, *command[1:], env=environment, cwd=ROOT)
        try:
            yield process
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
                try:
                    async with asyncio.timeout(12):
                        await process.wait()
                except TimeoutError:
                    process.kill()
                    await process.wait()
                    raise

    async def healthy(self, port):
        async with httpx.AsyncClient() as client:
            with contextlib.suppress(httpx.HTTPError):
                return (await client.get(f"http://127.0.0.1:{port}/health")).status_code == 200
        return False


async def wait_healthy(compose, port):
    async with asyncio.timeout(60):
        while not await compose.healthy(port):
            await asyncio.sleep(0.1)


async def test_the_three_services_together_answer_a_chat_and_store_a_vote(tmp_path):
    compose = Compose(tmp_path)
    async with contextlib.AsyncExitStack() as stack:
        engine = await stack.enter_async_context(compose.running("engine"))
        await wait_healthy(compose, compose.engine)
        bot = await stack.enter_async_context(compose.running("bot"))
        await wait_healthy(compose, compose.page)
        worker = await stack.enter_async_context(compose.running("training"))
        tab = await stack.enter_async_context(Tab(SimpleNamespace(url=f"http://127.0.0.1:{compose.page}")))
        await tab.open("li_bai")
        async with tab.following():
            assert (await tab.say("你好")).status_code < 300
            fragment = await until(
                lambda: next((news for news in tab.news if "vote:" in news), None), seconds=40
            )
        reply_id = re.search(r"vote:([\w-]+):u", fragment)
        assert reply_id is not None, fragment
        thumbed = await tab.post("/chat/li_bai/press", data=f"vote:{reply_id[1]}:u")
        assert thumbed.status_code < 300, thumbed.text
        with sqlite3.connect(f"file:{compose.home / 'store.db'}?mode=ro", uri=True) as connection:
            votes = connection.execute("SELECT value FROM vote WHERE closed_at IS NULL").fetchall()
        assert votes == [(1,)]
        assert [process.returncode for process in (engine, bot, worker)] == [None, None, None]
