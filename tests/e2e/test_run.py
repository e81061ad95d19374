"""`troupe run` as a process: it starts, greets, survives what dies beside it, and ends in time."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
from time import monotonic

import httpx
import pytest

from bot.control import open_session
from bot.engine_process import read_engine_file
from data.home import Home
from data.run_records import NewRun
from data.sqlite import open_store
from tests.fakes.adapter import adapter
from tests.fakes.engine import FakeEngine
from tests.fakes.process import is_alive, troupe_process
from tests.fakes.telegram import TOKEN, FakeTelegram
from tests.waiting import until

pytestmark = pytest.mark.slow

RESTING_S = 4.0


@pytest.fixture(name="tiny", scope="module")
def _tiny(tmp_path_factory):
    from tests.fakes.tiny import make_base

    return make_base(tmp_path_factory.mktemp("base") / "tiny")


async def test_it_greets_with_an_exchange_per_persona_and_ends_on_sigterm(tmp_path):
    async with FakeEngine() as engine:
        environment = {"TROUPE_ENGINE_URLS": engine.url}
        async with troupe_process(tmp_path / "home", environment=environment) as running:
            page = await running.page()
            await until(lambda: running.said("stop      Ctrl-C"))
            assert running.said("Harry Potter") is not None
            assert running.said("李白") is not None
            assert running.said(".venv/bin/troupe chat") is not None
            assert running.said("DISCORD_TOKEN") is not None
            async with httpx.AsyncClient() as client:
                assert (await client.get(f"{page}/health")).status_code == 200
                assert "李白" in (await client.get(page, headers={"Accept-Language": "zh-CN"})).text
            assert await running.end() == 0


async def test_ctrl_c_ends_it_in_order(tmp_path):
    async with FakeEngine() as engine:
        environment = {"TROUPE_ENGINE_URLS": engine.url}
        async with troupe_process(tmp_path / "home", environment=environment) as running:
            await running.page()
            assert await running.end(signal.SIGINT) == 0
    assert not (tmp_path / "home" / "control.sock").exists()


async def test_a_killed_engine_is_started_again_and_no_process_is_left(tmp_path, tiny):
    home = tmp_path / "home"
    environment = {"TROUPE_BASE": str(tiny), "TROUPE_THREADS": "1"}
    async with troupe_process(home, environment=environment) as running:
        await until(lambda: running.said("bot.up"), seconds=60)
        first = json.loads((home / "engine.json").read_text())["pid"]
        os.kill(first, signal.SIGKILL)

        def second():
            try:
                pid = json.loads((home / "engine.json").read_text())["pid"]
            except (FileNotFoundError, ValueError):
                return None
            return pid if pid != first and is_alive(pid) else None

        engine = await until(second, seconds=60)
        assert await running.end() == 0
    await until(lambda: not is_alive(engine))


async def test_an_engine_rests_while_a_run_trains_and_is_back_whatever_came_of_it(tmp_path, tiny):
    home = tmp_path / "home"
    Home(home).prepare()
    async with open_store(Home(home).store) as store:
        await store.ledger.open_run(NewRun("li_bai", "f" * 64, "incremental", 7, state="snapshotted"))
    environment = {"TROUPE_BASE": str(tiny), "TROUPE_THREADS": "1", "TROUPE_TRAIN_POLICY": "pause"}
    async with troupe_process(home, environment=environment) as running:
        await until(lambda: running.said("run.failed") and running.said("engine.wakes"), seconds=90)
        order = [running.output.index(words) for words in ("engine.rests", "run.failed", "engine.wakes")]
        assert order == sorted(order)
        engine = await until(lambda: read_engine_file(Home(home)), seconds=60)
        assert running.output.count("child.started") == 2
        assert running.said("child.ended") is None
        assert await running.end() == 0
    await until(lambda: not is_alive(engine.pid))


async def test_a_killed_bot_leaves_no_engine_behind(tmp_path, tiny):
    home = tmp_path / "home"
    environment = {"TROUPE_BASE": str(tiny), "TROUPE_THREADS": "1"}
    async with troupe_process(home, environment=environment) as running:
        await until(lambda: running.said("bot.up"), seconds=60)
        engine = json.loads((home / "engine.json").read_text())["pid"]
        await running.kill()
        await until(lambda: not is_alive(engine))


async def test_people_hear_that_the_persona_rests_and_then_the_answer(tmp_path, tiny):
    home = tmp_path / "home"
    async with FakeTelegram() as telegram:
        environment = {
            "TROUPE_BASE": str(tiny),
            "TROUPE_THREADS": "1",
            "TELEGRAM_TOKEN": TOKEN,
            "TROUPE_TELEGRAM_API_URL": telegram.url,
        }
        async with troupe_process(home, environment=environment) as running:
            await until(lambda: running.said("bot.up") and running.said("telegram.listening"), seconds=60)
            os.kill(json.loads((home / "engine.json").read_text())["pid"], signal.SIGKILL)
            told = monotonic()
            telegram.say("hello", chat=7, user=7)
            await until(lambda: any("resting" in text for text in telegram.texts(7)))
            # Two seconds, and what a loaded machine needs to notice.
            assert monotonic() - told < RESTING_S
            await until(lambda: len(telegram.texts(7)) == 2, seconds=60)
            assert await running.end() == 0


async def test_it_ends_in_time_with_a_terminal_open_a_page_open_and_a_reply_on_its_way(tmp_path):
    async with FakeEngine(delay_s=0.3, reply="A long tale that nobody hears to its end. " * 20) as engine:
        home = tmp_path / "home"
        async with troupe_process(home, environment={"TROUPE_ENGINE_URLS": engine.url}) as running:
            page = await running.page()
            await until(home.joinpath("control.sock").is_socket)
            session = {"persona": "li_bai", "lang": "en"}
            reader, writer = await open_session(home / "control.sock", "terminal", **session)
            writer.write(json.dumps({"say": "hello", "id": 1}).encode() + b"\n")
            assert b"long" in await asyncio.wait_for(_line_with(reader, b"long"), 20)
            async with httpx.AsyncClient() as client:
                assert (await client.get(f"{page}/health")).status_code == 200
                assert await running.end() == 0
            assert "Traceback" not in running.output
            writer.close()


async def test_a_second_ctrl_c_ends_it_at_once_and_leaves_no_engine(tmp_path, tiny):
    home = tmp_path / "home"
    environment = {"TROUPE_BASE": str(tiny), "TROUPE_THREADS": "1"}
    async with troupe_process(home, environment=environment) as running:
        await until(lambda: running.said("bot.up"), seconds=60)
        engine = json.loads((home / "engine.json").read_text())["pid"]
        with stopped(engine):
            running.process.send_signal(signal.SIGINT)
            await until(lambda: not (home / "control.sock").exists())
            # Its own number: who waits for the engine in order ends with 0.
            assert await running.end(signal.SIGINT) == 130
        await until(lambda: not is_alive(engine))


async def test_an_engine_that_does_not_hear_is_ended_in_time_all_the_same(tmp_path, tiny):
    home = tmp_path / "home"
    environment = {"TROUPE_BASE": str(tiny), "TROUPE_THREADS": "1"}
    async with troupe_process(home, environment=environment) as running:
        await until(lambda: running.said("bot.up"), seconds=60)
        engine = json.loads((home / "engine.json").read_text())["pid"]
        with stopped(engine):
            assert await running.end() == 0
            await until(lambda: not is_alive(engine))


async def test_a_home_that_is_in_use_is_one_sentence(tmp_path):
    async with FakeEngine() as engine:
        environment = {"TROUPE_ENGINE_URLS": engine.url}
        async with troupe_process(tmp_path / "home", environment=environment) as first:
            await first.page()
            async with troupe_process(tmp_path / "home", environment=environment) as second:
                assert await second.process.wait() == 1
            (line,) = [line for line in second.lines if line]
            assert "Traceback" not in line
            assert await first.end() == 0


async def test_an_engine_port_in_use_is_one_sentence_that_names_the_setting(tmp_path, tiny):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        environment = {"TROUPE_BASE": str(tiny), "TROUPE_ENGINE_PORT": port}
        async with troupe_process(tmp_path / "home", environment=environment) as running:
            assert await running.process.wait() == 1
    assert "TROUPE_ENGINE_PORT" in running.output
    assert "Traceback" not in running.output


async def test_an_adapter_with_a_wrong_digest_costs_only_itself(tmp_path):
    folder = tmp_path / "home/adapters/li_bai/v0"
    adapter(folder)
    (folder / "adapter_model.safetensors").write_bytes(b"swapped")
    async with FakeEngine() as engine:
        environment = {"TROUPE_ENGINE_URLS": engine.url}
        async with troupe_process(tmp_path / "home", environment=environment) as running:
            line = await until(lambda: running.said("adapter.invalid"))
            assert "adapter_model.safetensors" in line
            await until(lambda: running.said("stop      Ctrl-C"))
            assert await running.end() == 0


async def test_a_port_in_use_is_one_sentence_that_names_the_setting(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        environment = {
            "TROUPE_WEB_PORT": str(taken.getsockname()[1]),
            "TROUPE_ENGINE_URLS": "http://127.0.0.1:1",
        }
        async with troupe_process(tmp_path / "home", environment=environment) as running:
            assert await running.process.wait() == 1
    assert running.said("web_port") is not None
    assert "Traceback" not in running.output


async def test_an_unknown_key_in_the_environment_is_one_sentence(tmp_path):
    async with troupe_process(tmp_path / "home", environment={"TROUPE_QUANTISE": "nf4"}) as running:
        assert await running.process.wait() == 1
    (line,) = [line for line in running.lines if line]
    assert "TROUPE_QUANTISE" in line
    assert "quantize" in line


async def test_a_missing_base_is_one_sentence_and_the_page_stays_up(tmp_path):
    environment = {"TROUPE_BASE": str(tmp_path / "nowhere")}
    async with troupe_process(tmp_path / "home", environment=environment) as running:
        page = await running.page()
        line = await until(lambda: running.said("nowhere"), seconds=40)
        assert "Traceback" not in line
        async with httpx.AsyncClient() as client:
            assert (await client.get(f"{page}/health")).status_code == 200
        assert await running.end() == 0


async def test_a_broken_persona_and_a_wrong_token_cost_only_themselves(tmp_path):
    broken = tmp_path / "home" / "personas" / "gandalf"
    broken.mkdir(parents=True)
    (broken / "persona.toml").write_text("format = 1\nwand = true\n")
    async with FakeEngine() as engine, FakeTelegram() as telegram:
        environment = {
            "TROUPE_ENGINE_URLS": engine.url,
            "TELEGRAM_TOKEN": "1:not-the-right-one",
            "TROUPE_TELEGRAM_API_URL": telegram.url,
        }
        async with troupe_process(tmp_path / "home", environment=environment) as running:
            page = await running.page()
            refused = await until(lambda: running.said("platform.refused"))
            assert "@BotFather" in refused
            assert "unknown key wand" in (running.said("persona.broken") or "")
            assert "not-the-right-one" not in running.output
            async with httpx.AsyncClient() as client:
                assert "Harry Potter" in (await client.get(page)).text
            assert await running.end() == 0


@contextlib.contextmanager
def stopped(pid):
    """The process hears nothing meanwhile, not even that it should end; afterwards it always goes on."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


async def _line_with(reader, words):
    while words not in (line := await reader.readline()):
        assert line, "the session ended"
    return line
