"""What every caller of an engine may rely on: ours, vLLM's and any OpenAI-shaped server's answers."""

from __future__ import annotations

import json
import socket
from contextlib import aclosing, asynccontextmanager

import pytest
from aiohttp import web

from engine.client import HttpEngine
from engine.errors import (
    AdapterRefused,
    EngineBusy,
    EngineTimeout,
    EngineUnavailable,
    ModelUnknown,
    RequestInvalid,
)
from engine.protocol import Message, Sampling
from engine.wire import without_control_tokens
from tests.fakes.engine import FakeEngine
from tests.waiting import until

ASK = [Message("user", "abc")]


async def said(client, model="base", messages=ASK, sampling=None):
    deltas = client.generate(model, messages, sampling or Sampling(), request_id="r1")
    return [delta async for delta in deltas]


async def listen(client, heard):
    """What came before an error counts."""
    async for delta in client.generate("base", ASK, Sampling(), request_id="r"):
        heard.append(delta.text)


@asynccontextmanager
async def client_for(engine: FakeEngine, **deadlines):
    client = HttpEngine(engine.url, **deadlines)
    try:
        yield client
    finally:
        await client.close()


@asynccontextmanager
async def other_server(chat, *, owner="somebody", routes=()):
    """A server that is not ours: ``chat`` answers, bodies are collected."""

    async def models(_):
        return web.json_response({"object": "list", "data": [{"id": "big-model", "owned_by": owner}]})

    app = web.Application()
    app.add_routes([web.get("/v1/models", models), web.post("/v1/chat/completions", chat), *routes])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    client = HttpEngine(f"http://127.0.0.1:{runner.addresses[0][1]}")
    try:
        yield client
    finally:
        await client.close()
        await runner.cleanup()


def events(*values: object) -> web.Response:
    lines = [f"data: {json.dumps(value)}\r\n\r\n" for value in values]
    return web.Response(text="".join([": hello\r\n", *lines, "data: [DONE]\r\n\r\n"]))


def piece(text, reason=None):
    return {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": reason}]}


async def test_a_reply_comes_in_pieces_and_ends_with_reason_and_counts():
    async with FakeEngine() as engine, client_for(engine) as client:
        deltas = await said(client, messages=[Message("user", "\u2028好\u0085")])
    assert "".join(d.text for d in deltas) == "base: \u0085好\u2028"
    assert len(deltas) > 3
    assert deltas[-1].finish_reason == "stop"
    assert deltas[-1].prompt_tokens == 7
    body = engine.requests[0]
    assert body["request_id"] == "r1"
    assert body["messages"][0]["content"] == "\u2028好\u0085"


async def test_the_whole_sampling_reaches_the_engine():
    sampling = Sampling(0.3, 0.8, 40, 1.1, 50, seed=9, stop=("\n",))
    async with FakeEngine() as engine, client_for(engine) as client:
        await said(client, sampling=sampling)
    sent = {"temperature": 0.3, "top_p": 0.8, "top_k": 40, "repetition_penalty": 1.1, "max_tokens": 50}
    assert engine.requests[0].items() >= (sent | {"seed": 9, "stop": ["\n"]}).items()


async def test_info_models_and_count():
    async with FakeEngine(context=2048) as engine, client_for(engine) as client:
        info = await client.info()
        assert (info.base, info.context, info.can_load_adapters) == ("fake", 2048, True)
        assert [card.id for card in await client.models()] == ["base"]
        assert await client.count("你好") == 6


async def test_loading_twice_and_unloading_twice_is_fine(tmp_path):
    async with FakeEngine() as engine, client_for(engine) as client:
        await client.load("li_bai@00000000", tmp_path)
        await client.load("li_bai@00000000", tmp_path)
        assert [card.parent for card in await client.models()] == [None, "base"]
        assert (await said(client, "li_bai@00000000"))[0].text == "li_bai"
        await client.unload("li_bai@00000000")
        await client.unload("li_bai@00000000")
        with pytest.raises(AdapterRefused, match="No adapter found"):
            await client.load("li_bai@00000000", tmp_path / "ghost")


async def test_a_name_that_is_not_loaded_is_unknown():
    async with FakeEngine() as engine, client_for(engine) as client:
        with pytest.raises(ModelUnknown, match="voldemort"):
            await said(client, "voldemort")


async def test_a_full_queue_says_when_to_come_back():
    async with FakeEngine(busy=True) as engine, client_for(engine) as client:
        with pytest.raises(EngineBusy) as caught:
            await said(client)
    assert caught.value.retry_after_s == 3


async def test_too_long_a_prompt_is_invalid():
    async with FakeEngine() as engine, client_for(engine) as client:
        with pytest.raises(RequestInvalid, match="context"):
            await said(client, messages=[Message("user", "x" * 9000)])


async def test_nobody_at_the_port():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    client = HttpEngine(f"http://127.0.0.1:{port}")
    with pytest.raises(EngineUnavailable):
        await said(client)
    with pytest.raises(EngineUnavailable):
        await client.info()
    await client.close()


async def test_an_engine_that_accepts_and_says_nothing_times_out():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        client = HttpEngine(f"http://127.0.0.1:{listening.getsockname()[1]}", first_token_s=0.2)
        with pytest.raises(EngineTimeout):
            await said(client)
        await client.close()


@pytest.mark.parametrize("hook", ["silent", "slow"])
async def test_each_deadline_ends_the_wait(hook):
    async with FakeEngine() as engine, client_for(engine, first_token_s=0.5, between_tokens_s=0.2) as client:
        if hook == "silent":
            engine.silent = True
        else:
            engine.delay_s = 0.4
        heard: list[str] = []
        with pytest.raises(EngineTimeout):
            await listen(client, heard)
        assert bool(heard) == (hook == "slow")


@pytest.mark.parametrize("hook", [{"die_after": 2}, {"garbage": True}])
async def test_an_engine_that_breaks_off_is_unavailable_and_its_text_stays(hook):
    async with FakeEngine(**hook) as engine, client_for(engine) as client:
        heard: list[str] = []
        with pytest.raises(EngineUnavailable):
            await listen(client, heard)
        assert heard
        assert "base: cba".startswith("".join(heard))
        engine.garbage = False
        assert (await said(client))[-1].finish_reason == "stop"


async def test_closing_the_stream_cancels_the_request():
    async with FakeEngine(delay_s=0.05, reply="word " * 1000) as engine, client_for(engine) as client:
        async with aclosing(client.generate("base", ASK, Sampling(), request_id="gone")) as deltas:
            await anext(deltas)
        await until(lambda: "gone" in engine.finished)
        assert engine.cancelled == ["gone"]


async def test_another_server_gets_openai_fields_and_unbroken_nobody():
    bodies = []

    async def chat(request):
        bodies.append(await request.json())
        return events(piece("Hi <th"), piece("ink>hm</think> x"), piece("", "stop"))

    async with other_server(chat) as client:
        info = await client.info()
        assert info.base_fingerprint is None
        assert not info.can_load_adapters
        deltas = await said(client, messages=[Message("user", "<|im_end|><b>[/INST]")])
        assert await client.count("你好") == 6
    assert "".join(d.text for d in deltas) == "Hi  x"
    assert bodies[0]["model"] == "big-model"
    assert not {"top_k", "repetition_penalty", "request_id"} & set(bodies[0])
    assert bodies[0]["messages"][0]["content"] == "<\u2060|im_end|><b>[\u2060/INST]"


async def test_vllm_gets_its_own_fields_too_and_is_asked_whether_it_loads():
    bodies = []

    async def chat(request):
        bodies.append(await request.json())
        return events(piece("ok", "stop"))

    async def load(_):
        return web.json_response({"error": {"message": "Field required"}}, status=400)

    route = web.post("/v1/load_lora_adapter", load)
    async with other_server(chat, owner="vllm", routes=[route]) as client:
        assert (await client.info()).can_load_adapters
        await said(client, sampling=Sampling(top_k=5))
    assert bodies[0]["top_k"] == 5
    assert bodies[0]["chat_template_kwargs"] == {"enable_thinking": False}


async def test_an_error_in_mid_stream_is_raised_with_its_message():
    async def chat(_):
        return events(piece("a"), {"error": {"message": "CUDA is out of memory", "code": 500}})

    async with other_server(chat) as client:
        with pytest.raises(EngineUnavailable, match="out of memory"):
            await said(client)


@pytest.mark.parametrize(
    "text",
    ["<|im_start|>system", "<｜User｜>", "<s>", "</s>", "<start_of_turn>", "[INST]", "<<SYS>>", "</think>"],
)
def test_what_a_template_could_take_for_its_own_is_broken(text):
    broken = without_control_tokens(text)
    assert text not in broken
    assert broken.replace("\u2060", "") == text


def test_ordinary_text_is_not_touched():
    text = "a < b, <b>bold</b>, [x], 《静夜思》, x<s"
    assert without_control_tokens(text) == text
