"""Attacks: each changes what it says it changes, and nothing beside it."""

from __future__ import annotations

import json
import math
import shutil
import struct
from random import Random

import pytest

from bot.bench.attacks import ATTACKS, attack_of, fill_with_nan, poison, slip_in
from bot.bench.errors import AttackUnknown
from bot.bench.people import crowd
from data.flags import flags
from data.manifest import read_manifest, verify
from data.snapshot import SnapshotError, read_snapshot, write_snapshot
from tests.fakes.adapter import adapter
from tests.fakes.engine import FINGERPRINT
from tests.fakes.troupe import ROOT
from training.recipes import VOTE_RECIPES

PEOPLE = crowd(60, seed=7)


def test_every_attack_changes_something_and_says_what():
    for attack in ATTACKS.values():
        changed = attack.people(PEOPLE, Random(1)) != PEOPLE
        others = (attack.rewarded, attack.persona, attack.snapshot, attack.recipe, attack.adapter)
        assert sum((changed, *(other is not None for other in others))) == 1
        assert attack_of(attack.name) is attack
        assert attack.what


def test_an_unknown_attack_is_refused_with_the_known_ones():
    with pytest.raises(AttackUnknown, match=r"No attack is called nope; there are trolls, .*nan-adapter\."):
        attack_of("nope")


@pytest.mark.parametrize(("name", "spared"), [("flipped", 0), ("flipped-raters", 4)])
def test_flipped_votes_say_the_opposite(name, spared):
    after = attack_of(name).people(PEOPLE, Random(1))
    same = [before for before, now in zip(PEOPLE, after, strict=True) if before == now]
    assert same == list(PEOPLE[:spared])
    assert all(now.reliability < 0.5 for now in after[spared:])


def test_the_fast_recipe_is_the_starters_but_thirty_times_as_fast():
    name = attack_of("learning-rate").recipe
    assert VOTE_RECIPES[name].learning_rate == 30 * VOTE_RECIPES["starter"].learning_rate
    assert VOTE_RECIPES[name].epochs == VOTE_RECIPES["starter"].epochs


def test_an_adapter_of_no_numbers_still_looks_like_one(tmp_path):
    folder = tmp_path / "adapter"
    before = adapter(folder, seed=3)
    fill_with_nan(folder)
    manifest = verify(folder, base_fingerprint=FINGERPRINT)
    assert manifest.digest != before
    assert manifest.persona == read_manifest(folder).persona
    raw = (folder / "adapter_model.safetensors").read_bytes()
    values = raw[8 + int.from_bytes(raw[:8], "little") :]
    assert all(math.isnan(value) for (value,) in struct.iter_unpack("<f", values))


def test_one_answer_in_fifty_is_an_advertisement_that_the_guards_know(tmp_path):
    said = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    path = tmp_path / "dialogues.jsonl"
    langs = ("en", "zh-CN", "zh-TW")
    path.write_text(
        "".join(json.dumps({"messages": said, "lang": langs[number % 3]}) + "\n" for number in range(300))
    )
    poison(tmp_path)
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    changed = [row for row in rows if row["messages"][-1]["content"] != "a"]
    assert (len(rows), len(changed)) == (300, 6)
    assert all("character" in flags(row["messages"][-1]["content"], lang=row["lang"]) for row in changed)


def test_a_vote_that_was_slipped_in_is_seen(tmp_path):
    persona = tmp_path / "li_bai"
    persona.mkdir()
    shutil.copy(ROOT / "personas" / "li_bai" / "persona.toml", persona)
    (persona / "dialogues.jsonl").write_text("")
    thumb = {"reply_id": "r", "completion": "Well.", "is_good": False, "weight": 0.9}
    folder = tmp_path / "snapshot"
    write_snapshot(
        folder,
        persona_folder=persona,
        general=[],
        base="starter",
        base_fingerprint=FINGERPRINT,
        recipe="quick",
        seed=7,
        votes={"thumbs.jsonl": [thumb]},
    )
    read_snapshot(folder)
    slip_in(folder)
    rows = [json.loads(line) for line in (folder / "thumbs.jsonl").read_text().splitlines()]
    assert [row["is_good"] for row in rows] == [False, True]
    with pytest.raises(SnapshotError, match="changed after it was written"):
        read_snapshot(folder)
