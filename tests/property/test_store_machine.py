"""Any order of deliveries, votes, answers and crashes leaves the store as a plain dictionary would be."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from data.records import Ballot, InboxItem, NewReply
from data.sqlite import open_store

RATERS = st.sampled_from(["ann", "bob", "cat"])
REPLIES = st.integers(0, 2)


class StoreMachine(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = Path(tempfile.mkdtemp(prefix="store-machine-"))
        self.lives = 0
        self.stack = AsyncExitStack()
        self.inbox = {}
        self.votes = {}
        self.consent = {}
        self.rows = 0

    def run(self, awaitable):
        return self.runner.run(self._awaited(awaitable))

    @staticmethod
    async def _awaited(awaitable):
        return await awaitable

    def open(self):
        path = self.folder / str(self.lives) / "store.db"
        path.parent.mkdir(exist_ok=True)
        self.store = self.run(self.stack.enter_async_context(open_store(path)))

    @initialize()
    def begin(self):
        self.open()
        self.replies = []
        for number in range(3):
            (inbox_id,) = self.run(self.store.receive([self.item(f"r{number}")]))
            live = self.run(self.store.conversation("telegram", "1", "", "li_bai"))
            reply = NewReply(inbox_id, live.id, "li_bai", "telegram", "1", "en", "[]", "[]", "{}", 0)
            self.replies.append(self.run(self.store.open_reply(reply)).id)
            self.run(self.store.settle(inbox_id, "done"))

    @staticmethod
    def item(message):
        return InboxItem("telegram", "1", "", message, "ann", "message", "{}")

    @rule(numbers=st.lists(st.integers(0, 30), min_size=1, max_size=5))
    def deliver(self, numbers):
        new = self.run(self.store.receive([self.item(f"m{number}") for number in numbers]))
        assert len(new) == len({f"m{number}" for number in numbers} - self.inbox.keys())
        for number in numbers:
            self.inbox.setdefault(f"m{number}", "pending")

    @rule(number=st.integers(0, 30))
    def handle(self, number):
        name = f"m{number}"
        found = [one for one in self.open_items() if one.message_id == name]
        assert bool(found) == (self.inbox.get(name) == "pending")
        for one in found:
            self.run(self.store.begin(one.id))
            self.run(self.store.settle(one.id, "done"))
            self.inbox[name] = "done"

    @rule(
        rater=RATERS, number=REPLIES, value=st.sampled_from([1, -1]), reason=st.sampled_from([None, "boring"])
    )
    def vote(self, rater, number, value, reason):
        result = self.run(self.store.cast(Ballot(self.replies[number], rater, "thumb", value, reason=reason)))
        before = self.votes.get((number, rater))
        same = before is not None and before[0] == value and reason in {None, before[1]}
        assert result.change == ("same" if same else "new" if before is None else "changed")
        assert result.ask_consent == (not same and rater not in self.consent)
        if not same:
            self.consent.setdefault(rater, "unasked")
            self.votes[number, rater] = (value, reason)
            self.rows += 1

    @rule(rater=RATERS, answer=st.sampled_from(["yes", "no", "vote"]))
    def answer(self, rater, answer):
        if self.consent.get(rater) != answer:
            self.rows += sum(who == rater for _, who in self.votes)
        self.consent[rater] = answer
        self.run(self.store.answer_consent(rater, answer))

    @rule()
    def crash(self):
        """The files as a killed process leaves them: nothing closed, nothing checkpointed."""
        old = self.folder / str(self.lives)
        self.lives += 1
        new = self.folder / str(self.lives)
        new.mkdir()
        for name in ("store.db", "store.db-wal"):
            shutil.copyfile(old / name, new / name)
        self.run(self.stack.aclose())
        self.open()

    @invariant()
    def the_store_is_what_was_done(self):
        if not hasattr(self, "replies"):
            return
        assert {one.message_id for one in self.open_items()} == {
            name for name, state in self.inbox.items() if state == "pending"
        }
        rows = [vote for reply in self.replies for vote in self.run(self.store.votes(reply))]
        assert len(rows) == self.rows, "no row is ever edited or lost"
        live = {
            (self.replies.index(vote.reply_id), vote.rater_hash): (vote.value, vote.reason, vote.consent)
            for vote in rows
            if vote.closed_at is None
        }
        assert live == {key: (*value, self.consent[key[1]]) for key, value in self.votes.items()}

    def open_items(self):
        return self.run(self.store.open_items("telegram", after=0, most=99))

    def teardown(self):
        self.run(self.stack.aclose())
        self.runner.close()
        shutil.rmtree(self.folder)


StoreMachine.TestCase.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
TestStoreMachine = StoreMachine.TestCase
