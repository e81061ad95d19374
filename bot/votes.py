"""Presses on buttons: thumbs, their reasons, and the answer to the consent question."""

from __future__ import annotations

from bot.moderators import Moderators
from bot.platform import Button, Press, VoteOutcome
from bot.sentences import REASONS, button, sentence
from data.home import rater_hash
from data.records import Answer, Ballot
from data.script import Lang, lang_of
from data.store import Store
from data.text import clean

__all__ = ["cast", "consent_buttons", "consent_question"]

ANSWERS: tuple[Answer, ...] = ("yes", "no", "vote")
VALUES = {"u": 1, "d": -1}
LONGEST_REASON = 2000


async def cast(
    press: Press, store: Store, secret: bytes, *, moderators: Moderators, again: bool = False
) -> VoteOutcome:
    """Stores what a press means and says what to tell the person; pressing again changes nothing.

    Args:
        press: what was pressed, by whom.
        store: where votes are.
        secret: of the rater hashes.
        moderators: whose votes settle.
        again: the same press was begun before, and nobody knows whether its answer was seen.
    """
    if press.is_bot:
        return VoteOutcome(sentence("bots_do_not_vote", lang_of(press.lang_hint) or "en"))
    rater = rater_hash(secret, press.place.platform, press.user)
    lang = lang_of(press.lang_hint) or "en"
    kind, _, rest = press.data.partition(":")
    if kind == "consent":
        return await _consent(rest, rater, lang, store)
    reply_id, _, value = rest.rpartition(":")
    if kind == "vote" and value in VALUES:
        ballot = Ballot(reply_id, rater, "thumb", VALUES[value], moderators.role_of(press))
        return await _thumb(press, ballot, lang, store, again=again)
    if kind == "why":
        return await _reason(reply_id, value, press.text, rater, lang, store)
    return VoteOutcome(sentence("no_reply", lang))


def consent_question(lang: Lang) -> VoteOutcome:
    return VoteOutcome(sentence("consent", lang), consent_buttons(lang))


def consent_buttons(lang: Lang) -> tuple[Button, ...]:
    return tuple(Button(button(answer, lang), f"consent:{answer}") for answer in ANSWERS)


async def _thumb(press: Press, ballot: Ballot, lang: Lang, store: Store, *, again: bool) -> VoteOutcome:
    reply = await store.reply(ballot.reply_id)
    # The button's data comes from outside: it may name a reply of a chat that the person never saw.
    if reply is None or (reply.platform, reply.chat) != (press.place.platform, press.place.chat):
        return VoteOutcome(sentence("no_reply", lang))
    result = await store.cast(ballot)
    if result.change == "no_reply":
        return VoteOutcome(sentence("no_reply", lang))
    if result.ask_consent or (again and await store.consent(ballot.rater_hash) == "asked"):
        return consent_question(lang)
    if ballot.value > 0:
        return VoteOutcome(sentence("thumb_up", lang))
    reasons = tuple(Button(button(reason, lang), f"why:{ballot.reply_id}:{reason}") for reason in REASONS)
    return VoteOutcome(sentence("thumb_down", lang), reasons)


async def _reason(reply_id: str, reason: str, text: str, rater: str, lang: Lang, store: Store) -> VoteOutcome:
    if reason not in REASONS:
        return VoteOutcome(sentence("no_vote", lang))
    words = clean(text).strip()[:LONGEST_REASON] or None
    result = await store.give_reason(reply_id, rater, reason, words)
    return VoteOutcome(sentence("no_vote" if result.change == "no_vote" else "reason", lang))


async def _consent(answer: str, rater: str, lang: Lang, store: Store) -> VoteOutcome:
    known = next((one for one in ANSWERS if one == answer), None)
    if known is None:
        return consent_question(lang)
    await store.answer_consent(rater, known)
    return VoteOutcome(sentence(f"consent_{known}", lang))
