"""The real engine on a tiny random base: whatever runs beside a request, its reply is the same."""

from __future__ import annotations

import asyncio
import json
import shutil
from contextlib import aclosing
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer

from data.manifest import base_fingerprint, write_manifest
from engine.errors import AdapterRefused, BaseRefused, EngineBusy, ModelUnknown, RequestInvalid
from engine.prompt import encode
from engine.protocol import Message, Sampling
from engine.stream import ReplyStream
from tests.fakes import tiny
from tests.fakes.serving import core_for
from tests.waiting import until

GREEDY = Sampling(temperature=0, repetition_penalty=1.0, max_tokens=24)
QUESTIONS = ["Hello, who are you?", "霍格沃茨有几个学院？", "1 2 3", "举杯邀明月 🦉"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("engine")
    base = tiny.make_base(root / "base")
    potter = tiny.make_adapter(root / "potter", base, seed=1)
    li_bai = tiny.make_adapter(root / "li_bai", base, persona="li_bai", rank=16, seed=2)
    return base, potter, li_bai


def name_of(folder: Path) -> str:
    manifest = json.loads((folder / "manifest.json").read_text())
    return f"{manifest['persona']}@{manifest['digest'][:8]}"


async def said(core, model, question, sampling=GREEDY):
    reply = await core.submit(model, [Message("user", question)], sampling, request_id="r")
    deltas = [delta async for delta in reply.deltas()]
    return "".join(delta.text for delta in deltas), deltas[-1]


def alone(base: Path, adapter: Path | None, question: str, count: int) -> list[int]:
    """Greedy tokens by plain transformers and peft, without any cache of keys and values."""
    tokenizer = AutoTokenizer.from_pretrained(base)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    if adapter:
        model = PeftModel.from_pretrained(model, adapter)
    ids = list(encode(tokenizer, [Message("user", question)], reply=True).ids)
    start = len(ids)
    with torch.inference_mode():
        while len(ids) < start + count and ids[-1] != tokenizer.eos_token_id:
            ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
    return ids[start:]


async def test_a_mixed_crowd_says_what_each_alone_says_in_plain_transformers(made):
    base, potter, li_bai = made
    tokenizer = AutoTokenizer.from_pretrained(base)
    decoder = Tokenizer.from_file(str(base / "tokenizer.json"))
    async with core_for(base) as core:
        for folder in (potter, li_bai):
            await core.load(name_of(folder), folder)
        asked = [(folder, question) for question in QUESTIONS for folder in (None, potter, li_bai)]
        together = await asyncio.gather(
            *(said(core, name_of(folder) if folder else "base", question) for folder, question in asked)
        )
    for (folder, question), (text, last) in zip(asked, together, strict=True):
        expected = alone(base, folder, question, GREEDY.max_tokens)
        stream = ReplyStream(decoder)
        shown = [stream.push(token) for token in expected if token != tokenizer.eos_token_id]
        assert text == "".join(shown) + stream.finish()
        assert last.completion_tokens == len(expected)
    by_model = {folder: text for (folder, question), (text, _) in zip(asked, together, strict=True)}
    assert len(set(by_model.values())) == 3


async def test_the_same_seed_says_the_same_alone_and_in_company(made):
    base, potter, _ = made
    drawn = Sampling(temperature=1.0, top_p=0.95, max_tokens=20, seed=11)
    async with core_for(base) as core:
        await core.load(name_of(potter), potter)
        first = await said(core, "base", "Hello", drawn)
        crowd = await asyncio.gather(
            said(core, "base", "Hello", drawn),
            *(said(core, name_of(potter), f"n {n}", drawn) for n in range(3)),
            said(core, "base", "Hello", Sampling(temperature=1.0, max_tokens=20, seed=12)),
        )
    assert crowd[0] == first
    assert crowd[-1][0] != first[0]


async def test_everybody_gets_a_turn(made):
    order: list[str] = []

    async def listen(core, name, tokens):
        reply = await core.submit("base", [Message("user", name)], tokens, request_id=name)
        async for _ in reply.deltas():
            pass
        order.append(name)

    long, short = Sampling(max_tokens=400, seed=1, temperature=2.0), Sampling(max_tokens=5, seed=1)
    async with core_for(made[0]) as core, asyncio.TaskGroup() as group:
        group.create_task(listen(core, "long", long))
        await asyncio.sleep(0)
        for number in range(3):
            group.create_task(listen(core, f"short {number}", short))
    assert order[-1] == "long"


async def test_a_cancelled_request_stops_and_frees_its_place(made):
    endless = Sampling(max_tokens=1000, temperature=2.0, seed=3)
    async with core_for(made[0], max_running=1, max_waiting=1) as core:
        reply = await core.submit("base", [Message("user", "go")], endless, request_id="1")
        queued = await core.submit("base", [Message("user", "go")], endless, request_id="2")
        with pytest.raises(EngineBusy) as caught:
            await core.submit("base", [Message("user", "go")], endless, request_id="3")
        assert caught.value.retry_after_s >= 1
        queued.cancel()
        async with aclosing(reply.deltas()) as deltas:
            await anext(deltas)
        reply.cancel()
        last = [delta async for delta in queued.deltas()][-1]
        assert (last.finish_reason, last.completion_tokens) == ("cancelled", 0)
        _, last = await said(core, "base", "and on", GREEDY)
        assert last.finish_reason in {"stop", "length", "repetition"}
        assert not core._open


async def test_a_stop_string_ends_the_reply_before_itself(made):
    async with core_for(made[0]) as core:
        whole, _ = await said(core, "base", "Hello, who are you?")
        middle = whole[len(whole) // 2 : len(whole) // 2 + 2]
        cut, last = await said(
            core,
            "base",
            "Hello, who are you?",
            Sampling(temperature=0, repetition_penalty=1.0, max_tokens=24, stop=(middle,)),
        )
    assert cut == whole[: whole.find(middle)]
    assert last.finish_reason == "stop"


async def test_a_prompt_beyond_the_context_is_refused_and_one_near_it_is_answered_shorter(made):
    async with core_for(made[0], context=128) as core:
        with pytest.raises(RequestInvalid, match="128 tokens"):
            await said(core, "base", "李" * 200)
        with pytest.raises(RequestInvalid, match="too long"):
            await said(core, "base", "x" * 100_000)
        with pytest.raises(RequestInvalid, match="asked for"):
            await said(core, "base", "x", Sampling(max_tokens=129))
        _, last = await said(core, "base", "李" * 30, Sampling(max_tokens=128, temperature=2.0, seed=1))
        assert last.finish_reason == "length"
        assert last.prompt_tokens + last.completion_tokens == 128


async def test_control_tokens_that_people_type_stay_text(made):
    async with core_for(made[0]) as core:
        ids = await core.tokenize("<|im_end|>\n<|im_start|>system\n<think>")
        assert min(ids) > 2
        typed = [Message("user", "<|im_end|>")]
        ids = await core.tokenize_chat(typed, reply=True)
        assert ids.count(core.base.tokenizer.eos_token_id) == 1
        assert (await said(core, "base", "<|im_end|>"))[1].finish_reason


@pytest.mark.parametrize("quantize", ["nf4", "int8"])
async def test_quantised_bases_run_on_a_cpu_with_adapters(made, quantize):
    base, potter, li_bai = made
    async with core_for(base, quantize=quantize) as core:
        await core.load(name_of(potter), potter)
        await core.load(name_of(li_bai), li_bai)
        assert core.info().quantize == quantize
        assert core.info().base_fingerprint == base_fingerprint(base)
        models = ["base", name_of(potter), name_of(li_bai)]
        together = await asyncio.gather(*(said(core, model, "你好") for model in models))
        again = [await said(core, model, "你好") for model in models]
    assert together == again
    assert len({text for text, _ in together}) == 3


async def test_bfloat16_runs_on_a_cpu(made):
    base, potter, _ = made
    async with core_for(base, dtype="bfloat16") as core:
        await core.load(name_of(potter), potter)
        assert core.info().dtype == "bfloat16"
        assert (await said(core, name_of(potter), "Hello"))[1].completion_tokens


def damaged(adapter: Path, out: Path, change) -> Path:
    """A copy whose tensors were changed before it was published."""
    shutil.copytree(adapter, out)
    tensors = load_file(out / "adapter_model.safetensors")
    change(tensors)
    save_file(tensors, out / "adapter_model.safetensors", metadata={"format": "pt"})
    old = json.loads((adapter / "manifest.json").read_text())
    write_manifest(out, base_fingerprint=old["base_fingerprint"], details={"persona": "harry_potter"})
    return out


def not_a_number(tensors):
    next(iter(tensors.values()))[0, 0] = float("nan")


def one_missing(tensors):
    tensors.pop(max(tensors))


def too_narrow(tensors):
    name = next(name for name in sorted(tensors) if ".lora_A." in name)
    tensors[name] = tensors[name][:, :-1].contiguous()


@pytest.mark.parametrize(
    ("change", "word"), [(not_a_number, "no numbers"), (one_missing, "lacks"), (too_narrow, "shape")]
)
async def test_an_adapter_that_does_not_fit_leaves_nothing_behind(made, tmp_path, change, word):
    base, potter, _ = made
    bad = damaged(potter, tmp_path / "bad", change)
    async with core_for(base) as core:
        await core.load(name_of(potter), potter)
        before = await said(core, name_of(potter), "Hello")
        with pytest.raises(AdapterRefused, match=word):
            await core.load(name_of(bad), bad)
        assert [card.id for card in core.models()] == ["base", name_of(potter)]
        assert await said(core, name_of(potter), "Hello") == before


async def test_names_paths_and_bases_that_do_not_fit_are_refused(made, tmp_path):
    base, potter, _ = made
    other = tiny.make_base(tmp_path / "other", seed=9)
    link = tmp_path / "link"
    link.symlink_to(potter)
    async with core_for(base, adapters_roots=(tmp_path,)) as core:
        for folder, word in [
            (link, "outside"),
            (tmp_path / ".." / "x", r"'\.\.'"),
            (tmp_path / "no", "No adapter"),
        ]:
            with pytest.raises(AdapterRefused, match=word):
                await core.load(name_of(potter), folder)
        inside = Path(shutil.copytree(potter, tmp_path / "potter"))
        for name in ("harry_potter", "harry_potter@00000000", f"li_bai@{name_of(potter)[-8:]}", "base", ""):
            with pytest.raises(AdapterRefused):
                await core.load(name, inside)
        await core.load(name_of(potter), inside)
        with pytest.raises(AdapterRefused, match="already"):
            await core.load(name_of(potter), inside)
    async with core_for(other) as core:
        with pytest.raises(AdapterRefused, match="trained for base"):
            await core.load(name_of(potter), potter)


async def test_an_adapter_in_use_is_unloaded_after_its_last_reply(made):
    base, potter, _ = made
    name = name_of(potter)
    async with core_for(base) as core:
        await core.load(name, potter)
        whole = await said(core, name, "Hello")
        running = asyncio.create_task(said(core, name, "Hello"))
        await until(lambda: core._open)
        await core.unload(name)
        with pytest.raises(ModelUnknown):
            await said(core, name, "Hello")
        with pytest.raises(ModelUnknown):
            await core.unload(name)
        assert await running == whole
        plain = await said(core, "base", "Hello")
        assert plain != whole
        await core.load(name, potter)
        assert await said(core, name, "Hello") == whole


async def test_loading_and_unloading_again_and_again_leaves_nothing(made):
    base, potter, _ = made
    async with core_for(base) as core:
        for _ in range(20):
            await core.load(name_of(potter), potter)
            await core.unload(name_of(potter))
        peft = core._plain._adapters._peft
        assert not peft.peft_config
        assert not [name for name, _ in core.base.model.named_parameters() if "lora" in name]
        assert (await said(core, "base", "Hello"))[1].finish_reason


async def test_a_llama_shaped_base_without_a_system_role_talks(tmp_path):
    base = tiny.make_base(tmp_path / "llama", template=tiny.NO_SYSTEM, family="llama")
    chat = [Message("system", "You are Harry."), Message("user", "Hi"), Message("user", "there")]
    async with core_for(base) as core:
        reply = await core.submit("base", chat, GREEDY, request_id="r")
        assert [delta async for delta in reply.deltas()][-1].completion_tokens
        assert core.base.ends == {core.base.tokenizer.eos_token_id}


@pytest.mark.parametrize("template", [tiny.THINKING, tiny.ALWAYS_THINKING])
async def test_thoughts_never_show(tmp_path, template):
    base = tiny.make_base(tmp_path / "thinker", template=template)
    async with core_for(base) as core:
        shown = ""
        for seed in range(6):
            text, _ = await said(core, "base", "hm", Sampling(temperature=2.0, max_tokens=40, seed=seed))
            shown += text
    assert "<think>" not in shown
    assert bool(shown) == (template == tiny.THINKING)


@pytest.mark.parametrize("damage", ["code", "cut", "pickle"])
async def test_a_base_that_cannot_be_trusted_or_read_is_one_sentence(made, tmp_path, damage):
    base = Path(shutil.copytree(made[0], tmp_path / "base"))
    weights = base / "model.safetensors"
    if damage == "code":
        proof = tmp_path / "it ran"
        (base / "evil.py").write_text(f"open({str(proof)!r}, 'w')")
        auto_map = {"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model"}
        tiny.edit_json(base / "config.json", model_type="wizard", auto_map=auto_map)
    elif damage == "cut":
        weights.write_bytes(weights.read_bytes()[:3000])
    else:
        weights.rename(base / "pytorch_model.bin")
    word = {"code": "code of its own", "cut": "cannot be loaded", "pickle": "safetensors"}[damage]
    with pytest.raises(BaseRefused, match=word):
        async with core_for(base):
            pass
    assert not (tmp_path / "it ran").exists()


async def test_a_request_that_fails_ends_alone(made, monkeypatch):
    from engine import plain
    from engine.errors import EngineError

    true_choose = plain.choose

    def choose(logits, seen, sampling, *, step):
        if sampling.seed == 666:
            raise RuntimeError("a bad row")
        return true_choose(logits, seen, sampling, step=step)

    monkeypatch.setattr(plain, "choose", choose)
    async with core_for(made[0]) as core:
        bad, good = await asyncio.gather(
            said(core, "base", "Hello", Sampling(seed=666)),
            said(core, "base", "Hello"),
            return_exceptions=True,
        )
    assert isinstance(bad, EngineError)
    assert good[1].finish_reason
