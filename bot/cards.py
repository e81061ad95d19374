"""A reply to be judged, as moderators see it: what was said before, one reply or two, the buttons; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from bot.platform import Button, Card, Line
from bot.sentences import button, sentence
from data.records import Reply, Utterance
from data.reviews import MOST_COUNTED, ReviewCounts, ReviewItem
from data.script import Lang
from data.text import fit
from personas.loader import Cast

__all__ = ["choice", "single", "speaker_of", "written"]

VERDICTS = ("good", "bad", "rewrite", "again", "skip")
LETTERS = ("A", "B")
# With all that stands around them, five lines and a reply, or two half as long, fit into Telegram's 4,096.
LONGEST_LINE = 250
LONGEST_REPLY = 2300


def single(item: ReviewItem, counts: ReviewCounts, cast: Cast, lang: Lang, *, notice: str = "") -> Card:
    """One reply, with a button for each thing that can be made of it."""
    buttons = [Button(button(f"review_{name}", lang), f"review:{item.reply.id}:{name}") for name in VERDICTS]
    return replace(_card(item, [item.reply.text or ""], buttons, counts, cast, lang), notice=notice)


def choice(
    item: ReviewItem, other: Reply, counts: ReviewCounts, cast: Cast, lang: Lang, *, is_own_first: bool
) -> Card:
    """The reply and another one to the same prompt, as A and B in the order given."""
    texts, verdicts = [item.reply.text or "", other.text or ""], ["own", "other"]
    if not is_own_first:
        texts.reverse()
        verdicts.reverse()
    data = [f"review:{item.reply.id}:{verdict}:{other.id}" for verdict in (*verdicts, "neither")]
    labels = [button("review_better", lang, letter=letter) for letter in LETTERS]
    labels.append(button("review_neither", lang))
    buttons = [Button(label, one) for label, one in zip(labels, data, strict=True)]
    return _card(item, texts, buttons, counts, cast, lang)


def written(card: Card, lang: Lang) -> str:
    """The card as plain text."""
    waiting = f"{card.waiting}+" if card.waiting >= MOST_COUNTED else card.waiting
    head = sentence("review_card", lang, name=card.speaker, waiting=waiting, judged=card.judged)
    said = "\n".join(fit(f"{line.speaker}: {line.text}", LONGEST_LINE, "utf16") for line in card.said)
    longest = LONGEST_REPLY // len(card.replies)
    marks = [f"▶ {card.speaker}"] if len(card.replies) == 1 else [f"▶ {letter}" for letter in LETTERS]
    replies = [
        f"{mark}: {fit(text, longest, 'utf16')}" for mark, text in zip(marks, card.replies, strict=True)
    ]
    which = [] if len(card.replies) == 1 else [sentence("review_which", lang)]
    return "\n\n".join(part for part in (card.notice, head, said, *replies, *which) if part)


def speaker_of(slug: str, cast: Cast, lang: Lang) -> str:
    """The persona's name; of one who left, the slug."""
    return cast[slug].names[lang] if slug in cast.personas else slug


def _card(
    item: ReviewItem,
    replies: Sequence[str],
    buttons: Sequence[Button],
    counts: ReviewCounts,
    cast: Cast,
    lang: Lang,
) -> Card:
    speaker = speaker_of(item.reply.persona, cast, lang)
    said = tuple(_line(one, speaker) for one in item.said)
    return Card(item.reply.id, speaker, said, tuple(replies), tuple(buttons), counts.waiting, counts.judged)


def _line(one: Utterance, speaker: str) -> Line:
    if one.role == "assistant":
        return Line(speaker, one.text, is_persona=True)
    return Line(one.author_name or "?", one.text, is_persona=False)
