"""A double of Telegram's Bot API over loopback: what the real client sends it gets the real shapes for.

It refuses what Telegram refuses: a wrong token (401), a second poller (409), texts over 4,096 UTF-16 units
or empty, callback data over 64 bytes, edits that change nothing, answers to unknown or old presses.
Updates are kept until an offset confirms them.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.fakes.exchange import Exchange

TOKEN = "123456:abcdefghijklmnopqrstuvwxyzABCDEFGHI"
BOT = {"id": 123456, "is_bot": True, "first_name": "Troupe", "username": "troupe_bot"}
BOT |= {"can_join_groups": True, "can_read_all_group_messages": False, "supports_inline_queries": False}
LONGEST = 4096


def units(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


class Refusal(Exception):
    def __init__(self, code: int, description: str, **parameters: Any) -> None:
        super().__init__(description)
        self.code, self.description, self.parameters = code, description, parameters


@dataclass
class FakeTelegram:
    """``calls`` is what came in, ``messages`` what a person sees now, ``history`` each text of a message.

    ``exchanges`` is every call's raw form with its answer, as they went over the wire.
    """

    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    exchanges: list[Exchange] = field(default_factory=list)
    messages: dict[tuple[int, int], dict[str, Any]] = field(default_factory=dict)
    history: dict[tuple[int, int], list[str]] = field(default_factory=dict)
    answers: list[dict[str, Any]] = field(default_factory=list)
    refuse: list[tuple[str, Refusal]] = field(default_factory=list)
    closed_chats: set[int] = field(default_factory=set)
    url: str = ""
    confirmed: int = 0
    _updates: list[dict[str, Any]] = field(default_factory=list)
    _next_update: int = 1000
    _next_message: int = 10
    _presses: set[str] = field(default_factory=set)
    _polling: bool = False
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _runner: web.AppRunner | None = None

    async def __aenter__(self) -> FakeTelegram:
        app = web.Application()
        app.router.add_route("*", "/bot{token}/{method}", self._route)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2, handler_cancellation=True)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner is not None
        self._news.set()
        await self._runner.cleanup()

    # --- what a person does

    def person(self, number: int = 7, *, language: str = "en") -> dict[str, Any]:
        return {"id": number, "is_bot": False, "first_name": f"P{number}", "language_code": language}

    def chat(self, number: int) -> dict[str, Any]:
        if number > 0:
            return {"id": number, "type": "private", "first_name": f"P{number}"}
        return {"id": number, "type": "supergroup", "title": "Group"}

    def say(
        self, text: str, *, chat: int = 7, user: int = 7, language: str = "en", reply_to: int | None = None
    ) -> dict[str, Any]:
        """A person writes; returns the message."""
        message = self._message(chat, text, self.person(user, language=language))
        if text.startswith("/"):
            word = text.split(maxsplit=1)[0]
            message["entities"] = [{"type": "bot_command", "offset": 0, "length": units(word)}]
        at = text.find("@")
        if at >= 0 and not text.startswith("/"):
            word = text[at:].split(maxsplit=1)[0]
            message.setdefault("entities", []).append(
                {"type": "mention", "offset": units(text[:at]), "length": units(word)}
            )
        if reply_to is not None:
            message["reply_to_message"] = self.messages[chat, reply_to]
        self.push({"message": message})
        return message

    def press(self, chat: int, message_id: int, data: str, *, user: int = 7, language: str = "en") -> str:
        """A person presses a button that is really there; returns the press's id."""
        message = self.messages[chat, message_id]
        rows = message.get("reply_markup", {}).get("inline_keyboard", [])
        assert data in {button["callback_data"] for row in rows for button in row}, f"no button {data}"
        identity = f"press-{self._next_update}"
        self._presses.add(identity)
        self.push(
            {
                "callback_query": {
                    "id": identity,
                    "from": self.person(user, language=language),
                    "message": message,
                    "chat_instance": "42",
                    "data": data,
                }
            }
        )
        return identity

    def push(self, update: dict[str, Any]) -> dict[str, Any]:
        whole = {"update_id": self._next_update, **update}
        self._next_update += 1
        self._updates.append(whole)
        self._news.set()
        return whole

    def push_again(self, update: dict[str, Any]) -> None:
        """The same update under a new number, as after a lost confirmation elsewhere."""
        self.push({key: value for key, value in update.items() if key != "update_id"})

    def texts(self, chat: int) -> list[str]:
        """What stands in a chat from the bot, oldest first."""
        return [m["text"] for (c, _), m in sorted(self.messages.items()) if c == chat and m["from"]["is_bot"]]

    def bot_messages(self, chat: int) -> list[dict[str, Any]]:
        return [m for (c, _), m in sorted(self.messages.items()) if c == chat and m["from"]["is_bot"]]

    def buttons(self, chat: int, message_id: int) -> list[str]:
        rows = self.messages[chat, message_id].get("reply_markup", {}).get("inline_keyboard", [])
        return [button["callback_data"] for row in rows for button in row]

    # --- what the bot calls

    async def _route(self, request: web.Request) -> web.Response:
        method = request.match_info["method"]
        sent = await self._parameters(request)
        if request.match_info["token"] != TOKEN:
            return self._refused(Refusal(401, "Unauthorized"))
        self.calls.append((method, sent))
        response = await self._answer(method, sent)
        assert isinstance(response.body, bytes)
        form = {name: str(value) for name, value in (await request.post()).items()}
        answer = json.loads(response.body)
        self.exchanges.append(Exchange(request.method, method, form, response.status, answer))
        return response

    async def _answer(self, method: str, sent: dict[str, Any]) -> web.Response:
        for index, (name, refusal) in enumerate(self.refuse):
            if name == method:
                del self.refuse[index]
                return self._refused(refusal)
        # Telegram's method names are case-insensitive.
        handlers = {name.lower(): getattr(self, name) for name in dir(self) if name.startswith("_do_")}
        handler = handlers.get(f"_do_{method.lower()}")
        if handler is None:
            return self._refused(Refusal(404, "Not Found: method not found"))
        try:
            result = await handler(sent)
        except Refusal as refusal:
            return self._refused(refusal)
        return web.json_response({"ok": True, "result": result})

    @staticmethod
    async def _parameters(request: web.Request) -> dict[str, Any]:
        form = dict(await request.post())
        sent: dict[str, Any] = {}
        for name, value in form.items():
            try:
                sent[name] = json.loads(str(value))
            except ValueError:
                sent[name] = value
            if name in {"text", "callback_query_id", "url"}:
                sent[name] = str(value)
        return sent

    @staticmethod
    def _refused(refusal: Refusal) -> web.Response:
        body: dict[str, Any] = {"ok": False, "error_code": refusal.code, "description": refusal.description}
        if refusal.parameters:
            body["parameters"] = refusal.parameters
        return web.json_response(body, status=refusal.code)

    async def _do_getMe(self, _sent: dict[str, Any]) -> dict[str, Any]:
        return BOT

    async def _do_setMyCommands(self, sent: dict[str, Any]) -> bool:
        for command in sent["commands"]:
            if not 1 <= len(command["command"]) <= 32 or not 1 <= len(command["description"]) <= 256:
                raise Refusal(400, "Bad Request: BOT_COMMAND_INVALID")
        return True

    async def _do_getUpdates(self, sent: dict[str, Any]) -> list[dict[str, Any]]:
        if self._polling:
            raise Refusal(
                409, "Conflict: terminated by other getUpdates request; make sure that only one runs"
            )
        offset = sent.get("offset") or 0
        if offset:
            self.confirmed = offset
            self._updates = [update for update in self._updates if update["update_id"] >= offset]
        self._polling = True
        try:
            async with asyncio.timeout(sent.get("timeout", 0)):
                while not self._updates:
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            return []
        finally:
            self._polling = False
        return self._updates[:100]

    async def _do_sendMessage(self, sent: dict[str, Any]) -> dict[str, Any]:
        chat = int(sent["chat_id"])
        if chat in self.closed_chats:
            raise Refusal(403, "Forbidden: bot can't initiate conversation with a user")
        self._check(sent)
        message = self._message(chat, sent["text"], BOT)
        # To be asked for an answer is no part of a message.
        if "inline_keyboard" in sent.get("reply_markup", {}):
            message["reply_markup"] = sent["reply_markup"]
        if "entities" in sent:
            message["entities"] = sent["entities"]
        self.history[chat, message["message_id"]] = [sent["text"]]
        return message

    async def _do_editMessageText(self, sent: dict[str, Any]) -> dict[str, Any]:
        key = (int(sent["chat_id"]), int(sent["message_id"]))
        if key not in self.messages:
            raise Refusal(400, "Bad Request: message to edit not found")
        self._check(sent)
        message = self.messages[key]
        markup = sent.get("reply_markup")
        if message["text"] == sent["text"] and message.get("reply_markup") == markup:
            raise Refusal(
                400, "Bad Request: message is not modified: specified new message content is the same"
            )
        message["text"] = sent["text"]
        message.pop("reply_markup", None)
        if markup is not None:
            message["reply_markup"] = markup
        self.history[key].append(sent["text"])
        return message

    async def _do_sendChatAction(self, _sent: dict[str, Any]) -> bool:
        return True

    async def _do_answerCallbackQuery(self, sent: dict[str, Any]) -> bool:
        identity = sent["callback_query_id"]
        if identity not in self._presses:
            raise Refusal(
                400, "Bad Request: query is too old and response timeout expired or query ID is invalid"
            )
        if units(sent.get("text", "")) > 200:
            raise Refusal(400, "Bad Request: MESSAGE_TOO_LONG")
        self._presses.discard(identity)
        self.answers.append(sent)
        return True

    def _check(self, sent: dict[str, Any]) -> None:
        if not sent["text"].strip():
            raise Refusal(400, "Bad Request: message text is empty")
        if units(sent["text"]) > LONGEST:
            raise Refusal(400, "Bad Request: message is too long")
        for row in (sent.get("reply_markup") or {}).get("inline_keyboard", []):
            for button in row:
                if not 1 <= len(button["callback_data"].encode()) <= 64:
                    raise Refusal(400, "Bad Request: BUTTON_DATA_INVALID")

    def _message(self, chat: int, text: str, sender: dict[str, Any]) -> dict[str, Any]:
        number = self._next_message
        self._next_message += 1
        message: dict[str, Any] = {
            "message_id": number,
            "from": sender,
            "chat": self.chat(chat),
            "date": 1_780_000_000 + number,
            "text": text,
        }
        self.messages[chat, number] = message
        return message
