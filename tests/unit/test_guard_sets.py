"""The guard sets with two options: false claims to correct and harm to refuse, held out like the probes."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from math import ceil
from pathlib import Path
from statistics import fmean

import pytest

from bot.corpora import gather
from bot.runs import SETS
from data.checks.duplicates import fold, jaccard, pairs
from data.chinese import simplified
from data.script import script_of
from data.snapshot import write_snapshot
from personas.loader import load_cast
from training.choices import read_choices

ROOT = Path(__file__).parents[2]
SLUGS = ("harry_potter", "li_bai")
PATHS = {slug: ROOT / "personas" / slug / "sycophancy.jsonl" for slug in SLUGS} | {
    "safety": ROOT / "data" / "sets" / "safety.jsonl"
}
PREFIXES = {"harry_potter": "syc-h", "li_bai": "syc-l", "safety": "safe"}
LEAST = {
    "harry_potter": {"en": 110, "zh-CN": 110, "zh-TW": 40},
    "li_bai": {"en": 110, "zh-CN": 110, "zh-TW": 40},
    "safety": {"en": 100, "zh-CN": 100, "zh-TW": 40},
}
FALSE_CLAIMS = {"world", "common", "insist"}
HARMS = {"self_harm", "medicine", "weapon", "hate", "private", "minor", "cheat", "despair"}
NEAR = 0.7
LANGS = ("en", "zh-CN", "zh-TW")

every_set = pytest.mark.parametrize("name", PATHS)


def rows(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def plain(text):
    return fold(simplified(text))


def lengths(row):
    """The folded letters of the right and of the wrong option."""
    return len(fold(row.options[row.right])), len(fold(row.options[1 - row.right]))


@pytest.fixture(name="trained", scope="module")
def _trained():
    dialogues = [ROOT / "personas" / slug / "dialogues.jsonl" for slug in SLUGS]
    return {
        plain(message["content"])
        for path in (*(ROOT / "data" / "sets" / name for name in SETS), *dialogues)
        for row in rows(path)
        for message in row["messages"]
        if message["role"] == "user"
    }


@every_set
def test_every_item_has_the_form(name):
    found = read_choices(PATHS[name])
    kinds = HARMS if name == "safety" else FALSE_CLAIMS
    for number, row in enumerate(found, start=1):
        assert row.id == f"{PREFIXES[name]}-{number:04}"
        assert row.kind in kinds, row.id
        assert len(set(map(fold, row.options))) == len(row.options) == 2, row.id
        assert all(text == text.strip() and text for text in (row.question, *row.options)), row.id
    assert {row.kind for row in found} == kinds


@every_set
def test_there_are_enough_items_in_every_language(name):
    langs = Counter(row.lang for row in read_choices(PATHS[name]))
    assert all(langs[lang] >= least for lang, least in LEAST[name].items()), langs
    assert set(langs) == set(LANGS)


@pytest.mark.parametrize("slug", SLUGS)
def test_most_false_claims_are_of_the_personas_own_world(slug):
    kinds = Counter(row.kind for row in read_choices(PATHS[slug]))
    total = kinds.total()
    assert 0.6 <= kinds["world"] / total <= 0.8, kinds
    assert min(kinds["common"], kinds["insist"]) >= 0.1 * total, kinds


@every_set
@pytest.mark.parametrize("lang", LANGS)
def test_the_right_option_stands_first_as_often_as_second(name, lang):
    places = [row.right for row in read_choices(PATHS[name]) if row.lang == lang]
    assert 0.4 <= fmean(places) <= 0.6


@every_set
@pytest.mark.parametrize("lang", LANGS)
def test_length_does_not_give_the_right_option_away(name, lang):
    found = [row for row in read_choices(PATHS[name]) if row.lang == lang]
    both = [lengths(row) for row in found]
    assert sum(right > wrong for right, wrong in both) <= 0.6 * len(both)
    assert sum(right < wrong for right, wrong in both) <= 0.6 * len(both)
    assert all(max(each) <= 1.35 * min(each) for each in both)
    sizes = [[len(option.encode()) for option in row.options] for row in found]
    ratios = [size[row.right] / size[1 - row.right] for row, size in zip(found, sizes, strict=True)]
    assert 0.9 <= fmean(ratios) <= 1.1


@every_set
def test_question_and_options_are_in_the_language_they_name(name):
    for row in read_choices(PATHS[name]):
        spoken = {script_of(text, row.lang) for text in (row.question, *row.options)}
        assert spoken == {row.lang}, row.id


def test_no_question_is_asked_twice():
    asked = Counter(plain(row.question) for path in PATHS.values() for row in read_choices(path))
    assert [question for question, times in asked.items() if times > 1] == []


def test_no_question_is_a_training_question_nor_near_one(trained):
    texts = sorted(trained)
    grams = [pairs(text) for text in texts]
    holders = defaultdict(list)
    for at, each in enumerate(grams):
        for pair in each:
            holders[pair].append(at)
    leaked = []
    for path in PATHS.values():
        for row in read_choices(path):
            own = pairs(plain(row.question))
            # Sets that near share one of these; Bayardo et al., as `data.checks.duplicates.near_twins`.
            rarest = sorted(own, key=lambda pair: len(holders.get(pair, ())))
            rarest = rarest[: len(own) - ceil(NEAR * len(own)) + 1]
            candidates = {at for pair in rarest for at in holders.get(pair, ())}
            leaked += [(row.id, texts[at]) for at in candidates if jaccard(own, grams[at]) >= NEAR]
    assert leaked == []
    assert not trained & {plain(row.question) for path in PATHS.values() for row in read_choices(path)}


def test_no_question_stands_in_another_held_out_set():
    """What one check asks, another would only count again."""
    paths = [
        *(ROOT / "personas" / slug / f"{one}.jsonl" for slug in SLUGS for one in ("choices", "offlist")),
        ROOT / "data" / "sets" / "retention.jsonl",
    ]
    others = {plain(row["question"]) for path in paths for row in rows(path)}
    others |= {
        plain(turn)
        for slug in SLUGS
        for row in rows(ROOT / "personas" / slug / "probes.jsonl")
        for turn in row.get("turns") or [row["question"]]
    }
    own = {plain(row.question): row.id for path in PATHS.values() for row in read_choices(path)}
    assert [own[question] for question in own.keys() & others] == []


def test_a_corpus_that_asks_a_guard_question_is_told_so(tmp_path):
    corpus = tmp_path / "mine.jsonl"
    corpus.write_text('{"question": "hello there", "answer": "Hello."}\n', encoding="utf-8")
    cast = load_cast([ROOT / "personas"]).personas
    (checked,) = gather([str(corpus)], cast, sets=ROOT / "data" / "sets")
    compared = {probe.id for probe in checked.context.probes}
    assert {row.id for path in PATHS.values() for row in read_choices(path)} <= compared


@pytest.mark.parametrize("slug", SLUGS)
def test_no_guard_question_comes_into_what_a_run_trains_on(slug, tmp_path):
    assert "safety.jsonl" not in SETS
    write_snapshot(
        tmp_path / "snapshot",
        persona_folder=ROOT / "personas" / slug,
        general=[],
        base="tiny",
        base_fingerprint="0",
        recipe="tiny",
        seed=1,
    )
    names = {path.name for path in (tmp_path / "snapshot").rglob("*")}
    assert "lore.md" in names
    assert not names & {"sycophancy.jsonl", "safety.jsonl"}
