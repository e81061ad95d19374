"""Moderators judge replies one after the other: good, bad, rewritten, compared with another, or skipped.

```
/review ──► card ──good, bad, rewrite + text──► stored ──► next card
             │ └──skip──► next card
             └──again──► two replies ──which is better──► stored ──► next card
```
A card is a claim in the store, so that two moderators never judge the same. What came from private chats is
never shown (`data.reviews`).
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace

import structlog

from bot.another import Another
from bot.cards import choice, single, speaker_of, written
from bot.inbox import item_of
from bot.moderators import Moderators
from bot.platform import Ask, Card, Command, Press, VoteOutcome
from bot.sentences import sentence
from bot.votes import consent_question
from data.home import rater_hash
from data.records import Ballot
from data.reviews import ReviewItem
from data.script import Lang, lang_of
from data.store import Store
from data.text import clean
from engine.errors import EngineError
from personas.loader import Cast

__all__ = ["Review"]

_log = structlog.get_logger(__name__)

SOURCE = "review"
# Reading a chat and writing a better reply takes minutes; who is gone for longer lets others have it.
LEASE_S = 600.0
LONGEST_REWRITE = 4000
THUMBS = {"good": 1, "bad": -1}
PAIRS = {"own": 1, "other": 1, "neither": 0}


@dataclass(frozen=True, slots=True)
class _Moderator:
    hash: str
    lang: Lang


class Review:
    """Answers ``/review`` and the presses on its cards; anybody but a moderator gets a sentence."""

    def __init__(
        self, store: Store, another: Another, cast: Cast, *, secret: bytes, moderators: Moderators
    ) -> None:
        self._store = store
        self._another = another
        self._cast = cast
        self._secret = secret
        self._moderators = moderators

    async def begin(self, command: Command) -> VoteOutcome:
        """The first card, or the one that the moderator has already; the argument names a persona.

        The answer is for the moderator alone (`bot.privacy.in_public`).
        """
        me = self._moderator(command)
        if me is None:
            return VoteOutcome(sentence("review_moderators", _lang(command)))
        if not command.argument:
            return await self._next(me, None)
        persona = self._cast.find(command.argument)
        if persona is None:
            others = ", ".join(f"{one.names[me.lang]} ({one.slug})" for one in self._cast.personas.values())
            asked = command.argument[:40]
            return VoteOutcome(sentence("persona_unknown", me.lang, asked=asked, others=others))
        return await self._next(me, persona.slug)

    async def press(self, press: Press, *, again: bool = False) -> VoteOutcome:
        """Does what was pressed on a card and goes on to the next; pressing again changes nothing.

        Args:
            press: its data is ``review:<reply>:<verdict>``, in a comparison with ``:<other reply>``.
            again: the same press was begun before, and nobody knows whether its answer was seen.
        """
        me = self._moderator(press)
        if me is None:
            return VoteOutcome(sentence("review_moderators", _lang(press)))
        _, reply_id, verdict, other_id = (press.data.split(":") + [""] * 3)[:4]
        ballot = _ballot(verdict, reply_id, other_id, me)
        if ballot is not None:
            return await self._judge(me, reply_id, ballot, again=again)
        if verdict == "rewrite":
            return await self._rewrite(me, reply_id, press, again=again)
        if verdict == "again":
            return await self._compare(me, reply_id, press)
        if verdict == "release":
            await self._store.reviews.release(reply_id, me.hash)
            judged = (await self._store.reviews.counts(me.hash)).judged
            return VoteOutcome(sentence("review_paused", me.lang, judged=judged))
        if verdict == "skip":
            await self._store.reviews.skip(reply_id, me.hash)
        return await self._next_as_before(me)

    def _moderator(self, doing: Command | Press) -> _Moderator | None:
        if self._moderators.role_of(doing) != "moderator":
            return None
        return _Moderator(rater_hash(self._secret, doing.place.platform, doing.user), _lang(doing))

    async def _judge(self, me: _Moderator, reply_id: str, ballot: Ballot, *, again: bool) -> VoteOutcome:
        ballot = replace(ballot, role="moderator", source=SOURCE)
        result = await self._store.reviews.judge(reply_id, ballot)
        is_lost = result.change in {"no_reply", "taken"}
        outcome = await self._next_as_before(me, lead="review_taken" if is_lost else "review_stored")
        if not result.ask_consent and not (again and await self._store.consent(me.hash) == "asked"):
            return outcome
        question = consent_question(me.lang)
        text = f"{outcome.text}\n\n{question.text}"
        return replace(outcome, text=text, buttons=(*outcome.buttons, *question.buttons))

    async def _rewrite(self, me: _Moderator, reply_id: str, press: Press, *, again: bool) -> VoteOutcome:
        item = await self._store.reviews.hold(reply_id, me.hash, lease_s=LEASE_S)
        if item is None:
            return await self._next_as_before(me, lead="review_taken")
        words, original = clean(press.text).strip()[:LONGEST_REWRITE], item.reply.text or ""
        if words in {"", original}:
            name = speaker_of(item.reply.persona, self._cast, me.lang)
            return VoteOutcome(sentence("review_rewrite", me.lang, name=name), ask=Ask(press.data, original))
        ballot = Ballot(reply_id, me.hash, "rewrite", 1, text=words)
        return await self._judge(me, reply_id, ballot, again=again)

    async def _compare(self, me: _Moderator, reply_id: str, press: Press) -> VoteOutcome:
        item = await self._store.reviews.hold(reply_id, me.hash, lease_s=LEASE_S)
        if item is None:
            return await self._next_as_before(me, lead="review_taken")
        try:
            other = await self._another.write(item.reply, item_of(press, self._secret))
        except EngineError as error:
            _log.info("review.no_other", reply=reply_id, reason=str(error))
            return await self._shown(me, item, lead="review_resting")
        if other is None:
            return await self._shown(me, item, lead="review_same")
        counts = await self._store.reviews.counts(me.hash)
        is_own_first = secrets.randbelow(2) == 0
        return _outcome(choice(item, other, counts, self._cast, me.lang, is_own_first=is_own_first), me)

    async def _next_as_before(self, me: _Moderator, *, lead: str | None = None) -> VoteOutcome:
        return await self._next(me, await self._store.reviews.wanted(me.hash), lead=lead)

    async def _next(self, me: _Moderator, persona: str | None, *, lead: str | None = None) -> VoteOutcome:
        item = await self._store.reviews.next(me.hash, persona, lease_s=LEASE_S)
        if item is not None:
            return await self._shown(me, item, lead=lead)
        judged = (await self._store.reviews.counts(me.hash)).judged
        none = sentence("review_none", me.lang, judged=judged)
        return VoteOutcome(none if lead is None else f"{sentence(lead, me.lang)}\n\n{none}")

    async def _shown(self, me: _Moderator, item: ReviewItem, *, lead: str | None) -> VoteOutcome:
        counts = await self._store.reviews.counts(me.hash)
        notice = "" if lead is None else sentence(lead, me.lang)
        return _outcome(single(item, counts, self._cast, me.lang, notice=notice), me)


def _ballot(verdict: str, reply_id: str, other_id: str, me: _Moderator) -> Ballot | None:
    """The vote that one press is; a pair stands under the better reply."""
    if verdict in THUMBS:
        return Ballot(reply_id, me.hash, "thumb", THUMBS[verdict])
    if verdict not in PAIRS:
        return None
    better, worse = (other_id, reply_id) if verdict == "other" else (reply_id, other_id)
    return Ballot(better, me.hash, "pair", PAIRS[verdict], other_reply_id=worse)


def _outcome(card: Card, me: _Moderator) -> VoteOutcome:
    return VoteOutcome(written(card, me.lang), card.buttons, card=card)


def _lang(doing: Command | Press) -> Lang:
    return lang_of(doing.lang_hint) or "en"
