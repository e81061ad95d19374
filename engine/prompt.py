"""Messages become token ids, segment by segment, under the base's own chat template.

The template is rendered with a sentinel in place of every text and split there: what the template itself
wrote is encoded with its control tokens, what people, cards or lore say is encoded without any, so that a
typed ``<|im_end|>`` stays text. A sentinel never stands for more than one piece, so the ids up to the head
of turn n's new user message are a prefix of turn n + 1's, whatever the template.

Templates differ: a system text goes to the head of the first user message where the template has no place
for it in front, neighbours of one role become one message, thinking is switched off where it can be.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from jinja2 import TemplateError

from engine.errors import RequestInvalid
from personas.prompt import Message, Role

__all__ = ["Encoded", "Span", "encode", "encode_text", "end_ids"]

Tokenizer = Any
Groups = list[tuple[Role, list[int]]]

JOINT = "\n\n"
# A first word for templates that want the user to begin where the assistant did.
OPENING = "…"
# Private-use characters: no template takes them for anything.
MARK = "\ue000{}\ue001"
THINK, END_THINK = "<think>", "</think>"

# For bases that bring no template at all.
PLAIN_TEMPLATE = (
    "{% for message in messages %}{{ message['role'] + ': ' + message['content'] }}"
    "{{ eos_token or '' }}{{ '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'assistant:' }}{% endif %}"
)


@dataclass(frozen=True, slots=True)
class Span:
    """Where one message's text lies in the ids; role markers are outside."""

    role: Role
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Encoded:
    """One request as the model reads it.

    Attributes:
        ids: the token ids.
        mask: as long as ids; true on what the assistant says, its end marker included.
        spans: one per message, in order.
        opens_thinking: the template left a ``<think>`` open for the reply.
    """

    ids: tuple[int, ...]
    mask: tuple[bool, ...]
    spans: tuple[Span, ...]
    opens_thinking: bool = False


def encode(tokenizer: Tokenizer, messages: Sequence[Message], *, reply: bool) -> Encoded:
    """Encodes the messages; ``reply`` ends with the head of the assistant's next message.

    Raises:
        RequestInvalid: no messages, or the template has no form for them.
    """
    if not messages:
        raise RequestInvalid("A request needs at least one message.")
    groups, pieces = _rendered(tokenizer, messages, reply=reply)
    order = [index for _, indexes in groups for index in indexes]
    last_of_group = {indexes[-1] for _, indexes in groups}
    added = _control_ids(tokenizer)
    prefixes = _adds_prefix(tokenizer)
    ids: list[int] = []
    mask: list[bool] = []
    spans: list[Span] = []
    ends_reply = False
    for number, piece in enumerate(pieces):
        marker = _encode_marker(tokenizer, piece, after_text=prefixes and number > 0)
        closing = ends_reply and bool(marker) and marker[0] in added
        ids += marker
        mask += [closing, *[False] * (len(marker) - 1)] if marker else []
        if number == len(order):
            break
        message = messages[order[number]]
        text = _text_ids(tokenizer, message.content, added, after_text=prefixes)
        spans.append(Span(message.role, len(ids), len(ids) + len(text)))
        ids += text
        said = message.role == "assistant"
        mask += [said] * len(text)
        ends_reply = said and order[number] in last_of_group
    opens = reply and pieces[-1].rfind(THINK) > pieces[-1].rfind(END_THINK)
    return Encoded(tuple(ids), tuple(mask), tuple(spans), opens_thinking=opens)


def encode_text(tokenizer: Tokenizer, text: str) -> list[int]:
    """What anybody may have written, as ids of which none is a control token."""
    return _text_ids(tokenizer, text, _control_ids(tokenizer), after_text=False)


def end_ids(tokenizer: Tokenizer) -> frozenset[int]:
    """The tokens that end a reply: the tokenizer's own and the one its template puts there."""
    messages = [Message("user", "a"), Message("assistant", "b")]
    encoded = encode(tokenizer, messages, reply=False)
    after = encoded.spans[-1].end
    found = {encoded.ids[after]} if after < len(encoded.ids) and encoded.mask[after] else set()
    return frozenset(found | ({tokenizer.eos_token_id} - {None}))


def _rendered(tokenizer: Tokenizer, messages: Sequence[Message], *, reply: bool) -> tuple[Groups, list[str]]:
    """The grouping that the template accepts, and what it wrote before, between and after the texts."""
    refusal: Exception | None = None
    for groups, lead in _groupings(messages):
        try:
            return groups, _split(tokenizer, groups, lead=lead, reply=reply)
        except (TemplateError, _OutOfOrder) as error:
            refusal = error
    raise RequestInvalid(f"The base's chat template refuses these messages: {refusal}.") from refusal


def _groupings(messages: Sequence[Message]) -> list[tuple[Groups, bool]]:
    """As they are; with the system text in the first user message; with a word of the user in front."""
    merged = _merge((message.role, [index]) for index, message in enumerate(messages))
    bare = _merge(("user" if role == "system" else role, indexes) for role, indexes in merged)
    return [(merged, False), (bare, False), (merged, True), (bare, True)]


def _merge(parts: Any) -> Groups:
    groups: Groups = []
    for role, indexes in parts:
        if groups and groups[-1][0] == role:
            groups[-1][1].extend(indexes)
        else:
            groups.append((role, list(indexes)))
    return groups


def _split(tokenizer: Tokenizer, groups: Groups, *, lead: bool, reply: bool) -> list[str]:
    chat = [
        {"role": role, "content": JOINT.join(MARK.format(index) for index in indexes)}
        for role, indexes in groups
    ]
    if lead:
        at = 1 if chat[0]["role"] == "system" else 0
        chat.insert(at, {"role": "user", "content": OPENING})
    text = tokenizer.apply_chat_template(
        chat,
        chat_template=None if tokenizer.chat_template else PLAIN_TEMPLATE,
        tokenize=False,
        add_generation_prompt=reply,
        enable_thinking=False,
    )
    marks = [MARK.format(index) for _, indexes in groups for index in indexes]
    places = [text.find(mark) for mark in marks]
    if -1 in places or any(a >= b for a, b in pairwise(places)) or any(text.count(m) > 1 for m in marks):
        raise _OutOfOrder("it leaves out, repeats or moves one of them")
    pieces, start = [], 0
    for mark, place in zip(marks, places, strict=True):
        pieces.append(text[start:place])
        start = place + len(mark)
    return [*pieces, text[start:]]


class _OutOfOrder(Exception):
    """The template does not keep every text once and in order."""


def _text_ids(tokenizer: Tokenizer, text: str, added: frozenset[int], *, after_text: bool) -> list[int]:
    clean = _without_lone_surrogates(text)
    ids = _after_newline(tokenizer, clean, split=True) if after_text else _plain(tokenizer, clean, split=True)
    if added.isdisjoint(ids):
        return ids
    # Added tokens that are not "special" (Qwen's <think>) are matched all the same: go below them.
    backend = tokenizer.backend_tokenizer
    normal = backend.normalizer.normalize_str(clean) if backend.normalizer else clean
    splitter = backend.pre_tokenizer
    parts = [part for part, _ in splitter.pre_tokenize_str(normal)] if splitter else [normal]
    return [token.id for part in parts for token in backend.model.tokenize(part)]


def _encode_marker(tokenizer: Tokenizer, text: str, *, after_text: bool) -> list[int]:
    if after_text:
        return _after_newline(tokenizer, text, split=False)
    return _plain(tokenizer, text, split=False)


def _plain(tokenizer: Tokenizer, text: str, *, split: bool) -> list[int]:
    if not text:
        return []
    ids: list[int] = tokenizer.encode(text, add_special_tokens=False, split_special_tokens=split)
    return ids


def _after_newline(tokenizer: Tokenizer, text: str, *, split: bool) -> list[int]:
    """As within running text, without the space that SentencePiece puts at the head of a string."""
    newline = _plain(tokenizer, "\n", split=split)
    ids = _plain(tokenizer, "\n" + text, split=split)
    if ids[: len(newline)] == newline:
        return ids[len(newline) :]
    return _plain(tokenizer, text, split=split)


def _adds_prefix(tokenizer: Tokenizer) -> bool:
    both, apart = _plain(tokenizer, "\na", split=False), _plain(tokenizer, "a", split=False)
    return both != _plain(tokenizer, "\n", split=False) + apart


def _control_ids(tokenizer: Tokenizer) -> frozenset[int]:
    """Ids of added tokens; runs of white space among them (Gemma's) control nothing."""
    added = tokenizer.added_tokens_decoder
    return frozenset(index for index, token in added.items() if token.special or not token.content.isspace())


def _without_lone_surrogates(text: str) -> str:
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
