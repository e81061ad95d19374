"""The moderators' channel: the gate's report of a run with blind side-by-sides and buttons, then the news.

```
judged ──► report, side by side ──► the last message, with buttons ──► edited: what was decided, who was who
told ────► a message of its own
```
Whatever is said of a run hangs on a note, an inbox row that is done from the beginning: the outbox sends each
part of a note once, whatever happens in between. What a platform refused, asked to have later or was not
there for is sent by a later call; nothing that a platform does fails the caller.

The side-by-sides answer written questions, so nobody's chat is in them.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Mapping, Sequence

import structlog

from bot.cards import speaker_of
from bot.gate_report import decision, pages
from bot.gate_words import word
from bot.judgement import judgement_of
from bot.outbox import Letter, Outbox, Sent
from bot.patience import Patient
from bot.platform import Button, Place, Port
from data.errors import DataError
from data.records import InboxItem, OutboxItem
from data.run_records import Run
from data.run_states import LIVE
from data.script import Lang
from data.store import Store
from data.text import clean, fit
from personas.loader import Cast
from training.measures import Measures
from training.verdict import Verdict

__all__ = ["GatePost"]

_log = structlog.get_logger(__name__)

# The loop and a moderator's press wait behind it; what did not go out then goes out with a later call.
PATIENCE_S = 10.0
REPORT, LAST, NEWS = "gate", "decision", "news"
# No person's hash: whoever is forgotten, what was said of a run is not theirs.
NOBODY = "gate"
LONGEST_NEWS = 1000
OUT = frozenset({"sent", "unknown"})


class GatePost:
    """Posts to ``moderators_channel`` (``discord:ID`` or ``telegram:ID``); without one it does nothing.

    ``ports`` are those that are attached at any moment, by the platform's name.
    """

    def __init__(
        self,
        store: Store,
        outbox: Outbox,
        ports: Mapping[str, Port],
        moderators_channel: str | None,
        cast: Cast,
        *,
        lang: Lang = "en",
    ) -> None:
        self._store = store
        self._outbox = outbox
        self._ports = ports
        self._place = None if moderators_channel is None else _place(moderators_channel)
        self._cast = cast
        self._lang = lang
        self._one_at_a_time = asyncio.Lock()
        # Of runs as they stood at a time: of these all was said, and so often was it tried for the others.
        self._said: dict[str, float] = {}
        self._looks: Counter[tuple[str, float]] = Counter()

    async def judged(self, run: Run, verdict: Verdict, measures: Measures) -> None:
        """Posts the report, or what is missing of it."""
        if self._place is None:
            return
        sides = json.dumps({"side_by_sides": len(measures.side_by_sides)})
        await self._store.note(_item(self._place, REPORT, run, sides))
        await self._say_all(self._place, run, (verdict, measures))

    async def told(self, run: Run, sentence: str) -> None:
        """Posts what happened to the run, once per run and sentence, after what is missing of its report."""
        if self._place is None:
            return
        await self._keep(self._place, run, sentence)
        await self._say_all(self._place, run)

    async def shown(self, run: Run) -> None:
        """Says what is missing, and brings the report's last message up to date."""
        if self._place is not None:
            await self._say_all(self._place, run)

    async def catch_up(self) -> None:
        """Says what earlier calls could not, less and less often; to be called again and again."""
        if self._place is None:
            return
        for run in await self._store.ledger.runs():
            if self._said.get(run.id) == run.updated_at:
                continue
            self._looks[run.id, run.updated_at] += 1
            # The 1st, 2nd, 4th, 8th … time: a channel that is closed to us stays so for hours.
            if self._looks[run.id, run.updated_at].bit_count() == 1:
                await self._say_all(self._place, run)

    async def _keep(self, place: Place, run: Run, sentence: str) -> None:
        """Stores a piece of news, to be sent."""
        note = await self._store.note(_item(place, NEWS, run, "{}"))
        told = fit(clean(sentence), LONGEST_NEWS, "utf16")
        text = word("run_is", self._lang, name=self._speaker(run), run=run.id, standing=told)
        async with self._one_at_a_time:
            known = await self._store.outbox(note.id, NEWS)
            if any(item.text == text for item in known):
                return
            where = {"platform": place.platform, "chat": place.chat, "thread": place.thread}
            item = await self._store.sending(note.id, NEWS, len(known), **where, text=text)
            await self._store.mark_outbox(item.id, "pending", text=text)

    async def _say_all(self, place: Place, run: Run, found: tuple[Verdict, Measures] | None = None) -> None:
        """``found`` is what the gate found, where it is known; else it is read again if need be."""
        self._said.pop(run.id, None)
        port = self._ports.get(place.platform)
        if port is None:
            _log.info("gate_post.waits", run=run.id, platform=place.platform)
            return
        try:
            async with self._one_at_a_time:
                patient = Patient(port, PATIENCE_S)
                is_told = await self._report_is_out(place, patient, run, found)
                if await self._news_are_out(place, patient, run) and is_told:
                    self._said[run.id] = run.updated_at
        except DataError:
            raise
        except Exception:  # noqa: BLE001 - a platform's edge: the loop goes on whatever happens there
            _log.exception("gate_post.failed", run=run.id)

    async def _report_is_out(
        self, place: Place, port: Port, run: Run, found: tuple[Verdict, Measures] | None
    ) -> bool:
        note = await self._store.noted(place.platform, place.chat, _name(REPORT, run))
        if note is None and run.state not in LIVE:
            return True
        if note is not None and await self._store.outbox(note.id, LAST):
            return await self._last_is_out(_letter(place, port, note, LAST), note, run)
        if found is None:
            known = await judgement_of(self._store, run)
            if known is None or known.measures is None:
                return True
            found = known.verdict, known.measures
        verdict, measures = found
        sides = json.dumps({"side_by_sides": len(measures.side_by_sides)})
        note = note or await self._store.note(_item(place, REPORT, run, sides))
        texts = self._pages(port, run, verdict, measures)
        if not await self._are_out(_letter(place, port, note, REPORT), texts):
            return False
        return await self._last_is_out(_letter(place, port, note, LAST), note, run)

    async def _last_is_out(self, letter: Letter, note: InboxItem, run: Run) -> bool:
        """The message with the buttons, as the run stands now."""
        run = await self._store.ledger.run(run.id) or run
        sides = int(json.loads(note.payload)["side_by_sides"])
        text, buttons = decision(run, sides, name=self._speaker(run), lang=self._lang)
        if not await self._is_out(letter, 0, text, buttons):
            return False
        item = await self._part(letter, 0)
        if item is None or item.text == text or item.platform_message_id is None:
            return True
        if not letter.port.capabilities.can_edit:
            return True
        sent = Sent(item.id, item.platform_message_id, None)
        edited = await self._outbox.edit(letter, sent, text, buttons=buttons, final=True)
        return edited.text is not None

    async def _news_are_out(self, place: Place, port: Port, run: Run) -> bool:
        note = await self._store.noted(place.platform, place.chat, _name(NEWS, run))
        if note is None:
            return True
        texts = [item.text for item in await self._store.outbox(note.id, NEWS)]
        return await self._are_out(_letter(place, port, note, NEWS), texts)

    async def _are_out(self, letter: Letter, texts: Sequence[str]) -> bool:
        for part, text in enumerate(texts):
            if not await self._is_out(letter, part, text):
                return False
        return True

    async def _is_out(self, letter: Letter, part: int, text: str, buttons: Sequence[Button] = ()) -> bool:
        """Sends a part that is not out yet; False where it is still not."""
        item = await self._part(letter, part)
        if item is None:
            await self._outbox.send(letter, part, lambda: text, buttons=buttons)
        elif item.state == "sending":
            await self._outbox.resume(letter, item, lambda: text, buttons=buttons)
        elif item.state not in OUT:
            await self._outbox.again(letter, item, lambda: text, buttons=buttons)
        else:
            return True
        item = await self._part(letter, part)
        return item is not None and item.state in OUT

    async def _part(self, letter: Letter, part: int) -> OutboxItem | None:
        known = await self._store.outbox(letter.inbox_id, letter.slot)
        return next((item for item in known if item.part == part), None)

    def _pages(self, port: Port, run: Run, verdict: Verdict, measures: Measures) -> list[str]:
        return pages(
            run,
            verdict,
            measures,
            name=self._speaker(run),
            lang=self._lang,
            limit=port.capabilities.max_units,
            unit=port.capabilities.unit,
        )

    def _speaker(self, run: Run) -> str:
        return speaker_of(run.persona, self._cast, self._lang)


def _place(channel: str) -> Place:
    platform, _, chat = channel.partition(":")
    return Place("discord" if platform == "discord" else "telegram", chat)


def _letter(place: Place, port: Port, note: InboxItem, slot: str) -> Letter:
    is_direct = place.platform == "telegram" and not place.chat.startswith("-")
    return Letter(port, place, note.id, slot, is_direct=is_direct)


def _name(what: str, run: Run) -> str:
    return f"{what}:{run.id}"


def _item(place: Place, what: str, run: Run, payload: str) -> InboxItem:
    name = _name(what, run)
    return InboxItem(place.platform, place.chat, place.thread, name, NOBODY, "message", payload)
