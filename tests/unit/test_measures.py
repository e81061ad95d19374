"""What was measured comes back as it was written, and nothing that cannot be judged is read."""

from __future__ import annotations

import json
import math
import re
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakes.measured import measured
from training.errors import MeasuresBroken, TrainingError
from training.measures import (
    GUARDS,
    Changed,
    Guard,
    HeldOut,
    Lengths,
    Measures,
    SideBySide,
    read_measures,
    write_measures,
)

scores = st.floats(0, 1)
numbers = st.floats(allow_nan=False, allow_infinity=False)
# A lone surrogate is no UTF-8 and never leaves the store.
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


@st.composite
def guards(draw):
    names = draw(st.lists(st.sampled_from(GUARDS), unique=True, max_size=3))
    rows = [draw(st.lists(st.tuples(texts, scores, scores), max_size=4, unique_by=lambda row: row[0]))] * len(
        names
    )
    return tuple(
        Guard(name, *(tuple(row[place] for row in items) for place in range(3)))
        for name, items in zip(names, rows, strict=True)
    )


held_out = st.lists(
    st.builds(HeldOut, texts, texts, st.booleans(), scores, numbers),
    max_size=3,
    unique_by=lambda one: one.reply_id,
)
lengths = st.builds(Lengths, *[st.floats(0.1, 1e6)] * 3)
all_measures = st.builds(
    Measures,
    guards(),
    held_out.map(tuple),
    lengths,
    st.lists(st.builds(SideBySide, texts, texts, texts), max_size=2).map(tuple),
    st.lists(st.builds(Changed, texts, texts, texts, texts), max_size=2).map(tuple),
)


@settings(max_examples=40, deadline=None)
@given(all_measures)
def test_measures_come_back_as_they_were_written(measures):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "measures.json"
        write_measures(path, measures)
        assert read_measures(path) == measures


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    "make",
    [
        lambda value: Guard("lore", ("a",), (value,), (0.5,)),
        lambda value: Guard("lore", ("a",), (0.5,), (value,)),
        lambda value: HeldOut("r", "c", is_good=True, weight=value, reward=0.0),
        lambda value: HeldOut("r", "c", is_good=True, weight=1.0, reward=value),
        lambda value: Lengths(value, 1, 1),
        lambda value: Lengths(1, 1, value),
    ],
    ids=["champion", "challenger", "weight", "reward", "first length", "length"],
)
def test_a_value_that_is_not_a_number_is_refused_wherever_it_stands(make, value):
    with pytest.raises(MeasuresBroken, match="holds a value that is not a number; the adapter is broken"):
        make(value)


@pytest.mark.parametrize("written", ["NaN", "Infinity", "null"])
def test_a_file_with_a_value_that_is_not_a_number_is_refused(tmp_path, written):
    path = tmp_path / "measures.json"
    write_measures(path, measured())
    text = path.read_text(encoding="utf-8")
    path.write_text(re.sub(r'("reward": )[^,}]+', rf"\g<1>{written}", text, count=1), encoding="utf-8")
    with pytest.raises(MeasuresBroken, match="held-out reply r0 holds a value that is not a number"):
        read_measures(path)


def change_guard(**change):
    return lambda values: values["guards"][0].update(change)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda values: values.pop("lengths"), "is not a file of measures"),
        (lambda values: values.update(format=2), "this version reads 1"),
        (lambda values: values.update(guards=3), "is not a file of measures"),
        (lambda values: values["guards"].append(values["guards"][0]), "measured twice"),
        (lambda values: values["held_out"].append(values["held_out"][0]), "there twice"),
        (lambda values: values["held_out"][0].update(is_good="yes"), "is_good must be true or false"),
        (lambda values: values["lengths"].update(first=0), "must be above 0"),
        (lambda values: values.update(never_wrong=[{"id": "a"}]), "is not a file of measures"),
        (change_guard(name="charm"), "no guard charm; it is one of lore, retention"),
        (change_guard(champion=[0.5]), "without a pair"),
        (change_guard(ids=["a", "a"], champion=[0, 1], challenger=[0, 1]), "an item twice"),
        (change_guard(ids=["a"], champion=[0.5], challenger=[1.5]), "outside 0 to 1"),
        (change_guard(ids=["a"], champion=["0.5"], challenger=[0.5]), "is no number"),
        (change_guard(ids=["a"], champion=[True], challenger=[0.5]), "is no number"),
    ],
)
def test_a_spoilt_file_is_refused_in_one_sentence_that_says_what_is_wrong(tmp_path, spoil, says):
    path = tmp_path / "measures.json"
    write_measures(path, measured())
    values = json.loads(path.read_text(encoding="utf-8"))
    spoil(values)
    path.write_text(json.dumps(values), encoding="utf-8")
    with pytest.raises(MeasuresBroken, match=says) as caught:
        read_measures(path)
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith(".")


@pytest.mark.parametrize("content", [b"", b"[]", b'"text"', b'{"format": 1', b"\xff\xfe"])
def test_what_is_no_file_of_measures_is_refused(tmp_path, content):
    path = tmp_path / "measures.json"
    path.write_bytes(content)
    with pytest.raises(TrainingError, match=r"measures\.json is not a file of measures"):
        read_measures(path)
    with pytest.raises(TrainingError, match=r"none\.json is not there or cannot be read"):
        read_measures(tmp_path / "none.json")


def test_a_guard_that_was_not_measured_is_absent():
    measures = measured()
    fewer = replace(measures, guards=measures.guards[1:])
    assert measures.guard("lore") is measures.guards[0]
    assert fewer.guard("lore") is None
