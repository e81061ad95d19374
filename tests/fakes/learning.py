"""What a loop learns from and with: people who vote, and trainers that publish what nobody computed."""

from __future__ import annotations

import asyncio
import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from data.manifest import read_manifest, write_manifest
from data.records import Adapter, Ballot, InboxItem, NewReply, Result, Said
from data.snapshot import read_snapshot
from tests.fakes.adapter import adapter
from tests.fakes.engine import FINGERPRINT
from tests.fakes.measured import measured
from training.eligibility import is_held_out
from training.measures import MEASURES, write_measures

__all__ = [
    "ADA", "BASE", "RATERS", "StandIn", "a_cast", "better", "equal", "exchange", "heard", "publish",
    "settled", "vote", "worse",
]  # fmt: skip

ROOT = Path(__file__).resolve().parents[2]
BASE = FINGERPRINT
# Rows that a run learns from, and that it is measured on: a few more than a run needs.
TRAINING, HELD_OUT = 54, 42
RATERS = tuple(f"rater {number}" for number in range(16))
# Gives no thumb, and asks in one conversation that others rate.
ADA = "ada"
VOICES = ("li_bai", "harry_potter")
LINES = 8


def a_cast(root):
    """The shipped personas with a handful of dialogues and questions each; the folder they are in."""
    for slug in VOICES:
        source, folder = ROOT / "personas" / slug, root / slug
        folder.mkdir(parents=True)
        for name in ("persona.toml", "lore.md", "LICENSE.md"):
            shutil.copyfile(source / name, folder / name)
        for name in ("dialogues.jsonl", "choices.jsonl", "sycophancy.jsonl"):
            lines = (source / name).read_text(encoding="utf-8").splitlines(keepends=True)
            (folder / name).write_text("".join(lines[:LINES]), encoding="utf-8")
    return root


async def settled(store, home):
    """Both personas have a first version, and people liked and disliked enough of what Li Bai said."""
    for number, slug in enumerate(VOICES):
        folder = home.adapters / slug / "v0"
        row = Adapter(adapter(folder, fingerprint=BASE, seed=number), slug, "v0", BASE, str(folder))
        await store.add_adapter(row, champion_if_none=True)
    for rater in RATERS:
        await store.answer_consent(rater, "yes")
    await vote(store, "li_bai")


async def vote(store, persona, *, many=TRAINING, held_out=HELD_OUT, name="chat"):
    """As many new replies to learn from and to be measured on, three agreeing thumbs each."""
    wanted = {False: many, True: held_out}
    # A run is measured on several conversations; each of the others has one reply.
    most = {False: 1, True: 6}
    number = 0
    while any(wanted.values()):
        author = RATERS[number % len(RATERS)]
        live = await store.conversation("web", f"{name} {persona} {number}", "", persona)
        kind = is_held_out(live.id)
        for turn in range(min(wanted[kind], most[kind])):
            reply_id = await exchange(store, live, author, f"{name} {number} {turn}")
            is_good = (number + turn) % 2 == 0
            raters = [RATERS[(number + turn + step) % len(RATERS)] for step in (0, 5, 10)]
            await asyncio.gather(
                *(store.cast(Ballot(reply_id, rater, "thumb", 1 if is_good else -1)) for rater in raters)
            )
            wanted[kind] -= 1
        number += 1


async def exchange(store, live, author, message, *, text="The moon is my guest.", **more):
    """One question in a conversation, and its answer's id."""
    item = InboxItem("web", live.id, "", message, author, "message", "{}")
    (inbox_id,) = await store.receive([item])
    messages = json.dumps([{"role": "user", "content": f"{author} asks: {message}"}])
    result = {name: more.pop(name) for name in ("guard",) if name in more}
    new = NewReply(
        inbox_id, live.id, live.persona, "web", live.id, "en", messages, "[]", "{}", seed=1,
        last_erasure=live.last_erasure, **more,
    )  # fmt: skip
    reply = await store.open_reply(new)
    said = [Said(f"{author} asks: {message}", author, author)]
    await store.complete_reply(reply.id, Result(text, "stop", **result), said)
    return reply.id


async def heard(store, run_id, *, champion=100, challenger=100, flags=(), name="canary"):
    """Replies of both arms of a run's canary, each in a chat of its own; ``flags`` are the challenger's."""
    run = await store.ledger.run(run_id)
    digests = {"champion": run.champion_before, "challenger": run.challenger}
    wanted = [("champion", None)] * champion
    wanted += [("challenger", flag) for flag in (*flags, *[None] * (challenger - len(flags)))]

    async def one(number, arm, flag):
        live = await store.conversation("web", f"{name} {number}", "", run.persona)
        guard = None if flag is None else json.dumps([flag])
        more = {"arm": arm, "adapter_digest": digests[arm], "guard": guard}
        return arm, await exchange(store, live, RATERS[number % len(RATERS)], "hello", **more)

    return await asyncio.gather(*(one(number, *what) for number, what in enumerate(wanted)))


def better():
    return measured(1, lean=3.0)


def equal():
    return measured(1)


def worse():
    return measured(1, lean=3.0, worse=("lore",))


def publish(out, *, seed, measures, fingerprint=BASE, parent=None):
    """An adapter folder as a trainer leaves it; its digest."""
    shutil.rmtree(out, ignore_errors=True)
    digest = adapter(out, fingerprint=fingerprint, seed=seed)
    (out / "report.json").write_text("{}", encoding="utf-8")
    if measures is not None:
        write_measures(out / MEASURES, measures)
    details = {**read_manifest(out).details, "parent": parent, "config": "c" * 8}
    write_manifest(out, base_fingerprint=fingerprint, details=details)
    return digest


@dataclass
class StandIn:
    """Takes the place of `bot.trainer.train`: what comes out is ``made``, or ``fails`` with these words."""

    made: object = field(default_factory=better)
    fails: str | None = None
    jobs: list = field(default_factory=list)
    snapshots: list = field(default_factory=list)

    async def __call__(self, job, keep):
        self.jobs.append(job)
        self.snapshots.append(read_snapshot(job.snapshot))
        if self.fails is not None:
            return self.fails
        parent = self.snapshots[-1].reference
        publish(job.out, seed=10 + len(self.jobs), measures=self.made, parent=parent)
        return None
