"""What the bench tells: keys, shares, the row of an attack, the table, the picture; and its calendar."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from typer.testing import CliRunner

from bot.bench.calendar import Calendar
from bot.bench.command import PAIR, Asked, options_of
from bot.bench.loop import Ended, Outcome
from bot.bench.prompts import Tasted
from bot.bench.report import document, draw, line, read_lines, summary, table
from bot.bench.standing import Span, pooled, spans, within
from bot.bench.tastes import TASTES
from bot.bench.world import CRON
from bot.cli_bench import bench_app
from data.run_records import Run
from tests.fakes.measured import measured, with_guard
from training.measures import GUARDS, Guard, Lengths

HARRY, LI_BAI = PAIR


def run(state, **more):
    empty = dict.fromkeys(Run.__slots__)
    return Run(**empty | {"id": "1", "persona": HARRY, "state": state} | more)


def tasted(**shares):
    return Tasted("a", shares, 60, (("q", "r"),))


def outcome(**guards):
    return Outcome(
        {
            HARRY: [tasted(liked=0.2, form=0.4, tone=0.1), tasted(liked=0.6, form=0.9, tone=0.4)],
            LI_BAI: [tasted(liked=0.4, form=0.6, tone=0.3), tasted(liked=0.8, form=0.9, tone=0.7)],
        },
        {HARRY: guards or {"lore": Span(0.8, 0.79, 100)}, LI_BAI: {"lore": Span(0.6, 0.63, 300)}},
        [
            Ended(1, run("rejected", reason="lore fell.")),
            Ended(2, run("promoted", promoted_at=1.0)),
            Ended(3, run("rolled_back", promoted_at=2.0, reason="A moderator rolled it back.")),
            Ended(4, run("failed", error="The trainer ended.")),
            Ended(4, run("canary")),
        ],
        {"chat": 90.0, "train": 60.0},
    )


def found(**more):
    return document(outcome(**more), options_of(Asked()), seconds=150.04)


def test_the_document_has_a_share_for_each_taste_and_guard():
    values = found()
    assert (values["taste"]["start"], values["taste"]["end"]) == (0.35, 0.725)
    assert values["taste"]["form"] == {"start": 0.5, "end": 0.9, "n": 120}
    assert values["guards"] == {"lore": {"start": 0.65, "end": 0.67, "n": 400}}
    assert values["personas"][HARRY]["guards"]["lore"] == {"start": 0.8, "end": 0.79, "n": 100}
    assert [shares["form"] for shares in values["personas"][HARRY]["curve"]] == [0.4, 0.9]
    assert values["baselines"] == {}
    assert values["seconds"]["all"] == 150.0


def test_runs_are_counted_by_what_became_of_them():
    values = found()
    assert [values[name] for name in ("promotions", "refusals", "rollbacks")] == [2, 2, 1]
    assert [row["reason"] for row in values["runs"]] == [
        "lore fell.",
        None,
        "A moderator rolled it back.",
        "The trainer ended.",
        None,
    ]


def test_people_read_the_same_in_a_table():
    text = summary(found())
    assert "| form | 50.0% | 90.0% | 120 |" in text
    assert text.endswith("2 promotions, 2 refusals, 1 rollbacks; 2.5 minutes (chat 90 s, train 60 s).")


def test_an_attack_leaves_its_worst_guard_of_any_persona(tmp_path):
    values = found() | {"attack": "trolls"}
    row = json.loads(line(values, on="2027-01-04"))
    assert row["worst"] == {"guard": "lore", "persona": HARRY, "points": -1.0}
    assert row["reasons"] == ["lore fell.", "A moderator rolled it back.", "The trainer ended."]
    log = tmp_path / "runs.jsonl"
    assert read_lines(log) == []
    log.write_text(f"{line(values, on='2027-01-03')}\n{line(values | {'gate': False}, on='2027-01-04')}\n")
    assert [row["on"] for row in read_lines(log)] == ["2027-01-03", "2027-01-04"]


def test_the_table_shows_the_newest_of_each_attack_with_and_without_the_gate():
    old = json.loads(line(found() | {"attack": "trolls"}, on="2027-01-03"))
    new = old | {"promotions": 7}
    rows = table([old, new, old | {"gate": False}, old | {"attack": "flipped"}]).splitlines()
    assert [row.split(" | ")[:3] for row in rows[2:]] == [
        ["| flipped", "yes", "2"],
        ["| trolls", "yes", "7"],
        ["| trolls", "no", "2"],
    ]
    assert "| lore | -1.0 | 2.5 |" in rows[2]


def test_the_command_prints_the_table_of_a_file(tmp_path):
    log = tmp_path / "runs.jsonl"
    log.write_text(line(found() | {"attack": "trolls"}, on="2027-01-03") + "\n")
    result = CliRunner().invoke(bench_app, ["loop", "--table", "--log", str(log)])
    assert result.exit_code == 0
    assert "| trolls | yes | 2 | 2 | 1 |" in result.stdout


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--attack", "nope"], "No attack is called nope"),
        (["--taste", "nope"], "names no taste"),
        (["--persona", "nope"], "nobody here is called nope"),
        (["--demo", "--attack", "trolls"], "not both"),
    ],
)
def test_wrong_use_is_one_sentence(options, reason, logs_as_before):
    result = CliRunner().invoke(bench_app, ["loop", *options], terminal_width=200)
    assert result.exit_code == 2
    assert reason in result.output


def test_the_curves_are_a_picture_of_always_the_same_bytes(tmp_path):
    draw(found(), tmp_path / "one.svg")
    draw(found(), tmp_path / "two.svg")
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()
    assert (
        "li_bai: form" in (tmp_path / "one.svg").read_text() or "<svg" in (tmp_path / "one.svg").read_text()
    )


def test_guards_start_with_the_first_champion_and_end_with_the_live_one():
    first = measured()
    live = with_guard(measured(1), Guard("lore", ("a", "b"), (0.1, 0.1), (0.5, 0.7)))
    values = spans(first, live)
    assert set(values) == {*GUARDS, "length"}
    assert values["lore"].start == pytest.approx(sum(first.guard("lore").champion) / 544)
    assert values["lore"].end == pytest.approx(0.6)
    assert all(span.start == span.end for span in spans(first, None).values())
    assert spans(None, None) == {}


def test_personas_are_pooled_by_their_items():
    both = pooled([{"lore": Span(0.2, 0.4, 100)}, {"lore": Span(0.6, 0.8, 300)}, {}])
    assert both["lore"].start == pytest.approx(0.5)
    assert (both["lore"].end, both["lore"].n) == (pytest.approx(0.7), 400)


@pytest.mark.parametrize(("length", "share"), [(20, 0.8), (25, 1.0), (100, 1.0), (200, 0.5), (0, 0.0)])
def test_a_length_outside_the_band_is_a_share_of_it(length, share):
    assert within(Lengths(50, 50, 50), length) == pytest.approx(share)


def test_time_passes_until_the_next_monday_and_nobody_has_talked_lately():
    calendar = Calendar()
    began = calendar.now()
    calendar.skip_to_next(CRON)
    first = datetime.fromtimestamp(calendar.now(), UTC)
    assert (first.weekday(), first.hour, first.minute) == (0, 4, 0)
    calendar.skip_to_next(CRON)
    assert (datetime.fromtimestamp(calendar.now(), UTC).date() - first.date()).days == 7
    assert calendar.now() - began > 900


def test_two_personas_learn_opposites_and_a_short_bench_takes_one():
    whole, short = options_of(Asked()), options_of(Asked(is_short=True))
    assert list(whole.likes) == [HARRY, LI_BAI]
    assert [taste.name for taste in whole.likes[HARRY].tastes] == list(TASTES)
    reply = "One sentence only."
    assert [likes.tastes[0].likes("", reply) for likes in whole.likes.values()] == [True, False]
    assert (list(short.likes), short.rounds, short.replies) == ([HARRY], 2, 160)
    assert options_of(Asked(is_short=True, persona=LI_BAI, rounds=5, attack="trolls")).rounds == 5
