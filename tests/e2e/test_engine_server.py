"""Our server as others see it: OpenAI's own client, vLLM's bodies, and our client end to end."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing
from pathlib import Path

import httpx
import openai
import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from engine.client import HttpEngine
from engine.errors import AdapterRefused, EngineBusy, ModelUnknown, RequestInvalid
from engine.prompt import encode
from engine.protocol import Message, Sampling
from tests.fakes import tiny
from tests.fakes.serving import serving
from tests.waiting import until

ASK = [{"role": "user", "content": "你好 Harry 🦉"}]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("server")
    base = tiny.make_base(root / "base")
    return base, tiny.make_adapter(root / "potter", base)


def name_of(folder: Path) -> str:
    return f"harry_potter@{json.loads((folder / 'manifest.json').read_text())['digest'][:8]}"


async def test_the_openai_client_talks_to_it_whole_and_in_pieces(made):
    base, potter = made
    async with (
        serving(base) as served,
        openai.AsyncOpenAI(base_url=f"{served.url}/v1", api_key="none") as client,
    ):
        await served.core.load(name_of(potter), potter)
        models = [model.id async for model in client.models.list()]
        assert models == ["base", name_of(potter)]
        texts = {}
        for model in models:
            options = {"model": model, "messages": ASK, "seed": 5, "max_tokens": 20}
            whole = await client.chat.completions.create(**options)
            stream = await client.chat.completions.create(
                **options, stream=True, stream_options={"include_usage": True}
            )
            chunks = [chunk async for chunk in stream]
            texts[model] = whole.choices[0].message.content
            said = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
            assert said == texts[model]
            assert chunks[0].choices[0].delta.role == "assistant"
            assert chunks[-2].choices[0].finish_reason == whole.choices[0].finish_reason
            assert chunks[-1].usage == whole.usage
            assert whole.usage.prompt_tokens > 5
        assert len(set(texts.values())) == 2
        with pytest.raises(openai.NotFoundError, match="voldemort"):
            await client.chat.completions.create(model="voldemort", messages=ASK)


async def test_our_client_and_our_server_agree(made):
    base, potter = made
    async with serving(base) as served:
        client = HttpEngine(served.url)
        info = await client.info()
        assert (info.base, info.context, info.dtype) == (str(base), 1024, "float32")
        assert info.tokenizer == str((base / "tokenizer.json").resolve())
        await client.load(name_of(potter), potter)
        await client.load(name_of(potter), potter)
        with pytest.raises(AdapterRefused, match="No adapter found"):
            await client.load("x@12345678", potter / "ghost")
        assert [card.id for card in await client.models()] == ["base", name_of(potter)]
        assert await client.count("你好 <|im_end|>") > 4
        sampling = Sampling(max_tokens=12, seed=1)
        messages = [Message("system", "Be brief."), Message("user", "hi")]
        for model in ("base", name_of(potter)):
            deltas = [d async for d in client.generate(model, messages, sampling, request_id="r")]
            assert deltas[-1].completion_tokens
        with pytest.raises(ModelUnknown):
            await anext(client.generate("nobody", messages, sampling, request_id="r"))
        with pytest.raises(RequestInvalid):
            await anext(client.generate("base", [Message("user", "x" * 100_000)], sampling, request_id="r"))
        await client.unload(name_of(potter))
        await client.unload(name_of(potter))
        await client.close()


async def test_hanging_up_cancels_streamed_and_whole(made):
    endless = Sampling(max_tokens=1000, temperature=2.0, seed=4)
    async with serving(made[0], max_running=1, max_waiting=0) as served:
        client = HttpEngine(served.url)
        async with aclosing(client.generate("base", [Message("user", "go")], endless, request_id="1")) as d:
            await anext(d)
            with pytest.raises(EngineBusy) as caught:
                await anext(client.generate("base", [Message("user", "go")], endless, request_id="2"))
            assert caught.value.retry_after_s >= 1
        await until(lambda: not served.core._open)
        async with httpx.AsyncClient(base_url=served.url) as http:
            assert 'finished_total{finished_reason="cancelled"} 1.0' in (await http.get("/metrics")).text
            body = {"model": "base", "messages": ASK, "max_tokens": 1000, "temperature": 2.0, "seed": 4}
            whole = asyncio.create_task(http.post("/v1/chat/completions", json=body))
            await until(lambda: served.core._open)
            whole.cancel()
            await until(lambda: not served.core._open)
            assert 'finished_total{finished_reason="cancelled"} 2.0' in (await http.get("/metrics")).text
        await client.close()


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"messages": []}, "body.messages"),
        ({"messages": [{"role": "wizard", "content": "x"}]}, "body.messages.0.role"),
        ({"temperature": 9}, "body.temperature"),
        ({"max_tokens": 0}, "body.max_tokens"),
        ({"n": 2}, "body.n"),
    ],
)
async def test_a_wrong_body_names_its_field(made, change, param):
    async with serving(made[0]) as served, httpx.AsyncClient(base_url=served.url) as http:
        answer = await http.post("/v1/chat/completions", json={"model": "base", "messages": ASK} | change)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["type"]) == (400, 400, "Bad Request")
    assert error["param"].startswith(param)


async def test_a_texts_likelihood_is_transformers_own_with_and_without_an_adapter(made):
    base, potter = made
    tokenizer = AutoTokenizer.from_pretrained(base)
    long = "汤圆 and tea. " * 60  # read in two blocks
    said = [Message("user", long), Message("assistant", "Of course, 当然。")]
    async with serving(base) as served:
        client = HttpEngine(served.url)
        await client.load(name_of(potter), potter)
        for name, folder in (("base", None), (name_of(potter), potter)):
            model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
            model = PeftModel.from_pretrained(model, folder) if folder else model
            ids = torch.tensor([encode(tokenizer, said, reply=False).ids])
            assert 512 < ids.shape[1] < 1024
            with torch.inference_mode():
                expected = model(ids).logits.log_softmax(-1)[0, :-1].gather(1, ids[0, 1:, None]).sum()
            found = await client.likelihood(name, said, request_id="1")
            assert found == pytest.approx(float(expected), rel=1e-4)
        await client.close()


async def test_prompt_logprobs_come_as_vllm_tells_them_and_not_in_a_stream(made):
    async with serving(made[0]) as served, httpx.AsyncClient(base_url=served.url) as http:
        body = {"model": "base", "messages": ASK, "max_tokens": 1, "prompt_logprobs": 0}
        told = (await http.post("/v1/chat/completions", json=body)).json()
        tokens = (await http.post("/tokenize", json={"messages": ASK})).json()["tokens"]
        first, *places = told["prompt_logprobs"]
        assert first is None
        assert [next(iter(place)) for place in places] == [str(token) for token in tokens[1:]]
        assert all(next(iter(place.values()))["logprob"] < 0 for place in places)
        body["stream"] = True
        refused = await http.post("/v1/chat/completions", json=body)
        assert refused.status_code == 400
        assert "not available when `stream=True`" in refused.json()["error"]["message"]
        plain = {"model": "base", "messages": ASK, "max_tokens": 1}
        assert (await http.post("/v1/chat/completions", json=plain)).json()["prompt_logprobs"] is None


async def test_the_rest_of_vllms_manners(made):
    base, potter = made
    async with serving(base) as served, httpx.AsyncClient(base_url=served.url) as http:
        body = {"lora_name": name_of(potter), "lora_path": str(potter)}
        loaded = await http.post("/v1/load_lora_adapter", json=body)
        assert loaded.text == f"Success: LoRA adapter '{name_of(potter)}' added successfully."
        assert "content-type" not in loaded.headers
        again = await http.post("/v1/load_lora_adapter", json=body)
        assert (again.status_code, again.json()["error"]["type"]) == (400, "InvalidUserInput")
        assert "already been loaded" in again.json()["error"]["message"]
        ghost = await http.post("/v1/load_lora_adapter", json={"lora_name": "g", "lora_path": "/ghost"})
        assert (ghost.status_code, ghost.json()["error"]["type"]) == (404, "NotFoundError")
        unknown = await http.post("/v1/unload_lora_adapter", json={"lora_name": "g"})
        assert unknown.status_code == 404
        assert (await http.post("/v1/chat/completions", content=b"{nonsense")).status_code == 400
        assert (await http.get("/v1/nowhere")).json()["error"]["code"] == 404
        assert (await http.post("/tokenize", content=b" " * (5 * 2**20))).status_code == 413
        parts = [
            {"role": "developer", "content": "x"},
            {"role": "user", "content": [{"type": "text", "text": "y"}]},
        ]
        told = await http.post("/tokenize", json={"messages": parts})
        plain = [{"role": "system", "content": "x"}, {"role": "user", "content": "y"}]
        assert told.json() == (await http.post("/tokenize", json={"messages": plain})).json()
        assert (await http.post("/tokenize", json={})).status_code == 400
        rows = (await http.get("/v1/models")).json()["data"]
        assert [(row["id"], row["parent"], row["max_model_len"]) for row in rows] == [
            ("base", None, 1024),
            (name_of(potter), "base", None),
        ]
        await http.post("/v1/chat/completions", json={"model": "base", "messages": ASK, "max_tokens": 3})
        metrics = (await http.get("/metrics")).text
        assert "troupe_engine_adapters_loaded 1.0" in metrics
        assert "troupe_engine_reply_tokens_total 3.0" in metrics


async def test_when_the_models_thread_dies_every_stream_hears_of_it(made, caplog):
    async with serving(made[0]) as served:
        client = HttpEngine(served.url)
        endless = Sampling(max_tokens=1000, temperature=2.0, seed=4)
        deltas = client.generate("base", [Message("user", "go")], endless, request_id="1")
        await anext(deltas)

        def die() -> None:
            raise MemoryError

        served.core._jobs.put(die)
        with pytest.raises(Exception, match="stopped in mid-reply"):
            [delta async for delta in deltas]
        async with httpx.AsyncClient() as http:
            assert (await http.get(f"{served.url}/health")).status_code == 503
        assert served.core.has_failed
        await client.close()
