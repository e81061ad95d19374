"""A run from votes is opened: what goes into its snapshot, what is refused, what a killed bot leaves."""

from __future__ import annotations

import json
import shutil

import pytest

import bot.vote_runs
from bot.app import make_bot
from bot.errors import BotError, NothingToLearn
from bot.leftovers import clear
from bot.settings import Settings
from bot.vote_runs import INTERRUPTED, VoteRuns
from data.errors import VotesGone
from data.home import Home
from data.manifest import read_manifest
from data.records import Adapter, Ballot
from data.run_records import NewRun
from data.snapshot import read_snapshot
from data.sqlite import open_store
from engine.client import HttpEngine
from personas.loader import load_cast
from tests.fakes.adapter import adapter
from tests.fakes.clock import FakeClock
from tests.fakes.learning import BASE, a_cast, exchange
from training.eligibility import is_held_out
from training.vote_rows import read_votes

SETS = {
    "general.jsonl": "general",
    "lore_use.jsonl": "lore",
    "memory_use.jsonl": "memory",
    "retention.jsonl": "retention",
    "safety.jsonl": "safety",
}


@pytest.fixture(name="home")
def _home(tmp_path):
    home = Home(tmp_path / "home")
    home.prepare()
    return home


@pytest.fixture(name="store")
async def _store(home):
    async with open_store(home.store, clock=FakeClock()) as store:
        await version(store, home, "v0", seed=1, champion_if_none=True)
        yield store


@pytest.fixture(name="cast")
def _cast(tmp_path):
    return load_cast([a_cast(tmp_path / "cast")])


@pytest.fixture(name="opening")
def _opening(store, home, tmp_path):
    sets = tmp_path / "sets"
    sets.mkdir()
    for name, words in SETS.items():
        (sets / name).write_text(json.dumps({"words": words}) + "\n", encoding="utf-8")
    return VoteRuns(
        store, home, sets=sets, base="starter", fingerprint=BASE, recipe="starter", clock=FakeClock()
    )


async def version(store, home, name, *, seed, parent=None, **more):
    folder = home.adapters / "li_bai" / name
    row = Adapter(adapter(folder, seed=seed), "li_bai", name, BASE, str(folder), parent=parent)
    await store.add_adapter(row, **more)
    return row


async def a_reply(store, name, *, held_out=False, text="Wine, then."):
    number = 0
    while True:
        live = await store.conversation("web", f"{name} {number}", "", "li_bai")
        if is_held_out(live.id) == held_out:
            return await exchange(store, live, "asker", name, text=text)
        number += 1


async def judged(store, name, value=1, *, answer="yes", rater="mod", role="moderator", **more):
    """A reply with a moderator's thumb, sure by itself; its id."""
    await store.answer_consent("asker", "yes")
    reply_id = await a_reply(store, name, **more)
    await store.cast(Ballot(reply_id, rater, "thumb", value, role))
    if answer is not None:
        await store.answer_consent(rater, answer)
    return reply_id


async def test_a_snapshot_holds_what_people_agreed_to_and_everything_a_run_needs(store, home, opening, cast):
    good = await judged(store, "good", text="Write to li@bai.cn for wine.")
    bad = await judged(store, "bad", -1)
    kept = await judged(store, "kept", held_out=True)
    for rater, answer in (("refuses", "no"), ("only counts", "vote"), ("never said", None)):
        await judged(store, f"of who {rater}", rater=rater, answer=answer)
    other = await a_reply(store, "other")
    await store.cast(Ballot(good, "mod", "pair", 1, "moderator", other_reply_id=other))
    await store.cast(Ballot(bad, "mod", "rewrite", 1, "moderator", text="Moonlight before my bed."))
    run_id = await opening.open(cast["li_bai"], "incremental")

    folder = home.snapshots / run_id
    snapshot = read_snapshot(folder)
    (champion,) = [one for one in await store.aliases(BASE) if one.alias == "champion"]
    assert snapshot.reference == f"li_bai@{champion.digest[:8]}"
    assert (snapshot.base, snapshot.base_fingerprint, snapshot.seed) == ("starter", BASE, 7)
    votes = read_votes(folder)
    assert {thumb.reply_id: thumb.is_good for thumb in votes.thumbs} == {good: True, bad: False}
    assert [one.reply_id for one in votes.held_out] == [kept]
    assert [(pair.reply_id, pair.other_reply_id) for pair in votes.pairs] == [(good, other)]
    assert [(one.reply_id, one.completion) for one in votes.rewrites] == [(bad, "Moonlight before my bed.")]
    assert "li@bai.cn" not in "".join(path.read_text(encoding="utf-8") for path in folder.glob("*.jsonl"))

    weights = dict(await store.ledger.votes_of_run(run_id))
    rows = [*votes.thumbs, *votes.pairs, *votes.rewrites]
    assert set(weights) == {vote_id for row in rows for vote_id in row.vote_ids}
    assert not {vote_id for row in votes.held_out for vote_id in row.vote_ids} & set(weights)
    for thumb in votes.thumbs:
        assert [weights[vote_id] for vote_id in thumb.vote_ids] == [thumb.weight] * len(thumb.vote_ids)

    general = (folder / "replay_general.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["words"] for line in general] == ["general", "lore", "memory"]
    assert {path.name for path in (folder / "guards").iterdir()} == {
        "choices.jsonl", "sycophancy.jsonl", "retention.jsonl", "safety.jsonl",
    }  # fmt: skip
    assert not list((folder / "persona").glob("choices*")), (
        "what it is measured by is not what it learns from"
    )
    for name in ("reference", "first", "champion"):
        assert read_manifest(folder / name).digest == champion.digest


async def test_nobody_s_vote_opens_no_run_and_leaves_nothing(store, home, opening, cast):
    with pytest.raises(NothingToLearn, match=r"^Nothing that people said of li_bai can be trained on yet\.$"):
        await opening.open(cast["li_bai"], "incremental")
    await judged(store, "kept", held_out=True)
    with pytest.raises(NothingToLearn):
        await opening.open(cast["li_bai"], "rebuild")
    with pytest.raises(BotError, match="train one with troupe train harry_potter"):
        await opening.open(cast["harry_potter"], "incremental")
    assert await store.ledger.runs() == ()
    assert list(home.snapshots.iterdir()) == []


async def test_a_second_run_is_not_opened_beside_the_first(store, home, opening, cast):
    await judged(store, "good")
    run_id = await opening.open(cast["li_bai"], "incremental")
    for kind in ("incremental", "rebuild"):
        assert await opening.open(cast["li_bai"], kind) is None
    assert [folder.name for folder in home.snapshots.iterdir()] == [run_id]


async def test_a_vote_that_is_taken_back_while_a_run_is_opened_opens_none(
    store, home, opening, cast, monkeypatch
):
    reply_id = await judged(store, "good")
    read = bot.vote_runs.votes_so_far

    async def slowly(*args, **values):
        votes = await read(*args, **values)
        await store.cast(Ballot(reply_id, "mod", "thumb", 0, "moderator"))
        return votes

    monkeypatch.setattr(bot.vote_runs, "votes_so_far", slowly)
    with pytest.raises(VotesGone):
        await opening.open(cast["li_bai"], "incremental")
    assert await store.ledger.runs() == ()
    assert list(home.snapshots.iterdir()) == []


async def test_a_run_that_ended_while_its_snapshot_was_written_leaves_none(
    store, home, opening, cast, monkeypatch
):
    await judged(store, "good")
    snapshotted = store.ledger.snapshotted

    async def late(run_id, digest):
        await store.ledger.supersede(run_id, "Rolled back.")
        return await snapshotted(run_id, digest)

    monkeypatch.setattr(store.ledger, "snapshotted", late)
    assert await opening.open(cast["li_bai"], "incremental") is None
    (run,) = await store.ledger.runs()
    assert (run.state, run.reason) == ("superseded", "Rolled back.")
    assert list(home.snapshots.iterdir()) == []


async def test_an_adapter_whose_folder_is_gone_is_one_sentence(store, home, opening, cast):
    await judged(store, "good")
    shutil.rmtree(home.adapters / "li_bai" / "v0")
    with pytest.raises(BotError, match=r"The snapshot of run .* cannot be written: .*No such file"):
        await opening.open(cast["li_bai"], "incremental")
    (run,) = await store.ledger.runs()
    assert run.state == "failed"
    assert list(home.snapshots.iterdir()) == []


async def test_a_rebuild_begins_with_the_newest_first_version_and_an_incremental_run_with_the_champion(
    store, home, opening, cast
):
    await judged(store, "good")
    old = (await store.adapters(BASE))[0].digest
    (home.adapters / "li_bai" / "v0").rename(home.adapters / "li_bai" / "old")
    await store.add_adapter(Adapter(old, "li_bai", "v0", BASE, str(home.adapters / "li_bai" / "old")))
    anew = await version(store, home, "v0", seed=2)
    learnt = await version(store, home, "from votes", seed=3, parent="li_bai@00000000")
    await store.promote("li_bai", BASE, learnt.digest, actor="operator")
    for kind, reference, named in (("rebuild", anew, f"v0-{anew.digest[:8]}"), ("incremental", learnt, None)):
        run_id = await opening.open(cast["li_bai"], kind)
        run = await store.ledger.run(run_id)
        assert (run.kind, run.reference_version) == (kind, named or "from votes")
        digests = {
            name: read_manifest(home.snapshots / run_id / name).digest
            for name in ("reference", "first", "champion")
        }
        assert digests == {
            "reference": reference.digest, "first": anew.digest, "champion": learnt.digest,
        }  # fmt: skip
        await store.ledger.give_up(run_id, "The test goes on.")
    assert (await opening.first_version("li_bai")).digest == anew.digest


# --- what a killed bot leaves


async def left_behind(store, home):
    """A run in each state that a bot may have died in, with files of each."""
    ids = {}
    for state in ("claimed", "training", "failed", "rejected"):
        new = NewRun("li_bai", state.ljust(64, "0"), "incremental", 1, id=f"{state}1", reference_version="v0")
        ids[state] = await store.ledger.open_run(new)
        for folder in (
            home.snapshots / (f".part-{ids[state]}" if state == "failed" else ids[state]),
            home.adapters / "li_bai" / f".part-{ids[state]}",
            home.adapters / "li_bai" / f".work-{ids[state]}",
            home.adapters / "li_bai" / ids[state],
        ):
            folder.mkdir(parents=True)
            (folder / "file").write_text("words")
    for state in ("training", "rejected", "failed"):
        assert await store.ledger.snapshotted(ids[state], "digest")
        assert await store.ledger.claim("bot", lease_s=60, run_id=ids[state])
    made = Adapter("made", "li_bai", "rejected1", "rejected".ljust(64, "0"), "/made", run_id=ids["rejected"])
    assert await store.ledger.trained(ids["rejected"], "bot", 1, made, None)
    await store.ledger.judged(
        ids["rejected"], passed=False, decision="{}", reason="Worse.", needs_approval=False
    )
    await store.ledger.give_up(ids["failed"], "No.")
    return ids


async def test_what_a_killed_bot_left_half_done_is_put_away_and_the_rest_stays(store, home):
    ids = await left_behind(store, home)
    await clear(store, home)
    states = {run.id: (run.state, run.error) for run in await store.ledger.runs()}
    assert states == {
        ids["claimed"]: ("failed", INTERRUPTED), ids["training"]: ("training", None),
        ids["failed"]: ("failed", "No."), ids["rejected"]: ("rejected", None),
    }  # fmt: skip
    assert {folder.name for folder in home.snapshots.iterdir()} == {"training1", "rejected1"}
    assert {folder.name for folder in (home.adapters / "li_bai").iterdir()} == {
        "v0", "training1", ".part-training1", ".work-training1", "rejected1",
    }  # fmt: skip


async def test_a_bot_that_starts_frees_the_votes_of_a_run_that_died_unwritten(home, opening, store, cast):
    await judged(store, "good")
    (vote,) = [one.id for one in await store.thumbs()]
    run_id = await store.ledger.open_run(NewRun("li_bai", BASE, "incremental", 1), [(vote, 1.0)])
    with pytest.raises(VotesGone):
        await store.ledger.open_run(NewRun("li_bai", "0" * 64, "incremental", 1), [(vote, 1.0)])
    engine = HttpEngine("http://127.0.0.1:9")
    async with make_bot(Settings(home=home.root), home, engine) as started:
        run = await started.store.ledger.run(run_id)
        assert (run.state, run.error) == ("failed", INTERRUPTED)
    await engine.close()
    assert await opening.open(cast["li_bai"], "incremental") is not None
