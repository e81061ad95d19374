"""What a person may ask for at any time: what is kept of them, to choose anew, and to be forgotten.

Being forgotten is asked for twice: the command shows a question, and only its button erases. The button names
whose question it is, so that a press by somebody else in a shared chat forgets nobody.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from bot.platform import Button, Command, Press, VoteOutcome
from bot.sentences import button, sentence
from bot.votes import consent_buttons
from data.home import rater_hash
from data.script import Lang, lang_of

__all__ = ["FORGET", "OWN", "answer_forget", "forget_question", "in_public", "privacy"]

# What buttons of the question begin with.
FORGET = "forget"
# What people ask about what is kept of them.
OWN = ("privacy", "forget")
# Commands whose answers are nobody else's business.
PRIVATE = (*OWN, "review")
# Enough to tell people apart, and to fit into Telegram's 64 bytes.
TAG = 16
EVERYTHING = "everything"
CHOICES = (EVERYTHING, "keep")

Forget = Callable[[str], Awaitable[object]]


def privacy(lang: Lang, answer: str | None) -> VoteOutcome:
    """What is kept, and the answer to the consent question as it stands: None and "asked" are none yet."""
    stands = sentence(f"privacy_{answer or 'asked'}", lang)
    return VoteOutcome(sentence("privacy", lang, answer=stands), consent_buttons(lang))


def forget_question(lang: Lang, rater: str) -> VoteOutcome:
    buttons = tuple(
        Button(button(f"forget_{choice}", lang), f"{FORGET}:{choice}:{rater[:TAG]}") for choice in CHOICES
    )
    return VoteOutcome(sentence("forget", lang), buttons)


async def answer_forget(press: Press, secret: bytes, forget: Forget) -> VoteOutcome:
    """Erases, or does not, as the button says; ``forget`` takes the person's rater hash."""
    lang = lang_of(press.lang_hint) or "en"
    rater = rater_hash(secret, press.place.platform, press.user)
    _, _, rest = press.data.partition(":")
    choice, _, tag = rest.partition(":")
    if press.is_bot or tag != rater[:TAG]:
        return VoteOutcome(sentence("forget_not_yours", lang))
    if choice != EVERYTHING:
        return VoteOutcome(sentence("forget_kept", lang))
    await forget(rater)
    return VoteOutcome(sentence("forgotten", lang), is_forgotten=True)


def in_public(command: Command) -> VoteOutcome | None:
    """What to say where everybody would read the answer; None where the command may be carried out there."""
    if command.is_direct or command.name not in PRIVATE:
        return None
    return VoteOutcome(sentence("in_private", lang_of(command.lang_hint) or "en", command=f"/{command.name}"))
