"""The held-out questions: probes and choices of each persona, and the retention set of the base."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from bot.runs import SETS
from data.checks.duplicates import fold
from data.checks.leaks import Probe, leaks
from data.checks.rows import read_corpus
from data.snapshot import write_snapshot

ROOT = Path(__file__).parents[2]
SLUGS = {"harry_potter": "hp", "li_bai": "lb"}
LANGS = {"en", "zh-CN", "zh-TW"}
KINDS = {"fact", "sum", "choice", "style", "false_claim", "identity", "unknown"}
SINGLE, SEVERAL = 165, 80
# Written before the rule that a question holds none of its accepted forms.
ECHOES = {"hp-027", "hp-132", "hp-145", "lb-077", "lb-124", "lb-138"}
RETENTION_KINDS = {
    "animals", "count", "days", "difference", "months", "opposite", "plain", "product", "sum",
    "translate_en_zh", "translate_zh_en",
}  # fmt: skip
OPERATIONS = {
    "sum": (re.compile(r"(\d+) ?(?:\+|加|plus) ?(\d+)"), lambda a, b: a + b),
    "difference": (re.compile(r"(\d+) ?(?:-|减|減) ?(\d+)"), lambda a, b: a - b),
    "product": (re.compile(r"(\d+) ?(?:×|乘) ?(\d+)"), lambda a, b: a * b),
}


def rows(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def probes(slug):
    return rows(ROOT / "personas" / slug / "probes.jsonl")


def choices(slug):
    return rows(ROOT / "personas" / slug / "choices.jsonl")


def retention():
    return rows(ROOT / "data" / "sets" / "retention.jsonl")


def asked(row):
    return row["question"] if "question" in row else row["turns"][-1]


def is_right(row, reply):
    text = reply.casefold()
    return all(any(form.casefold() in text for form in group) for group in row["all"]) and not any(
        form.casefold() in text for form in row["none"]
    )


def check_options(row):
    assert isinstance(row["question"], str), row["id"]
    assert row["question"].strip(), row["id"]
    assert row["lang"] in LANGS, row["id"]
    options = row["options"]
    assert len(options) == len(set(options)) == 4, row["id"]
    assert all(option == option.strip() and option for option in options), row["id"]
    assert row["right"] in range(4), row["id"]
    # Likelihoods are compared, so length must not give the answer away.
    assert max(map(len, options)) <= 2 * min(map(len, options)) + 3, row["id"]


def check_spread(found):
    counts = Counter(row["right"] for row in found)
    assert all(0.24 * len(found) <= counts[place] <= 0.26 * len(found) for place in range(4)), counts


@pytest.mark.parametrize("slug", SLUGS)
def test_every_probe_has_the_form(slug):
    for number, row in enumerate(probes(slug), start=1):
        one = "turns" if "turns" in row else "question"
        extra = {"options"} if "options" in row else set()
        assert set(row) == {"id", "lang", "topic", "kind", one, "all", "none"} | extra, row["id"]
        assert row["id"] == f"{SLUGS[slug]}-{number:03}"
        assert row["lang"] in LANGS, row["id"]
        assert row["kind"] in KINDS, row["id"]
        assert re.fullmatch(SLUGS[slug].upper() + r"-[A-Z]{2}-\d\d", row["topic"]), row["id"]
        if one == "turns":
            assert 2 <= len(row["turns"]) <= 4, row["id"]
            assert all(turn.strip() for turn in row["turns"]), row["id"]
        groups = [*row["all"], row["none"]]
        assert all(isinstance(form, str) and form.strip() for group in groups for form in group), row["id"]
        assert all(row["all"]), row["id"]
        if row["kind"] in {"fact", "sum", "choice", "false_claim", "unknown"}:
            assert row["all"], row["id"]


@pytest.mark.parametrize("slug", SLUGS)
def test_there_are_enough_probes_in_every_language(slug):
    found = probes(slug)
    several = [row for row in found if "turns" in row]
    assert len(several) >= SEVERAL
    assert len(found) - len(several) >= SINGLE
    assert len({json.dumps(row.get("turns", asked(row))) for row in found}) == len(found)
    langs = Counter(row["lang"] for row in several)
    assert all(langs[lang] >= 0.15 * len(several) for lang in LANGS), langs
    assert len({row["topic"].split("-")[1] for row in several}) >= 12


@pytest.mark.parametrize("slug", SLUGS)
def test_a_question_holds_none_of_its_accepted_forms(slug):
    for row in probes(slug):
        if row["kind"] in {"fact", "sum", "choice"} and row["id"] not in ECHOES:
            text = asked(row).casefold()
            found = [form for group in row["all"] for form in group if form.casefold() in text]
            assert not found, (row["id"], found)


@pytest.mark.parametrize("slug", SLUGS)
def test_no_accepted_form_is_refused_by_another_rule_of_its_row(slug):
    for row in probes(slug):
        for form in (form for group in row["all"] for form in group):
            assert not [bad for bad in row["none"] if bad.casefold() in form.casefold()], (row["id"], form)


@pytest.mark.parametrize("slug", SLUGS)
def test_of_a_probes_options_only_the_first_is_right(slug):
    for row in probes(slug):
        if "options" in row:
            assert [is_right(row, option) for option in row["options"]] == [True, False, False, False], row[
                "id"
            ]


@pytest.mark.parametrize("slug", SLUGS)
def test_choices_have_the_form_and_give_nothing_away(slug):
    found = choices(slug)
    assert len(found) >= 500
    for number, row in enumerate(found, start=1):
        assert set(row) == {"id", "lang", "topic", "question", "options", "right"}, row["id"]
        assert row["id"] == f"{SLUGS[slug]}-c{number:04}"
        assert row["topic"].startswith(SLUGS[slug].upper() + "-"), row["id"]
        check_options(row)
    check_spread(found)
    langs = Counter(row["lang"] for row in found)
    assert all(langs[lang] >= 0.15 * len(found) for lang in LANGS), langs
    assert len({(row["lang"], row["question"]) for row in found}) == len(found)
    assert not {asked(row) for row in probes(slug)} & {row["question"] for row in found}


def test_retention_has_the_form_and_gives_nothing_away():
    found = retention()
    assert len(found) >= 1000
    for number, row in enumerate(found, start=1):
        assert set(row) == {"id", "lang", "kind", "question", "options", "right"}, row["id"]
        assert row["id"] == f"ret-{number:04}"
        check_options(row)
    check_spread(found)
    kinds = Counter(row["kind"] for row in found)
    assert set(kinds) == RETENTION_KINDS
    assert min(kinds.values()) >= 30
    langs = Counter(row["lang"] for row in found)
    assert all(langs[lang] >= 0.08 * len(found) for lang in LANGS), langs
    assert len({row["question"] for row in found}) == len(found)


@pytest.mark.parametrize("kind", OPERATIONS)
def test_the_right_answer_of_a_sum_in_figures_is_right(kind):
    pattern, result = OPERATIONS[kind]
    checked = 0
    for row in retention():
        numbers = pattern.search(row["question"])
        said = re.search(r"\d+", row["options"][row["right"]])
        if row["kind"] == kind and numbers and said:
            assert int(said[0]) == result(int(numbers[1]), int(numbers[2])), row["id"]
            checked += 1
    assert checked > 10


def test_no_choice_and_no_retention_question_is_worded_as_a_training_question():
    dialogues = [ROOT / "personas" / slug / "dialogues.jsonl" for slug in SLUGS]
    trained = {
        fold(message["content"])
        for path in (*(ROOT / "data" / "sets" / name for name in SETS), *dialogues)
        for row in rows(path)
        for message in row["messages"]
        if message["role"] == "user"
    }
    off_list = [row for slug in SLUGS for row in rows(ROOT / "personas" / slug / "offlist.jsonl")]
    held_out = [*retention(), *(row for slug in SLUGS for row in choices(slug)), *off_list]
    assert not [row["id"] for row in held_out if fold(row["question"]) in trained]


@pytest.mark.parametrize("slug", SLUGS)
def test_no_dialogue_asks_what_a_probe_asks_nor_nearly(slug):
    folder = ROOT / "personas" / slug
    dialogues = read_corpus(folder / "dialogues.jsonl").rows
    held_out = [
        Probe(row["id"], row["topic"], tuple(row["turns"] if "turns" in row else [row["question"]]))
        for row in rows(folder / "probes.jsonl")
    ]
    assert leaks(dialogues, held_out) == []


@pytest.mark.parametrize("slug", SLUGS)
def test_no_held_out_question_comes_into_a_training_run(slug, tmp_path):
    assert not {"retention.jsonl", "copying.jsonl"} & set(SETS)
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
    assert not names & {"probes.jsonl", "choices.jsonl", "offlist.jsonl", "retention.jsonl"}


def test_no_value_that_is_to_be_copied_was_ever_read():
    dialogues = [ROOT / "personas" / slug / "dialogues.jsonl" for slug in SLUGS]
    paths = (*(ROOT / "data" / "sets" / name for name in SETS), *dialogues)
    trained = "\n".join(path.read_text(encoding="utf-8") for path in paths).casefold()
    cases = rows(ROOT / "data" / "sets" / "copying.jsonl")
    assert Counter(row["lang"] for row in cases) == {"en": 100, "zh-CN": 100, "zh-TW": 100}
    # A number of two or three digits stands somewhere in any text.
    assert not [
        row["id"] for row in cases if not row["value"].isdigit() and row["value"].casefold() in trained
    ]
