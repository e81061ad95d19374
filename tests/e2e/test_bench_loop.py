"""The bench as it is: engine and trainer in processes of their own, on the starter; little is learnt."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from bot.app import SETS, SHIPPED_ADAPTERS, SHIPPED_PERSONAS, STARTER
from bot.bench.command import Asked, measure, options_of
from bot.bench.loop import Silent
from bot.bench.options import Site
from bot.loop import Terms
from bot.settings import Settings
from training.measures import GUARDS

FEW = 8


@pytest.fixture(name="few_are_enough")
def _enough(monkeypatch):
    for name, least in (("ENOUGH_OF_EACH", 2), ("ENOUGH_RATERS", 3), ("ENOUGH_HELD_OUT", 0)):
        monkeypatch.setattr(f"training.eligibility.{name}", least)
    monkeypatch.setattr("bot.bench.loop.ENOUGH_ROWS", FEW)
    monkeypatch.setattr("bot.bench.world.Terms", lambda *args, **more: Terms(*args, least_rows=FEW, **more))


@pytest.mark.long
@pytest.mark.usefixtures("few_are_enough")
async def test_a_round_on_the_starter_fills_every_key():
    asked = Asked(is_short=True, rounds=1, replies=24, threads=2, recipe="quick")
    site = Site(SHIPPED_PERSONAS, SETS, SHIPPED_ADAPTERS, STARTER)
    found = await measure(site, Settings(), replace(options_of(asked), prompts=6), Silent())
    assert found["taste"]["form"]["n"] == 6
    assert 0 <= found["taste"]["start"] <= 1
    # With next to nothing held out the gate refuses, and what runs learnt stays where it is.
    (run,) = found["runs"]
    assert (run["state"], found["promotions"], found["refusals"]) in {("rejected", 0, 1), ("failed", 0, 1)}
    if run["state"] == "rejected":
        assert set(found["guards"]) == {*GUARDS, "length"}
        for span in found["guards"].values():
            assert span["start"] == span["end"]
            assert span["n"] >= 100
            assert math.isfinite(span["start"])
    assert found["seconds"]["train"] > 1
