"""Telegram: python-telegram-bot's `Bot` with a polling loop of our own.

The library's Updater confirms a batch before any handler ran: a crash there loses messages. Here a batch
is stored together with the next offset in one transaction, and only the following `getUpdates` confirms it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import httpx
import structlog
from telegram import (
    Bot,
    BotCommand,
    CallbackQuery,
    ForceReply,
    InlineKeyboardButton,
    InlineKeyboardMarkup,
    LinkPreviewOptions,
    Message,
    MessageEntity,
    ReplyParameters,
    Update,
    User,
)
from telegram.error import BadRequest, Forbidden, InvalidToken, NetworkError, RetryAfter, TelegramError
from telegram.request import HTTPXRequest

from bot.errors import PlatformRefused
from bot.platform import (
    Button,
    Capabilities,
    Command,
    Core,
    Cursor,
    Event,
    Incoming,
    Place,
    PlatformName,
    PortError,
    Press,
    RetryLater,
    SendUnknown,
    VoteOutcome,
)
from data.script import Lang

__all__ = ["Telegram", "events_of"]

_log = structlog.get_logger(__name__)

OFFICIAL_API = "https://api.telegram.org"
# Method names are case-insensitive; the library warns when its own spelling is asked for raw.
GET_UPDATES = "getupdates"
POLL_S = 30
# 4,096 UTF-16 units after entity parsing; 20 edits a minute in groups, so one per 3 s.
CAPABILITIES = Capabilities(
    max_units=4096, unit="utf16", can_edit=True, min_edit_interval_s=3.0, direct_edit_interval_s=0.6
)
LONGEST_ANSWER = 200
# More in a row, and a phone cuts their labels.
MOST_IN_A_ROW = 5
# Before a question to which the answer is a press with a text: the link behind it says which. What a persona
# says is sent without any such entity, so no words of a model can pass for one.
PEN = "✏️"
LINK = "https://t.me/{bot}?start={data}"
WRITTEN = "text:"
# Telegram knows two-letter codes only, so Traditional Chinese shares one menu with Simplified.
MENU_CODES: Mapping[Lang, str | None] = {"en": None, "zh-CN": "zh"}
UPDATES = ["message", "edited_message", "callback_query"]


class Telegram:
    """The port to Telegram, and the loop that reads from it."""

    def __init__(
        self,
        token: str,
        core: Core,
        *,
        menu: Mapping[Lang, Sequence[tuple[str, str]]],
        api_url: str | None = None,
    ) -> None:
        """``menu``: (command, description) for "en", "zh-CN" and "zh-TW"."""
        self._requests = (HTTPXRequest(connection_pool_size=32), HTTPXRequest())
        self._bot = Bot(
            token,
            base_url=f"{(api_url or OFFICIAL_API).rstrip('/')}/bot",
            request=self._requests[0],
            get_updates_request=self._requests[1],
        )
        self._core = core
        self._menu = menu

    @property
    def name(self) -> PlatformName:
        return "telegram"

    @property
    def capabilities(self) -> Capabilities:
        return CAPABILITIES

    async def run(self) -> None:
        """Reads updates until cancelled.

        Raises:
            PlatformRefused: the token is wrong.
        """
        try:
            await self._bot.initialize()
            for language, code in MENU_CODES.items():
                commands = [BotCommand(name, text) for name, text in self._menu[language]]
                await self._bot.set_my_commands(commands, language_code=code)
            self._core.attach(self)
            await self._poll(self._bot.bot)
        except InvalidToken as error:
            raise PlatformRefused(
                "Telegram refuses the token; set TELEGRAM_TOKEN to the one that @BotFather shows."
            ) from error
        finally:
            await self._bot.shutdown()
            # A bot whose first call failed leaves its connections open.
            for request in self._requests:
                await request.shutdown()

    async def _poll(self, me: User) -> None:
        stored = await self._core.cursor("telegram", str(me.id))
        offset = int(stored) if stored else None
        _log.info("telegram.listening", bot=me.username)
        while True:
            # Raw, because the library's own parsing drops a whole batch for one update it cannot read.
            batch = await self._bot.do_api_request(
                GET_UPDATES,
                {"offset": offset, "timeout": POLL_S, "allowed_updates": UPDATES},
                read_timeout=POLL_S + 10,
            )
            if not batch:
                continue
            offset = batch[-1]["update_id"] + 1
            events = [event for raw in batch for event in self._events(raw, me)]
            await self._core.receive(events, cursor=Cursor("telegram", str(me.id), str(offset)))

    def _events(self, raw: dict[str, Any], me: User) -> list[Event]:
        try:
            return events_of(Update.de_json(raw, self._bot), me)
        except (TelegramError, KeyError, TypeError, ValueError, AttributeError):
            _log.exception("telegram.unreadable_update", update=raw.get("update_id"))
            return []

    async def send(
        self,
        place: Place,
        text: str,
        *,
        nonce: str,  # noqa: ARG002 - Telegram has no idempotency key; the outbox never repeats an unknown send
        reply_to: str | None = None,
        buttons: Sequence[Button] = (),
    ) -> str:
        answered = (
            ReplyParameters(int(reply_to), allow_sending_without_reply=True) if reply_to is not None else None
        )
        with _translated():
            sent = await self._bot.send_message(
                int(place.chat),
                text,
                message_thread_id=int(place.thread) if place.thread else None,
                reply_parameters=answered,
                reply_markup=_keyboard(buttons),
                link_preview_options=LinkPreviewOptions(is_disabled=True),
            )
        return str(sent.message_id)

    async def edit(self, place: Place, message_id: str, text: str, *, buttons: Sequence[Button] = ()) -> None:
        with _translated():
            try:
                await self._bot.edit_message_text(
                    text,
                    chat_id=int(place.chat),
                    message_id=int(message_id),
                    reply_markup=_keyboard(buttons),
                    link_preview_options=LinkPreviewOptions(is_disabled=True),
                )
            except BadRequest as error:
                if "not modified" not in str(error).lower():
                    raise

    async def typing(self, place: Place) -> None:
        with _translated():
            await self._bot.send_chat_action(
                int(place.chat), "typing", message_thread_id=int(place.thread) if place.thread else None
            )

    async def acknowledge(self, press: Press, outcome: VoteOutcome) -> None:
        """Answers the press; what has buttons or wants a text goes to the person's private chat."""
        with _translated():
            if press.press_id.startswith(WRITTEN):
                await self._tell(press, outcome)
                return
            if not outcome.buttons and outcome.ask is None:
                await self._answer(press, text=outcome.text)
                return
            try:
                await self._tell(press, outcome)
                await self._answer(press)
            except Forbidden:
                # Nobody may write first to a person; the link opens the private chat, where /start asks.
                await self._answer(press, url=f"https://t.me/{self._bot.username}?start=consent")

    async def _tell(self, press: Press, outcome: VoteOutcome) -> None:
        if outcome.ask is None:
            await self._bot.send_message(
                int(press.user), outcome.text, reply_markup=_keyboard(outcome.buttons)
            )
            return
        url = LINK.format(bot=self._bot.username, data=outcome.ask.data.replace(":", "-"))
        pen = MessageEntity(MessageEntity.TEXT_LINK, 0, len(PEN), url=url)
        await self._bot.send_message(
            int(press.user),
            f"{PEN} {outcome.text}",
            entities=[pen],
            reply_markup=ForceReply(),
            link_preview_options=LinkPreviewOptions(is_disabled=True),
        )

    async def _answer(self, press: Press, *, text: str | None = None, url: str | None = None) -> None:
        try:
            await self._bot.answer_callback_query(
                press.press_id, text=text and text[:LONGEST_ANSWER], url=url
            )
        except BadRequest as error:
            # Too old after a restart: the vote is stored all the same.
            _log.info("telegram.answer_too_late", reason=str(error))


def events_of(update: Update, me: User) -> list[Event]:
    """What an update means to the core: one event, or none."""
    if update.callback_query is not None:
        return _press(update.callback_query)
    message = update.message or update.edited_message
    if message is None or message.from_user is None:
        return []
    command = _command(message, me)
    if command is not None:
        return [] if update.edited_message else command
    written = _written(message, me)
    if written is not None:
        return [] if update.edited_message else [written]
    return [_incoming(message, me, is_edit=update.edited_message is not None)]


def _place(message: Message) -> Place:
    thread = str(message.message_thread_id) if message.is_topic_message else ""
    direct = message.chat.type == "private"
    return Place("telegram", str(message.chat.id), thread, "" if direct else str(message.chat.id))


def _press(query: CallbackQuery) -> list[Event]:
    if not isinstance(query.message, Message) or query.data is None:
        return []
    return [
        Press(
            place=_place(query.message),
            press_id=query.id,
            user=str(query.from_user.id),
            data=query.data,
            is_direct=query.message.chat.type == "private",
            lang_hint=query.from_user.language_code,
        )
    ]


def _written(message: Message, me: User) -> Press | None:
    """The press that a reply to a question of ours is."""
    question = message.reply_to_message
    if question is None or question.from_user is None or question.from_user.id != me.id:
        return None
    pen = next((one for one in question.entities if one.type == MessageEntity.TEXT_LINK), None)
    start = LINK.format(bot=me.username, data="")
    if pen is None or not (pen.url or "").startswith(start) or message.from_user is None:
        return None
    return Press(
        place=_place(message),
        press_id=f"{WRITTEN}{message.message_id}",
        user=str(message.from_user.id),
        data=(pen.url or "").removeprefix(start).replace("-", ":"),
        text=message.text or "",
        is_direct=message.chat.type == "private",
        lang_hint=message.from_user.language_code,
    )


def _command(message: Message, me: User) -> list[Event] | None:
    """The command in a message; [] when it is another bot's, None when there is none."""
    first = next(iter(message.entities), None)
    if first is None or first.type != MessageEntity.BOT_COMMAND or first.offset != 0:
        return None
    word = message.parse_entity(first)
    name, _, bot = word.removeprefix("/").partition("@")
    if bot and bot.lower() != (me.username or "").lower():
        return []
    assert message.from_user is not None  # noqa: S101 - events_of saw it
    assert message.text is not None  # noqa: S101 - a message with entities has a text
    return [
        Command(
            place=_place(message),
            message_id=str(message.message_id),
            user=str(message.from_user.id),
            name=name.lower(),
            argument=message.text[len(word) :].strip(),
            is_direct=message.chat.type == "private",
            lang_hint=message.from_user.language_code,
        )
    ]


def _incoming(message: Message, me: User, *, is_edit: bool) -> Incoming:
    person = message.from_user
    assert person is not None  # noqa: S101 - events_of saw it
    text = message.text or message.caption or ""
    entities = message.parse_entities() if message.text else message.parse_caption_entities()
    own, others = [], False
    for entity, words in entities.items():
        if entity.type == MessageEntity.MENTION:
            mine = words.lower() == f"@{me.username}".lower()
        elif entity.type == MessageEntity.TEXT_MENTION and entity.user is not None:
            mine = entity.user.id == me.id
        else:
            continue
        if mine:
            own.append(words)
        others = others or not mine
    for words in own:
        text = text.replace(words, " ", 1)
    answered = message.reply_to_message
    return Incoming(
        place=_place(message),
        message_id=str(message.message_id),
        user=str(person.id),
        user_name=person.full_name,
        text=text.strip(),
        is_direct=message.chat.type == "private",
        mentions_bot=bool(own),
        mentions_others=others,
        replies_to_bot=answered is not None
        and answered.from_user is not None
        and answered.from_user.id == me.id,
        reply_to=str(answered.message_id) if answered is not None else None,
        is_bot=person.is_bot,
        is_edit=is_edit,
        lang_hint=person.language_code,
        sent_at=message.date.timestamp(),
    )


def _keyboard(buttons: Sequence[Button]) -> InlineKeyboardMarkup | None:
    if not buttons:
        return None
    keys = [InlineKeyboardButton(button.label, callback_data=button.data) for button in buttons]
    rows = [keys[start : start + MOST_IN_A_ROW] for start in range(0, len(keys), MOST_IN_A_ROW)]
    return InlineKeyboardMarkup(rows)


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """The library's errors as the port's."""
    try:
        yield
    except RetryAfter as error:
        wait = error.retry_after
        raise RetryLater(wait if isinstance(wait, (int, float)) else wait.total_seconds()) from error
    except (BadRequest, Forbidden) as error:
        raise PortError(str(error)) from error
    except NetworkError as error:
        if isinstance(error.__cause__, (httpx.ConnectError, httpx.ConnectTimeout)):
            raise RetryLater(1.0) from error
        raise SendUnknown(str(error)) from error
    except TelegramError as error:
        raise PortError(str(error)) from error
