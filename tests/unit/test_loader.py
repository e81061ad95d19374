"""Persona folders: what a good one holds, and what each mistake says."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from data.script import script_of
from personas.errors import PersonaBroken, PersonaUnknown
from personas.loader import check, load_cast, load_persona
from personas.lore import LANGS
from personas.prompt import budget_for

ROOT = Path(__file__).parents[2]
SHIPPED = sorted(path.parent for path in (ROOT / "personas").glob("*/persona.toml"))
STARTER = ROOT / "data" / "starter" / "tokenizer.json"
# Rare characters of names, which both scripts write alike and only Big5 lists.
IN_BOTH_SCRIPTS = frozenset("朓璘幞")
LORE_TOKENS = 50
PROMPT_TOKENS = 110
PROMPT_WORDS = 60

shipped = pytest.mark.parametrize("folder", SHIPPED, ids=lambda folder: folder.name)


def _count(text: str) -> int:
    """The starter's own tokenizer where it is built, else two tokens a word and two a Han character."""
    if STARTER.is_file():
        return len(Tokenizer.from_file(str(STARTER)).encode(text, add_special_tokens=False).ids)
    return 2 * len(text.split())


def _wrong_script(text: str, lang: str) -> list[str]:
    other = {"zh-CN": "zh-TW", "zh-TW": "zh-CN"}[lang]
    return [one for one in text if one not in IN_BOTH_SCRIPTS and script_of(one, lang) == other]


def test_both_personas_are_shipped():
    assert {"harry_potter", "li_bai"} <= {folder.name for folder in SHIPPED}


@shipped
def test_a_shipped_folder_has_nothing_to_complain_of(folder):
    assert check(folder) == []


@shipped
def test_what_people_read_is_there_in_every_language_and_its_script(folder):
    persona = load_persona(folder)
    for lang in LANGS:
        openers = persona.openers[lang]
        assert len(set(openers)) == 6
        texts = (*openers, persona.description[lang], persona.greeting[lang], persona.names[lang])
        for text in texts:
            if lang == "en":
                assert text.isascii()
            else:
                assert script_of(text, lang) == lang
                assert _wrong_script(text, lang) == []


@shipped
def test_every_lore_section_is_short_and_in_its_script(folder):
    lore = load_persona(folder).lore
    assert len(lore.sections) >= 60
    for section in lore.sections:
        assert section.keys, section.slug
        for lang in LANGS:
            text = section.text(lang)
            assert _count(text) <= LORE_TOKENS, (section.slug, lang)
            if lang == "en":
                assert script_of(text) == "en"
            else:
                assert _wrong_script(text, lang) == [], section.slug


@shipped
def test_every_fact_stands_in_its_sections_text(folder):
    for section in load_persona(folder).lore.sections:
        for fact in section.facts:
            assert set(fact.forms) == set(LANGS), fact.id
            for lang, forms in fact.forms.items():
                text = section.text(lang).lower()
                assert any(form.lower() in text for form in forms), (fact.id, lang)


@shipped
def test_the_constant_prompt_fits_the_starter(folder):
    persona = load_persona(folder)
    assert len(persona.prompt_text.split()) <= PROMPT_WORDS
    assert _count(persona.prompt_text) <= PROMPT_TOKENS <= budget_for(1024).persona
    assert persona.prompt_text.startswith("You are ")
    assert persona.sampling.max_tokens <= budget_for(1024).reply


@shipped
def test_seed_questions_are_whole(folder):
    rows = [json.loads(line) for line in (folder / "seeds.jsonl").read_text("utf-8").splitlines()]
    assert len(rows) >= 40
    assert len({row["id"] for row in rows}) == len(rows)
    assert {row["lang"] for row in rows} == set(LANGS)
    for row in rows:
        assert row["question"].strip()
        slotted = "[slot]" in row["question"]
        assert slotted == bool(row.get("slots")), row["id"]
        assert set(row) <= {"id", "lang", "question", "slots"}
        if row["lang"] != "en":
            filled = row["question"] + "".join(row.get("slots", ()))
            assert _wrong_script(filled, row["lang"]) == [], row["id"]


@shipped
def test_rows_name_only_sections_that_exist(folder):
    persona = load_persona(folder)
    for line in (folder / "dialogues.jsonl").read_text("utf-8").splitlines():
        for slug in json.loads(line).get("lore", ()):
            assert persona.lore.section(slug), slug


@shipped
def test_a_written_question_finds_itself_among_the_examples(folder):
    persona = load_persona(folder)
    for lang in ("zh-CN", "en"):
        wanted = next(one for one in persona.examples.all if one.lang == lang and len(one.turn.user) > 10)
        found = persona.examples.nearest(wanted.turn.user, lang, limit=3)
        assert found[-1].user == wanted.turn.user
        assert len(found) == 3
    assert persona.examples.nearest("zzqqxx", "en", limit=3) == ()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    copy = tmp_path / "cast" / "harry_potter"
    copy.mkdir(parents=True)
    for name in ("persona.toml", "lore.md"):
        shutil.copyfile(ROOT / "personas" / "harry_potter" / name, copy / name)
    return copy


def _change(folder: Path, old: str, new: str) -> None:
    path = folder / "persona.toml"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("format = 1", "format = 2", ["format", "1"]),
        ("format = 1", "format = 1\ncolour = 3", ["unknown key colour"]),
        ("format = 1", "format = = 1", ["cannot be read"]),
        ("temperature = 0.6", "heat = 0.6", ["sampling.heat", "temperature"]),
        ("temperature = 0.6", 'temperature = "hot"', ["sampling.temperature", "'hot'", "number"]),
        ("temperature = 0.6", "temperature = 9", ["sampling.temperature", "2"]),
        ("temperature = 0.6", "temperature = nan", ["sampling.temperature", "nan"]),
        ("top_p = 0.9", "top_p = 0", ["sampling.top_p"]),
        ("max_tokens = 160", "max_tokens = 1.5", ["sampling.max_tokens", "whole number"]),
        ("max_tokens = 160", "max_tokens = true", ["sampling.max_tokens"]),
        ("[names]\n", '[names]\nfr = "Harry"\n', ["names.fr"]),
        ('en = "Harry Potter"\n', "", ["names.en", "missing"]),
        ('en = "Harry Potter"\n', 'en = " "\n', ["names.en", "empty"]),
        ('en = "Harry Potter"\n', 'en = "Harry\\nPotter"\n', ["names.en", "one line"]),
        ("[description]", "[prompt.description]", ["description"]),
        ('  "What is your wand made of?",\n', "", ["openers.en", "6", "5"]),
        ('  "What is your wand made of?",\n', "  7,\n", ["openers.en", "texts"]),
        ("identity = ", "identety = ", ["prompt.identety"]),
        ('aliases = ["Harry", ', 'aliases = ["", ', ["aliases"]),
        ('licence = "Apache-2.0"', "licence = 2", ["licence"]),
    ],
)
def test_a_mistake_in_a_card_is_one_sentence_with_the_key_and_the_remedy(folder, old, new, words):
    _change(folder, old, new)
    with pytest.raises(PersonaBroken) as caught:
        load_persona(folder)
    sentence = str(caught.value)
    assert "persona.toml" in sentence
    assert "\n" not in sentence
    for word in words:
        assert word in sentence
    assert check(folder) == [sentence]


@pytest.mark.parametrize("table", ["names", "openers", "prompt", "sampling"])
def test_a_table_that_is_none_is_refused(folder, table):
    path = folder / "persona.toml"
    lines = path.read_text(encoding="utf-8").split("\n\n")
    kept = [block for block in lines if not block.startswith(f"[{table}]")]
    path.write_text(f"{table} = 3\n" + "\n\n".join(kept), encoding="utf-8")
    with pytest.raises(PersonaBroken, match=table):
        load_persona(folder)


def test_a_card_that_is_no_text_is_refused(folder):
    (folder / "persona.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(PersonaBroken, match="cannot be read"):
        load_persona(folder)


@pytest.mark.parametrize("name", ["Harry", "harry-potter", "1harry", "h" * 33, "哈利", "harry\n"])
def test_a_folder_name_that_cannot_be_a_slug_is_refused(folder, name):
    with pytest.raises(PersonaBroken, match="folder name"):
        load_persona(folder, slug=name)


def test_one_broken_folder_is_named_and_the_others_go_on(folder):
    root = folder.parent
    shutil.copytree(folder, root / "ron")
    (root / "ron" / "persona.toml").unlink()
    shutil.copytree(folder, root / "hermione")
    (root / "hermione" / "lore.md").write_text("## wand\n", encoding="utf-8")
    (root / "__pycache__").mkdir()
    (root / ".part-luna").mkdir()
    (root / "notes.txt").write_text("no folder", encoding="utf-8")
    cast = load_cast([root, root / "not-there"])
    assert list(cast.personas) == ["harry_potter"]
    assert [slug for slug, _ in cast.broken] == ["hermione", "ron"]
    assert all(sentence.endswith(".") for _, sentence in cast.broken)


def test_the_operators_folder_wins_over_the_shipped_one(folder, tmp_path):
    own = tmp_path / "own"
    shutil.copytree(folder, own / "harry_potter")
    _change(own / "harry_potter", 'en = "Harry Potter"', 'en = "Our Harry"')
    cast = load_cast([folder.parent, own])
    assert cast["harry_potter"].names["en"] == "Our Harry"
    _change(own / "harry_potter", "format = 1", "format = 7")
    cast = load_cast([folder.parent, own])
    assert cast["harry_potter"].names["en"] == "Harry Potter"
    assert [slug for slug, _ in cast.broken] == ["harry_potter"]


def test_a_persona_is_found_by_name_and_alias_in_every_script(folder):
    cast = load_cast([folder.parent])
    for name in ("harry_potter", "Harry Potter", "HARRY", " 哈利·波特 ", "哈利波特", "哈利"):
        assert cast.find(name) is cast["harry_potter"]
    assert cast.find("李白") is None
    with pytest.raises(PersonaUnknown, match="harry_potter"):
        cast["li_bai"]


def test_check_names_what_is_missing_beside_the_card(folder):
    found = check(folder)
    assert len(found) == 3
    assert [name for name in ("avatar.png", "LICENSE.md", "dialogues.jsonl") if name in "".join(found)]
    (folder / "dialogues.jsonl").write_text('{"messages": [1, 2], "lang": "en"}\n', encoding="utf-8")
    assert any("dialogues.jsonl" in sentence and "cannot be read" in sentence for sentence in check(folder))
