"""What the live thumbs would bring to a persona's next run, what it still lacks, and the rows themselves."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from data.records import CastPair, CastRewrite, CastThumb
from data.scrub import scrub
from data.store import Store
from personas.prompt import Message
from training.eligibility import ENOUGH_ROWS, LACKING, Verdict, decide, lacking
from training.vote_rows import Votes
from training.votes import Cast, Spoken, named, votes_of

__all__ = ["FATES", "LACKING", "lacking_of", "next_runs", "votes_so_far"]

# In the words of `troupe votes stats`; the first two are of use.
FATES = {
    "trains": "would train",
    "held_out": "kept for measuring",
    "counts_only": "only the vote: counted, not trained on",
    "unasked": "waits: the rater has not answered the consent question",
    "refused": "the rater said no",
    "consumed": "learnt already: a version that went live was trained on it",
    "others_unasked": "waits: somebody else in the conversation has not agreed",
    "unsure": "too few or too different votes on the reply",
    "outvoted": "the other votes say the opposite",
    "disputed": "moderators disagree: back into review",
    "wrong_fact": "a wrong fact: for the lore, not for training",
    "flagged": "a thumb up for a reply that a guard flagged",
    "over_cap": "more than one rater's share",
    "dismissed": "the rater is wrong more often than right",
    "tired": "in two runs that did not last: back into review",
}


def next_runs(
    thumbs: Sequence[CastThumb], *, least_rows: int = ENOUGH_ROWS, also: Iterable[str] = ()
) -> list[Mapping[str, Any]]:
    """Per persona, ``also`` those without a thumb: how many have which fate, what a run still lacks."""
    found: list[Mapping[str, Any]] = []
    for persona in sorted({*also, *(one.persona for one in thumbs)}):
        verdicts = _decided(thumbs, persona)
        fates: Counter[str] = Counter(verdict.fate for verdict in verdicts)
        found.append(
            {
                "persona": persona,
                "fates": {fate: fates[fate] for fate in FATES if fates[fate]},
                "lacking": lacking(verdicts, least_rows=least_rows),
            }
        )
    return found


async def lacking_of(store: Store, persona: str, *, least_rows: int) -> Mapping[str, int]:
    """What the persona's next run still lacks."""
    thumbs = await store.thumbs()
    # Beside the event loop: 4,000 thumbs take a second.
    return await asyncio.to_thread(lambda: lacking(_decided(thumbs, persona), least_rows=least_rows))


async def votes_so_far(store: Store, persona: str, *, again: bool = False) -> Votes:
    """The rows that the persona's votes make by now; ``again``: also those that a version has learnt."""
    thumbs: Sequence[CastThumb] = await store.thumbs()
    pairs: Sequence[CastPair] = await store.pairs()
    rewrites: Sequence[CastRewrite] = await store.rewrites()
    if again:
        thumbs = [replace(one, consumed=False, tries=0) for one in thumbs]
        pairs = [replace(one, consumed=False, tries=0) for one in pairs]
        rewrites = [replace(one, consumed=False, tries=0) for one in rewrites]
    cast = Cast(
        await asyncio.to_thread(_decided, thumbs, persona),
        [one for one in pairs if one.persona == persona],
        [one for one in rewrites if one.persona == persona],
    )
    spoken: dict[str, Spoken] = {}
    for reply_id in named(cast):
        reply = await store.reply(reply_id)
        if reply is not None and reply.text:
            messages = tuple(Message(**message) for message in json.loads(reply.messages))
            spoken[reply_id] = Spoken(messages, reply.text)
    return await asyncio.to_thread(votes_of, cast, spoken, scrub)


def _decided(thumbs: Sequence[CastThumb], persona: str) -> list[Verdict]:
    return decide([one for one in thumbs if one.persona == persona])
