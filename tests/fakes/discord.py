"""A double of Discord over loopback: REST API v10 and a zlib-stream gateway, for the real discord.py.

It refuses what Discord refuses: a wrong token (4004), an intent that is off (4014), texts over 2,000
characters or empty, custom ids over 100 characters, interaction answers later than three seconds or given
twice. The same nonce never makes two messages. Pings that a text would cause are counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import json
import re
import time
import zlib
from dataclasses import dataclass, field
from typing import Any

import discord
from aiohttp import WSMsgType, web
from yarl import URL

from tests.fakes.exchange import Exchange

TOKEN = "MTIzNDU2Nzg5MDEyMzQ1Njc4.GAbCdE.abcdefghijklmnopqrstuvwxyz0123456789AB"
APPLICATION = "123456789012345678"
GUILD, CHANNEL, DIRECT = "200000000000000001", "300000000000000001", "300000000000000009"
MODERATORS = "400000000000000001"
ME = {"id": APPLICATION, "username": "troupe", "discriminator": "0", "global_name": None, "avatar": None}
ME |= {"bot": True, "public_flags": 0, "flags": 0, "primary_guild": None}
ANSWER_WITHIN_S = 3.0


def person(number: int = 7, *, bot: bool = False) -> dict[str, Any]:
    identity = str(400000000000000000 + number)
    base = {"id": identity, "username": f"person{number}", "discriminator": "0", "avatar": None}
    base |= {"global_name": f"Person {number}", "bot": bot, "public_flags": 0, "flags": 0}
    return base | {"primary_guild": None}


@dataclass
class FakeDiscord:
    """``messages`` is what people see now, ``history`` every text a message went through.

    ``exchanges`` is every request with its answer, ``dispatched`` every event, both as sent then.
    """

    calls: list[tuple[str, str, Any]] = field(default_factory=list)
    exchanges: list[Exchange] = field(default_factory=list)
    dispatched: list[dict[str, Any]] = field(default_factory=list)
    messages: dict[str, dict[str, Any]] = field(default_factory=dict)
    history: dict[str, list[str]] = field(default_factory=dict)
    whispers: list[dict[str, Any]] = field(default_factory=list)
    forms: list[dict[str, Any]] = field(default_factory=list)
    pings: list[str] = field(default_factory=list)
    commands: list[dict[str, Any]] = field(default_factory=list)
    syncs: int = 0
    identifies: int = 0
    resumes: int = 0
    content_intent: bool = True
    limit_next: list[tuple[str, float]] = field(default_factory=list)
    url: str = ""
    _nonces: dict[str, str] = field(default_factory=dict)
    _interactions: dict[str, dict[str, Any]] = field(default_factory=dict)
    _sockets: list[Gateway] = field(default_factory=list)
    _number: int = 500000000000000000
    _sequence: int = 0
    _runner: web.AppRunner | None = None

    async def __aenter__(self) -> FakeDiscord:
        app = web.Application()
        app.router.add_get("/gateway/", self._gateway)
        app.router.add_route("*", "/api/v10/{path:.*}", self._route)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner is not None
        for gateway in list(self._sockets):
            await gateway.socket.close()
        await self._runner.cleanup()

    @property
    def gateway_url(self) -> str:
        return self.url.replace("http", "ws") + "/gateway/"

    def redirect(self, monkeypatch: Any) -> None:
        """Points the real library here."""
        monkeypatch.setattr(discord.http.Route, "BASE", f"{self.url}/api/v10")
        monkeypatch.setattr(discord.gateway.DiscordWebSocket, "DEFAULT_GATEWAY", URL(self.gateway_url))

    # --- what people do

    async def say(
        self,
        text: str,
        *,
        user: int = 7,
        channel: str = CHANNEL,
        reply_to: str | None = None,
        bot: bool = False,
    ) -> dict[str, Any]:
        author = person(user, bot=bot)
        message = self._message(channel, text, author)
        if reply_to is not None:
            message["type"] = 19
            message["message_reference"] = {"type": 0, "message_id": reply_to, "channel_id": channel}
            message["referenced_message"] = self.messages[reply_to]
        named = re.findall(r"<@!?(\d+)>", text)
        message["mentions"] = [ME if i == APPLICATION else person(int(i) - 400000000000000000) for i in named]
        if channel != DIRECT:
            message |= {"guild_id": GUILD, "member": self._member()}
        await self.dispatch("MESSAGE_CREATE", message)
        return message

    async def edited(self, message: dict[str, Any], text: str) -> None:
        await self.dispatch("MESSAGE_UPDATE", {**message, "content": text, "edited_timestamp": _now()})

    async def press(
        self,
        message_id: str,
        custom_id: str,
        *,
        user: int = 7,
        locale: str = "en-US",
        is_moderator: bool = False,
    ) -> str:
        message = self.messages.get(message_id) or next(w for w in self.whispers if w["id"] == message_id)
        assert custom_id in buttons_of(message), f"no button {custom_id}"
        data = {"component_type": 2, "custom_id": custom_id, "id": 1}
        roles = (MODERATORS,) if is_moderator else ()
        return await self._interact(3, data, user=user, locale=locale, message=message, roles=roles)

    async def submit(
        self, form: dict[str, Any], text: str, *, user: int = 7, is_moderator: bool = False
    ) -> str:
        """A person fills in the only field of a form that the bot opened."""
        field = form["components"][0]["component"]
        value = {"type": 4, "id": 2, "custom_id": field["custom_id"], "value": text}
        parts = [{"type": 18, "id": 1, "component": value}]
        data = {"custom_id": form["custom_id"], "components": parts}
        roles = (MODERATORS,) if is_moderator else ()
        return await self._interact(5, data, user=user, locale="en-US", roles=roles)

    async def command(
        self,
        name: str,
        argument: str | None = None,
        *,
        user: int = 7,
        locale: str = "en-US",
        is_moderator: bool = False,
    ) -> str:
        data: dict[str, Any] = {"id": "600000000000000001", "name": name, "type": 1}
        if argument is not None:
            data["options"] = [{"name": "name", "type": 3, "value": argument}]
        roles = (MODERATORS,) if is_moderator else ()
        return await self._interact(2, data, user=user, locale=locale, roles=roles)

    async def dispatch(self, event: str, data: Any) -> None:
        self._sequence += 1
        # A copy: what is sent again after a resume is what was said then.
        payload = copy.deepcopy({"op": 0, "t": event, "s": self._sequence, "d": data})
        self.dispatched.append(payload)
        for gateway in list(self._sockets):
            await gateway.send(payload)

    async def drop(self, code: int = 4000) -> None:
        """The gateway connection breaks; the session can be resumed."""
        for gateway in list(self._sockets):
            await gateway.socket.close(code=code)

    async def reconnect(self) -> None:
        for gateway in list(self._sockets):
            await gateway.send({"op": 7, "d": None, "s": None, "t": None})

    async def garbage(self) -> None:
        """A payload that is no JSON."""
        for gateway in list(self._sockets):
            await gateway.send_text("{not json")

    def texts(self, channel: str = CHANNEL) -> list[str]:
        return [m["content"] for m in self.bot_messages(channel)]

    def bot_messages(self, channel: str = CHANNEL) -> list[dict[str, Any]]:
        mine = [m for m in self.messages.values() if m["author"]["id"] == APPLICATION]
        return [m for m in mine if m["channel_id"] == channel]

    @property
    def connected(self) -> bool:
        return any(gateway.ready for gateway in self._sockets)

    # --- REST

    async def _route(self, request: web.Request) -> web.Response:
        path, method = request.match_info["path"], request.method
        body = await request.json() if request.can_read_body and "json" in request.content_type else None
        if request.headers.get("Authorization") != f"Bot {TOKEN}" and not path.startswith(
            ("interactions/", "webhooks/")
        ):
            return _json({"message": "401: Unauthorized", "code": 0}, 401)
        self.calls.append((method, path, body))
        response = await self._answer(method, path, body)
        answer = json.loads(response.body) if isinstance(response.body, bytes) else None
        self.exchanges.append(
            Exchange(method, f"/{path}", body, response.status, answer, dict(request.query))
        )
        return response

    async def _answer(self, method: str, path: str, body: Any) -> web.Response:
        for index, (prefix, wait) in enumerate(self.limit_next):
            if f"{method} {path}".startswith(prefix):
                del self.limit_next[index]
                return _limited(wait)
        for pattern, verb, handler in self._table():
            found = re.fullmatch(pattern, path)
            if found and verb == method:
                response: web.Response = await handler(body or {}, *found.groups())
                return response
        return _json({"message": "404: Not Found", "code": 0}, 404)

    def _table(self) -> list[tuple[str, str, Any]]:
        return [
            (r"users/@me", "GET", self._me),
            (r"oauth2/applications/@me", "GET", self._application),
            (r"applications/\d+/commands", "PUT", self._set_commands),
            (r"channels/(\d+)/messages", "POST", self._send),
            (r"channels/(\d+)/messages/(\d+)", "PATCH", self._edit),
            (r"channels/(\d+)/typing", "POST", self._typing),
            (r"interactions/(\d+)/([\w.-]+)/callback", "POST", self._callback),
            (r"webhooks/\d+/([\w.-]+)", "POST", self._followup),
        ]

    async def _me(self, _body: Any) -> web.Response:
        return _json(ME | {"mfa_enabled": False, "locale": "en-US"})

    async def _application(self, _body: Any) -> web.Response:
        return _json(
            {"id": APPLICATION, "name": "troupe", "icon": None, "description": "", "type": None}
            | {"bot_public": True, "bot_require_code_grant": False, "verify_key": "00", "rpc_origins": []}
            | {"flags": 1 << 19, "flags_new": str(1 << 19), "owner": person(1), "team": None}
            | {"redirect_uris": [], "interactions_endpoint_url": None, "eligible_oauth2_scopes": []}
            | {"role_connections_verification_url": None, "explicit_content_filter": 0}
            | {f"approximate_{what}_count": 1 for what in ("guild", "user_install", "user_authorization")}
        )

    async def _set_commands(self, body: Any) -> web.Response:
        self.commands, self.syncs = body, self.syncs + 1
        shown = [
            {"id": self._next(), "application_id": APPLICATION, "version": "1", "type": 1}
            | {"default_member_permissions": None, **command}
            # Where the bot may be installed is the portal's choice unless the command says so.
            | {"integration_types": command.get("integration_types") or [0]}
            for command in body
        ]
        return _json(shown)

    async def _send(self, body: Any, channel: str) -> web.Response:
        refused = _checked(body)
        if refused:
            return refused
        nonce = str(body.get("nonce", ""))
        if body.get("enforce_nonce") and nonce in self._nonces:
            return _json(self.messages[self._nonces[nonce]])
        message = self._message(channel, body["content"], ME)
        message |= {"components": _numbered(body.get("components", [])), "nonce": body.get("nonce")}
        if nonce:
            self._nonces[nonce] = message["id"]
        self.history[message["id"]] = [body["content"]]
        self._count_pings(body)
        return _json(message)

    async def _edit(self, body: Any, _channel: str, number: str) -> web.Response:
        if number not in self.messages:
            return _json({"message": "Unknown Message", "code": 10008}, 404)
        refused = _checked(body)
        if refused:
            return refused
        message = self.messages[number]
        message |= {"content": body["content"], "edited_timestamp": _now()}
        if "components" in body:
            message["components"] = _numbered(body["components"])
        self.history[number].append(body["content"])
        self._count_pings(body)
        return _json(message)

    async def _typing(self, _body: Any, _channel: str) -> web.Response:
        return web.Response(status=204)

    async def _callback(self, body: Any, number: str, token: str) -> web.Response:
        interaction = self._interactions.get(token)
        if interaction is None or time.monotonic() - interaction["at"] > ANSWER_WITHIN_S:
            return _json({"message": "Unknown interaction", "code": 10062}, 404)
        if interaction["answered"]:
            return _json({"message": "Interaction has already been acknowledged.", "code": 40060}, 400)
        if body["type"] == 9:
            refused = _checked_form(body["data"])
            if refused:
                return refused
            self.forms.append(body["data"])
        interaction["answered"] = True
        # A deferral makes no resource yet.
        whispered = bool((body.get("data") or {}).get("flags", 0) & 64)
        answer = {"id": number, "type": interaction["type"], "response_message_ephemeral": whispered}
        return _json({"interaction": answer})

    async def _followup(self, body: Any, token: str) -> web.Response:
        interaction = self._interactions.get(token)
        if interaction is None or not interaction["answered"]:
            return _json({"message": "Unknown Webhook", "code": 10015}, 404)
        refused = _checked(body)
        if refused:
            return refused
        message = self._shape(interaction["channel_id"], body["content"], ME)
        message |= {"components": _numbered(body.get("components", [])), "flags": body.get("flags", 0)}
        message |= {"webhook_id": APPLICATION, "application_id": APPLICATION}
        self.whispers.append(message)
        return _json(message)

    # --- gateway

    async def _gateway(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(heartbeat=None)
        await socket.prepare(request)
        gateway = Gateway(socket)
        await gateway.send({"op": 10, "d": {"heartbeat_interval": 41250}, "s": None, "t": None})
        try:
            async for incoming in socket:
                if incoming.type is not WSMsgType.TEXT:
                    break
                await self._hear(gateway, json.loads(incoming.data))
        finally:
            with contextlib.suppress(ValueError):
                self._sockets.remove(gateway)
        return socket

    async def _hear(self, gateway: Gateway, payload: dict[str, Any]) -> None:
        operation, data = payload["op"], payload.get("d")
        if operation == 1:
            await gateway.send({"op": 11, "d": None, "s": None, "t": None})
        elif operation == 2:
            await self._identify(gateway, data)
        elif operation == 6:
            self.resumes += 1
            self._sockets.append(gateway)
            for missed in self.dispatched:
                if missed["s"] > data["seq"]:
                    await gateway.send(missed)
            gateway.ready = True
            self._sequence += 1
            await gateway.send({"op": 0, "t": "RESUMED", "s": self._sequence, "d": {}})

    async def _identify(self, gateway: Gateway, data: dict[str, Any]) -> None:
        self.identifies += 1
        if data["token"] != TOKEN:
            await gateway.socket.close(code=4004)
            return
        if data["intents"] & (1 << 15) and not self.content_intent:
            await gateway.socket.close(code=4014)
            return
        self._sequence += 1
        ready = {"v": 10, "user": ME, "guilds": [{"id": GUILD, "unavailable": True}], "session_id": "s1"}
        ready |= {
            "resume_gateway_url": self.gateway_url,
            "application": {"id": APPLICATION, "flags": 1 << 19},
        }
        await gateway.send({"op": 0, "t": "READY", "s": self._sequence, "d": ready})
        self._sequence += 1
        await gateway.send({"op": 0, "t": "GUILD_CREATE", "s": self._sequence, "d": self._guild()})
        self._sockets.append(gateway)
        gateway.ready = True

    def _guild(self) -> dict[str, Any]:
        channel = {"id": CHANNEL, "type": 0, "name": "general", "position": 0, "permission_overwrites": []}
        guild: dict[str, Any] = {"id": GUILD, "name": "Server", "owner_id": person(1)["id"], "roles": []}
        guild["roles"] = [
            {"id": number, "name": name, "color": 0, "hoist": False, "position": place, "managed": False}
            | {"permissions": "8", "mentionable": False, "flags": 0, "colors": {"primary_color": 0}}
            for place, (number, name) in enumerate(((GUILD, "@everyone"), (MODERATORS, "Moderators")))
        ]
        lists = ("emojis", "stickers", "features", "voice_states", "threads", "presences", "stage_instances")
        guild |= {name: [] for name in (*lists, "guild_scheduled_events", "soundboard_sounds")}
        guild |= {"channels": [channel], "members": [self._member() | {"user": ME}], "member_count": 2}
        guild |= {"verification_level": 0, "default_message_notifications": 0, "explicit_content_filter": 0}
        guild |= {
            "mfa_level": 0,
            "nsfw_level": 0,
            "premium_tier": 0,
            "preferred_locale": "en-US",
            "large": False,
        }
        return guild | {"afk_timeout": 300, "system_channel_flags": 0, "unavailable": False}

    # --- shapes

    async def _interact(
        self,
        kind: int,
        data: dict[str, Any],
        *,
        user: int,
        locale: str,
        message: Any = None,
        roles: tuple[str, ...] = (),
    ) -> str:
        number, token = self._next(), f"token-{self._number}"
        record = {"type": kind, "at": time.monotonic(), "answered": False, "channel_id": CHANNEL}
        self._interactions[token] = record | {"user": user}
        interaction = {
            "id": number,
            "application_id": APPLICATION,
            "type": kind,
            "data": data,
            "token": token,
        }
        interaction |= {"guild_id": GUILD, "channel_id": CHANNEL, "version": 1, "locale": locale}
        interaction |= {"channel": {"id": CHANNEL, "type": 0, "name": "general", "permissions": "8"}}
        member = {"user": person(user), "permissions": "8", "roles": list(roles)}
        interaction |= {"member": self._member() | member}
        interaction |= {"app_permissions": "8", "entitlements": [], "authorizing_integration_owners": {}}
        interaction |= {"context": 0, "attachment_size_limit": 10485760}
        if message is not None:
            interaction["message"] = message
        await self.dispatch("INTERACTION_CREATE", interaction)
        return token

    @staticmethod
    def _member() -> dict[str, Any]:
        member = {"roles": [], "joined_at": _now(), "deaf": False, "mute": False, "flags": 0, "nick": None}
        member |= {"avatar": None, "banner": None, "pending": False, "premium_since": None}
        return member | {"communication_disabled_until": None}

    def _message(self, channel: str, text: str, author: dict[str, Any]) -> dict[str, Any]:
        message = self._shape(channel, text, author)
        self.messages[message["id"]] = message
        return message

    def _shape(self, channel: str, text: str, author: dict[str, Any]) -> dict[str, Any]:
        message = {"id": self._next(), "channel_id": channel, "author": author, "content": text, "type": 0}
        message |= {"timestamp": _now(), "edited_timestamp": None, "tts": False, "mention_everyone": False}
        message |= {"mentions": [], "mention_roles": [], "attachments": [], "embeds": [], "pinned": False}
        return message | {"components": [], "flags": 0}

    def _count_pings(self, body: dict[str, Any]) -> None:
        allowed = body.get("allowed_mentions")
        everybody = allowed is None or "everyone" in allowed.get("parse", [])
        if re.search(r"@(everyone|here)", body["content"]) and everybody:
            self.pings.append(body["content"])

    def _next(self) -> str:
        self._number += 1
        return str(self._number)


class Gateway:
    """One connection; zlib-stream is one compressor for its whole life, flushed after each payload."""

    def __init__(self, socket: web.WebSocketResponse) -> None:
        self.socket = socket
        self.ready = False
        self._compressor = zlib.compressobj()

    async def send(self, payload: dict[str, Any]) -> None:
        await self.send_text(json.dumps(payload))

    async def send_text(self, text: str) -> None:
        data = self._compressor.compress(text.encode()) + self._compressor.flush(zlib.Z_SYNC_FLUSH)
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            await self.socket.send_bytes(data)


def buttons_of(message: dict[str, Any]) -> list[str]:
    return [item["custom_id"] for row in message["components"] for item in row["components"]]


def _numbered(components: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Discord gives every component an id."""
    rows = []
    for at, row in enumerate(components, 1):
        inner = [{**item, "id": at * 10 + number} for number, item in enumerate(row["components"])]
        rows.append({**row, "id": at, "components": inner})
    return rows


def _checked(body: dict[str, Any]) -> web.Response | None:
    if len(body.get("content") or "") > 2000:
        return _json({"code": 50035, "message": "Invalid Form Body", "errors": {"content": {}}}, 400)
    if not (body.get("content") or "").strip():
        return _json({"code": 50006, "message": "Cannot send an empty message"}, 400)
    for row in body.get("components") or []:
        for item in row["components"]:
            if not 1 <= len(item["custom_id"]) <= 100 or len(item.get("label") or "") > 80:
                return _json(
                    {"code": 50035, "message": "Invalid Form Body", "errors": {"components": {}}}, 400
                )
    return None


def _checked_form(form: dict[str, Any]) -> web.Response | None:
    (label,) = form["components"]
    field = label["component"]
    fits = len(form["title"]) <= 45 and len(label["label"]) <= 45 and len(label["description"]) <= 100
    if fits and len(form["custom_id"]) <= 100 and len(field["value"]) <= field["max_length"] <= 4000:
        return None
    return _json({"code": 50035, "message": "Invalid Form Body", "errors": {"components": {}}}, 400)


def _json(value: Any, status: int = 200) -> web.Response:
    # Exactly application/json: discord.py reads anything else as text.
    return web.Response(body=json.dumps(value).encode(), status=status, content_type="application/json")


def _limited(wait: float) -> web.Response:
    answer = {"message": "You are being rate limited.", "code": 0, "retry_after": wait, "global": False}
    body = json.dumps(answer)
    headers = {"Retry-After": str(wait), "X-RateLimit-Limit": "5", "X-RateLimit-Remaining": "0", "Via": "1.1"}
    headers |= {"X-RateLimit-Reset-After": str(wait), "X-RateLimit-Bucket": "b"}
    return web.Response(body=body.encode(), status=429, content_type="application/json", headers=headers)


def _now() -> str:
    return "2026-08-01T12:00:00.000000+00:00"
