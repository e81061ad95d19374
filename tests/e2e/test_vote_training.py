"""From votes to an adapter through the real trainer: published whole, resumed exactly, stopped in time."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from data.manifest import adapter_digest, base_fingerprint, verify
from data.snapshot import read_snapshot, write_snapshot
from personas.loader import load_persona
from personas.prompt import Message
from tests.fakes.tiny import NO_SYSTEM, make_adapter, make_base
from training.app import main
from training.attention import settle
from training.errors import RunFailed
from training.examine import examine
from training.measures import GUARDS, MEASURES, read_measures
from training.policy import change_made, continued_policy, save_adapter
from training.recipes import VOTE_RECIPES
from training.run import _material, run
from training.spoken import causal, measured, spoken_example
from training.vote_rows import Pair, Rewrite, Thumb, Votes, read_votes
from training.vote_run import _references, learn_from_votes
from training.vote_steps import deal

pytestmark = pytest.mark.long

ROOT = Path(__file__).resolve().parents[2]
PERSONA = ROOT / "personas" / "li_bai"
STARTER = ROOT / "data" / "starter"
V0 = STARTER / "adapters" / "li_bai" / "v0"
GUARD_FILES = (
    PERSONA / "choices.jsonl",
    PERSONA / "sycophancy.jsonl",
    ROOT / "data" / "sets" / "safety.jsonl",
    ROOT / "data" / "sets" / "retention.jsonl",
)
QUICK = VOTE_RECIPES["quick"]
# For a random base, whose likelihoods any step moves far.
CALM = replace(QUICK, learning_rate=1e-4)
# Items of a guard, and replies that are drawn.
FEW = 6


def some(path, many, *, of=lambda row: True):
    """A part of a corpus, the same each time."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]
    return random.Random(5).sample([row for row in rows if of(row)], many)


def write(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture(name="text", scope="module")
def _text(tmp_path_factory):
    """A persona with few dialogues, general rows and guards: what a snapshot is made of, small."""
    folder = tmp_path_factory.mktemp("text")
    persona = folder / "li_bai"
    shutil.copytree(PERSONA, persona, ignore=shutil.ignore_patterns("*.jsonl", "*.png"))
    write(persona / "dialogues.jsonl", some(PERSONA / "dialogues.jsonl", FEW, of=is_single))
    (folder / "guards").mkdir()
    for path in GUARD_FILES:
        write(folder / "guards" / path.name, some(path, FEW))
    write(folder / "general.jsonl", some(ROOT / "data" / "sets" / "general.jsonl", 20, of=is_single))
    return folder


def is_single(row):
    return len(row["messages"]) == 2


def opinions():
    """24 thumbs, 2 pairs, 2 rewrites and 8 held out: the written answers are good, strange ones bad."""
    card = load_persona(PERSONA).prompt_text
    rows = [
        row["messages"]
        for row in some(
            PERSONA / "dialogues.jsonl", 40, of=lambda row: is_single(row) and row["lang"] == "en"
        )
    ]

    def prompt(number):
        return (Message("system", card), Message("user", rows[number][0]["content"]))

    def said(number):
        return rows[number % len(rows)][1]["content"]

    def thumb(number):
        is_good = number % 3 > 0
        text = said(number) if is_good else said(number + 7)
        return Thumb(f"r{number}", f"c{number}", prompt(number), text, is_good, 0.9, (number,))

    return Votes(
        tuple(map(thumb, range(24))),
        tuple(Pair(f"p{n}", f"q{n}", "c", prompt(n), said(n), said(n + 5), (n,)) for n in (24, 25)),
        tuple(Rewrite(f"w{n}", "c", prompt(n), said(n), said(n + 3), (n,)) for n in (26, 27)),
        tuple(map(thumb, range(30, 38))),
    )


def snapshot(text, folder, *, base, reference, votes, **more):
    return write_snapshot(
        folder,
        persona_folder=text / "li_bai",
        general=[text / "general.jsonl"],
        base=base.name,
        base_fingerprint=base_fingerprint(base),
        recipe="quick",
        seed=7,
        reference=reference,
        reference_name="li_bai@01234567",
        votes=votes.files(),
        **{"first": reference, "guards": sorted((text / "guards").iterdir())} | more,
    )


def command(folder, out, base=STARTER):
    where = ["--snapshot", str(folder), "--out", str(out), "--base", str(base)]
    return ["--threads", "1", "run", *where]


def process(folder, out):
    return subprocess.Popen(
        [sys.executable, "-m", "training", *command(folder, out)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )


@pytest.fixture(name="folder", scope="module")
def _folder(text, tmp_path_factory):
    folder = tmp_path_factory.mktemp("votes") / "snapshot"
    snapshot(text, folder, base=STARTER, reference=V0, votes=opinions())
    return folder


@pytest.fixture(name="published", scope="module")
def _published(folder):
    out = folder.with_name("v1")
    trainer = process(folder, out)
    said, errors = trainer.communicate(timeout=300)
    assert trainer.returncode == 0, errors[-2000:]
    assert said == "", "standard output is for JSON alone"
    return out


class TestStarter:
    """On the base that is shipped, in processes of their own."""

    def test_a_run_publishes_a_valid_adapter_that_names_its_parent(self, published, folder):
        manifest = verify(published, base_fingerprint=base_fingerprint(STARTER))
        assert manifest.persona == "li_bai"
        assert manifest.details["parent"] == "li_bai@01234567"
        assert manifest.details["snapshot"] == read_snapshot(folder).digest
        assert {"report.json", "report.md", "loss.svg", MEASURES} <= set(manifest.files)
        left = {path.name for path in published.parent.iterdir()}
        assert left == {"snapshot", "v1"}, "neither checkpoints nor a staging folder are left"

    def test_every_guard_and_every_held_out_reply_was_measured(self, published, folder):
        found = read_measures(published / MEASURES)
        assert {guard.name for guard in found.guards} == set(GUARDS)
        assert {len(guard.ids) for guard in found.guards} == {FEW}
        held_out = read_votes(folder).held_out
        assert [one.reply_id for one in found.held_out] == [thumb.reply_id for thumb in held_out]
        assert any(one.reward for one in found.held_out)
        assert found.lengths.first == found.lengths.champion > 0
        assert {question.question for question in found.side_by_sides} <= {
            row["messages"][0]["content"]
            for row in map(json.loads, (folder / "replay_persona.jsonl").read_text().splitlines())
        }

    def test_the_report_says_what_was_learnt_and_that_nothing_was_stopped(self, published):
        report = json.loads((published / "report.json").read_text(encoding="utf-8"))
        many = {name: report[name] for name in ("thumbs", "pairs", "rewrites", "held_out")}
        assert many == {"thumbs": 24, "pairs": 2, "rewrites": 2, "held_out": 8}
        assert report["stopped"] is None
        assert report["looks"][-1]["step"] == 7
        assert report["last_loss"] < report["first_loss"]

    def test_it_speaks_otherwise_than_the_base_and_than_its_parent(self, published, folder):
        example = spoken_example(tokenizer_of(STARTER), *first_thumb(folder))
        assert change_made(STARTER, published, None, example) > 0.01
        assert change_made(STARTER, published, V0, example) > 0.001

    def test_killed_after_a_checkpoint_it_ends_with_the_same_bytes(self, published, folder):
        out = folder.with_name("killed")
        trainer = process(folder, out)
        work = out.with_name(".work-killed")
        try:
            wait_for(trainer, lambda: list(work.glob("*/checkpoint-*/trainer_state.json")))
        finally:
            trainer.send_signal(signal.SIGKILL)
            trainer.communicate()
        assert not out.exists()
        again = process(folder, out)
        _, errors = again.communicate(timeout=300)
        assert again.returncode == 0, errors[-2000:]
        assert adapter_digest(out) == adapter_digest(published)
        whole, resumed = (json.loads((each / "report.json").read_text()) for each in (published, out))
        assert resumed["looks"] == whole["looks"]
        assert (out / MEASURES).read_bytes() == (published / MEASURES).read_bytes()

    def test_the_references_are_those_of_production_to_the_last_bit(self, folder, tmp_path):
        material = _material(folder, STARTER, tmp_path, progress=False)
        model = continued_policy(STARTER, folder / "reference", quantises=False, seed=7)
        settle(causal(model))
        votes = read_votes(folder)
        items = deal(votes, material.tokenizer, QUICK, persona=(), general=(), seed=7)
        references = _references(model, items, padding=material.tokenizer.pad_token_id)
        assert set(references) == {line.example for lines in items for line in lines}
        live = AutoModelForCausalLM.from_pretrained(STARTER, dtype=torch.float32)
        live = PeftModel.from_pretrained(live, V0).eval()
        settle(causal(live))
        examples = list(references)
        found = measured(live, examples, padding=material.tokenizer.pad_token_id)
        assert [sums for sums, _ in found] == [references[example] for example in examples]
        again = _references(model, items, padding=material.tokenizer.pad_token_id)
        assert again == references


def wait_for(trainer, is_there):
    deadline = time.monotonic() + 240
    while not is_there():
        assert trainer.poll() is None, trainer.stderr.read()[-2000:]
        assert time.monotonic() < deadline
        time.sleep(0.05)


def tokenizer_of(base):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(base)


def first_thumb(folder):
    thumb = read_votes(folder).thumbs[0]
    return thumb.messages, thumb.completion


@pytest.fixture(name="world", scope="module")
def _world(tmp_path_factory, text):
    return made(tmp_path_factory.mktemp("qwen"), text)


def made(folder, text, **shape):
    """A random base, an adapter in production and a snapshot of votes on it."""
    base = make_base(folder / "base", **shape)
    live = make_adapter(folder / "live", base, persona="li_bai")
    snapshot(text, folder / "snapshot", base=base, reference=live, votes=opinions())
    return World(folder / "snapshot", base, live)


@dataclass(frozen=True, slots=True)
class World:
    folder: Path
    base: Path
    live: Path

    def learn(self, work, recipe=CALM):
        """A run without its publication, as if it were killed before that."""
        return learn_from_votes(_material(self.folder, self.base, work, progress=False), recipe)

    def run(self, place):
        return run(self.folder, base=self.base, out=place / "out", work=place / "work", progress=False)


def trained(learnt):
    return {name: each.detach() for name, each in learnt.model.named_parameters() if each.requires_grad}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


class TestTiny:
    """On a random base that knows nothing, where a run takes seconds."""

    def test_a_run_killed_before_it_published_ends_the_same_the_second_time(self, world, tmp_path):
        first, again = world.learn(tmp_path), world.learn(tmp_path)
        assert same(trained(first), trained(again))
        assert first.values == again.values
        assert first.curve.losses == again.curve.losses

    @pytest.mark.parametrize(
        "state", [None, "", '{"global_step": 99, "log_his'], ids=["none", "empty", "torn"]
    )
    def test_a_checkpoint_that_was_left_half_written_is_none(self, world, tmp_path, state):
        first = world.learn(tmp_path)
        (whole,) = tmp_path.glob("*/checkpoint-*")
        torn = whole.with_name("checkpoint-99")
        shutil.copytree(whole, torn)
        weights = load_file(torn / "adapter_model.safetensors")
        save_file({name: each + 1 for name, each in weights.items()}, torn / "adapter_model.safetensors")
        (torn / "trainer_state.json").unlink()
        if state is not None:
            (torn / "trainer_state.json").write_text(state)
        assert same(trained(first), trained(world.learn(tmp_path)))

    def test_a_rate_far_too_high_is_stopped_and_nothing_is_published(self, world, tmp_path, monkeypatch):
        monkeypatch.setitem(VOTE_RECIPES, "quick", replace(QUICK, learning_rate=3.0))
        with pytest.raises(RunFailed, match=r"stopped at step 2: .* nothing was published"):
            world.run(tmp_path)
        assert {path.name for path in tmp_path.iterdir()} <= {"work"}

    def test_one_that_is_stopped_later_ends_with_the_last_weights_that_were_well(self, world, tmp_path):
        free = replace(QUICK, learning_rate=0.02, warmup=0.9, most_fall=1e9, most_kl=1e9)
        seen = {
            look["step"]: look["kl_on_general_rows"]
            for look in world.learn(tmp_path / "a", free).values["looks"]
        }
        assert seen[2] < seen[4]
        bound = replace(free, most_kl=(seen[2] + seen[4]) / 2)
        stopped = world.learn(tmp_path / "b", bound)
        assert stopped.values["stopped"].startswith("stopped at step 4: general replies moved")
        (checkpoint,) = (tmp_path / "b").glob("*/checkpoint-*")
        assert checkpoint.name == "checkpoint-2", "nobody goes on from weights that were not well"
        saved = load_file(checkpoint / "adapter_model.safetensors")
        assert all(
            torch.equal(saved[name.replace(".default.", ".")], each)
            for name, each in trained(stopped).items()
        )
        again = world.learn(tmp_path / "b", bound)
        assert same(trained(stopped), trained(again))
        assert stopped.values == again.values

    @pytest.mark.parametrize("kept", ["rewrites", "pairs", "thumbs"])
    def test_votes_of_one_kind_alone_are_learnt_from(self, world, text, tmp_path, kept):
        folder = tmp_path / "snapshot"
        votes = replace(Votes(), **{kept: getattr(opinions(), kept)[:3]})
        snapshot(text, folder, base=world.base, reference=world.live, votes=votes)
        learnt = replace(world, folder=folder).learn(tmp_path)
        assert learnt.values[kept] == len(getattr(votes, kept))
        assert all(each.isfinite().all() for each in trained(learnt).values())
        before = load_file(world.live / "adapter_model.safetensors")
        assert any(
            (each != before[name.replace(".default.", ".")]).any() for name, each in trained(learnt).items()
        )

    def test_a_base_without_a_token_to_pad_with_trains_too(self, text, tmp_path, monkeypatch):
        monkeypatch.setitem(VOTE_RECIPES, "quick", CALM)
        world = made(tmp_path, text, family="llama", template=NO_SYSTEM)
        assert tokenizer_of(world.base).pad_token_id is None
        verify(world.run(tmp_path), base_fingerprint=base_fingerprint(world.base))

    def test_without_votes_it_says_so_in_one_sentence(self, world, text, tmp_path, capsys):
        folder, out = tmp_path / "snapshot", tmp_path / "out"
        held_out = Votes(held_out=opinions().held_out)
        snapshot(text, folder, base=world.base, reference=world.live, votes=held_out)
        assert main(command(folder, out, world.base)) == 1
        assert capsys.readouterr().err.splitlines()[-1] == (
            "The snapshot holds no votes to train on; wait for some, or rebuild from the corpus."
        )
        assert not out.exists()

    def test_what_learnt_nothing_is_not_published(self, world, tmp_path, monkeypatch):
        monkeypatch.setitem(VOTE_RECIPES, "quick", replace(QUICK, learning_rate=0.0))
        with pytest.raises(RunFailed, match="says the same as the one it came from"):
            world.run(tmp_path)
        assert not (tmp_path / "out").exists()

    def test_numbers_that_are_none_are_not_published(self, world, tmp_path):
        model = continued_policy(world.base, world.live, quantises=False, seed=1)
        with torch.no_grad():
            next(each for each in model.parameters() if each.requires_grad)[0, 0] = torch.nan
        with pytest.raises(RunFailed, match="numbers that are none"):
            save_adapter(model, tmp_path / "staging")

    def test_nor_is_anything_learnt_from_a_reference_that_is_broken(self, world, text, tmp_path):
        live = tmp_path / "live"
        shutil.copytree(world.live, live)
        weights = load_file(live / "adapter_model.safetensors")
        next(iter(weights.values()))[0, 0] = torch.nan
        save_file(weights, live / "adapter_model.safetensors", metadata={"format": "pt"})
        snapshot(text, tmp_path / "snapshot", base=world.base, reference=live, votes=opinions())
        with pytest.raises(RunFailed, match="nothing was published"):
            replace(world, folder=tmp_path / "snapshot").run(tmp_path)
        assert not (tmp_path / "out").exists()


class TestExamine:
    """What is measured of an adapter, on the random base."""

    def measures(self, world, folder, challenger, recipe=CALM):
        return examine(_material(folder, world.base, folder, progress=False), recipe, challenger)

    def test_an_adapter_beside_itself_is_neither_better_nor_worse(self, world):
        found = self.measures(world, world.folder, world.live)
        assert {guard.name for guard in found.guards} == set(GUARDS)
        for guard in found.guards:
            assert guard.champion == guard.challenger
        assert [one.reward for one in found.held_out] == [0.0] * 8
        assert found.lengths.first == found.lengths.champion == found.lengths.challenger
        assert found.side_by_sides == found.never_wrong == ()

    def test_it_is_held_against_the_champion_also_where_it_began_elsewhere(self, world, text, tmp_path):
        """As a rebuild does, which begins at the first version."""
        champion = make_adapter(tmp_path / "champion", world.base, persona="li_bai", seed=9)
        folder = tmp_path / "snapshot"
        snapshot(text, folder, base=world.base, reference=world.live, votes=opinions(), champion=champion)
        found = self.measures(world, folder, champion)
        assert all(guard.champion == guard.challenger for guard in found.guards)
        assert {one.reward for one in found.held_out} == {0.0}
        assert found.lengths.champion == found.lengths.challenger != found.lengths.first
        against = self.measures(world, folder, world.live)
        assert any(guard.champion != guard.challenger for guard in against.guards)
        assert all(one.reward for one in against.held_out)
        assert against.lengths.first == against.lengths.challenger == found.lengths.first

    def test_the_reward_is_what_dpo_calls_so_per_token(self, world, text, tmp_path):
        champion = make_adapter(tmp_path / "champion", world.base, persona="li_bai", seed=9)
        folder = tmp_path / "snapshot"
        snapshot(text, folder, base=world.base, reference=world.live, votes=opinions(), champion=champion)
        thumb = read_votes(folder).held_out[0]
        example = spoken_example(tokenizer_of(world.base), thumb.messages, thumb.completion)
        said = []
        for adapter in (champion, world.live):
            plain = AutoModelForCausalLM.from_pretrained(world.base, dtype=torch.float32)
            model = PeftModel.from_pretrained(plain, adapter).eval()
            with torch.no_grad():
                given = model(input_ids=torch.tensor([example.ids])).logits[0].log_softmax(-1)
            places = [place for place, label in enumerate(example.labels) if label >= 0]
            said.append(sum(given[place - 1, example.ids[place]].item() for place in places) / len(places))
        reward = self.measures(world, folder, world.live).held_out[0].reward
        assert reward == pytest.approx(said[1] - said[0], rel=0.1, abs=0.05)

    def test_a_guard_without_a_file_is_not_measured_and_of_many_items_the_same_part_is(
        self, world, text, tmp_path
    ):
        folder = tmp_path / "snapshot"
        guards = [text / "guards" / "choices.jsonl"]
        snapshot(text, folder, base=world.base, reference=world.live, votes=opinions(), guards=guards)
        few = replace(CALM, guard_items=4, spoken_items=3)
        first, again = (self.measures(world, folder, world.live, few) for _ in range(2))
        assert [guard.name for guard in first.guards] == ["lore", "language", "repetition", "character"]
        assert [len(guard.ids) for guard in first.guards] == [4, 3, 3, 3]
        assert first == again
