"""What the real discord.py sends and the double answers, against Discord's own OpenAPI document."""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import replace
from typing import Any

import pytest

from bot.platforms import discord_
from bot.sentences import MENU
from tests.fakes.discord import APPLICATION, CHANNEL, MODERATORS, TOKEN, FakeDiscord, buttons_of
from tests.fakes.engine import FakeEngine
from tests.fakes.exchange import Exchange
from tests.fakes.specs import DiscordSpec, specification
from tests.fakes.troupe import troupe
from tests.waiting import until

MESSAGES = "/channels/{channel_id}/messages"
USED = {
    "GET /users/@me",
    "GET /oauth2/applications/@me",
    "PUT /applications/{application_id}/commands",
    f"POST {MESSAGES}",
    f"PATCH {MESSAGES}/{{message_id}}",
    "POST /channels/{channel_id}/typing",
    "POST /interactions/{interaction_id}/{interaction_token}/callback",
    "POST /webhooks/{webhook_id}/{webhook_token}",
}
# The gateway adds these to a message from a server.
GATEWAY_ONLY = ("guild_id", "member")


@pytest.fixture(name="spec", scope="module")
def _spec() -> DiscordSpec:
    return DiscordSpec(specification("discord/openapi.json"))


@contextlib.asynccontextmanager
async def bot(home, fake, engine):
    async with troupe(home, engine.url, moderators=(f"discord-role:{MODERATORS}",)) as parts:
        running = asyncio.create_task(discord_.Discord(TOKEN, parts.core, menu=MENU).run())
        await until(lambda: fake.connected)
        try:
            yield
        finally:
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running
            for _ in range(10):  # cut connections close on a later turn of the loop
                await asyncio.sleep(0)


def rated(fake):
    """(message id, its buttons) of the last message with vote buttons."""
    voted = [(m["id"], buttons_of(m)) for m in fake.bot_messages() if buttons_of(m)]
    return voted[-1] if voted else None


async def conversation(fake, engine):
    """Commands, a streamed reply after a rate limit, both thumbs, consent, an edit, a reply, a review."""
    await fake.command("persona", "li_bai", locale="zh-CN")
    await fake.command("help")
    await until(lambda: len(fake.whispers) == 2)
    fake.limit_next.append((f"POST channels/{CHANNEL}/messages", 0.05))
    asked = await fake.say(f"<@{APPLICATION}> who are you")
    number, (up, down) = await until(lambda: rated(fake))
    assert len(fake.history[number]) > 1, "shown while it grew"
    await fake.press(number, up)
    question = (await until(lambda: fake.whispers[2:]))[0]
    await fake.press(question["id"], buttons_of(question)[0])
    await until(lambda: len(fake.whispers) == 4)
    await fake.press(number, down, locale="zh-TW")
    await until(lambda: len(fake.whispers) == 5)
    await fake.edited(asked, "who were you")
    engine.reply, engine.delay_s = "Short.", 0.0
    await fake.say("and you?", reply_to=number)
    await until(lambda: rated(fake)[0] != number)
    mod = {"user": 8, "is_moderator": True}
    await fake.command("review", **mod)
    card = (await until(lambda: fake.whispers[5:]))[0]
    await fake.press(card["id"], next(data for data in buttons_of(card) if "rewrite" in data), **mod)
    await fake.submit((await until(lambda: fake.forms))[0], "Better.", **mod)
    await until(lambda: len(fake.whispers) == 7)


def events(fake: FakeDiscord, spec: DiscordSpec) -> list[str]:
    """What does not fit in the gateway's events; an interaction has no schema of its own, its parts have."""
    findings = []
    for payload in fake.dispatched:
        kind, data = payload["t"], payload["d"]
        if kind in {"MESSAGE_CREATE", "MESSAGE_UPDATE"}:
            findings += message_of(data, spec, kind)
        elif kind == "INTERACTION_CREATE":
            findings += interaction_of(data, spec)
    return findings


def message_of(data: dict[str, Any], spec: DiscordSpec, where: str) -> list[str]:
    bare = {name: value for name, value in data.items() if name not in GATEWAY_ONLY}
    findings = spec.value(bare, "MessageResponse", where)
    if "member" in data:
        findings += spec.value({**data["member"], "user": data["author"]}, "GuildMemberResponse", where)
    return findings


def interaction_of(data: dict[str, Any], spec: DiscordSpec) -> list[str]:
    where = "INTERACTION_CREATE"
    findings = message_of(data["message"], spec, f"{where} message") if "message" in data else []
    findings += spec.value(data["type"], "InteractionTypes", f"{where} type")
    findings += spec.value(data["context"], "InteractionContextType", f"{where} context")
    findings += spec.value(data["locale"], "AvailableLocalesEnum", f"{where} locale")
    member = {name: value for name, value in data["member"].items() if name != "permissions"}
    findings += spec.value(member, "GuildMemberResponse", f"{where} member")
    for name in ("id", "application_id", "guild_id", "channel_id"):
        findings += spec.value(data[name], "SnowflakeType", f"{where} {name}")
    return findings


async def test_a_whole_conversation_fits_the_specification(spec, monkeypatch, tmp_path):
    # How long edits wait is checked elsewhere.
    monkeypatch.setattr(discord_, "CAPABILITIES", replace(discord_.CAPABILITIES, min_edit_interval_s=0.3))
    reply = "Word by word it grows. " * 3
    async with FakeDiscord() as fake, FakeEngine(reply=reply, delay_s=0.04) as engine:
        fake.redirect(monkeypatch)
        async with bot(tmp_path, fake, engine):
            await conversation(fake, engine)
    assert {spec.operation(exchange) for exchange in fake.exchanges} == USED
    assert 429 in {exchange.status for exchange in fake.exchanges}
    kinds = {payload["t"] for payload in fake.dispatched}
    assert kinds == {"MESSAGE_CREATE", "MESSAGE_UPDATE", "INTERACTION_CREATE"}
    findings = [finding for exchange in fake.exchanges for finding in spec.exchange(exchange)]
    findings += events(fake, spec)
    assert not findings, "\n".join(dict.fromkeys(findings))


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", f"channels/{CHANNEL}/messages", {"content": "x" * 2001}, 400),
        ("POST", f"channels/{CHANNEL}/messages", {"content": ""}, 400),
        ("PATCH", f"channels/{CHANNEL}/messages/5", {"content": "x"}, 404),
        ("POST", "interactions/1/unknown/callback", {"type": 5}, 404),
        ("POST", f"webhooks/{APPLICATION}/unknown", {"content": "x"}, 404),
    ],
)
async def test_refusals_have_the_shape_of_the_specification(spec, method, path, body, status):
    response = await FakeDiscord()._answer(method, path, body)
    assert isinstance(response.body, bytes)
    exchange = Exchange(method, f"/{path}", body, response.status, json.loads(response.body))
    assert response.status == status
    assert spec.exchange(exchange) == []


TYPING = Exchange("POST", f"/channels/{CHANNEL}/typing", None, 204, None)
EDIT = Exchange(
    "PATCH", f"/channels/{CHANNEL}/messages/5", {"content": "x"}, 404, {"code": 10008, "message": "?"}
)


@pytest.mark.parametrize(
    ("wrong", "finding"),
    [
        (replace(TYPING, path="/channels/1/typingg"), "no such operation"),
        (replace(TYPING, method="PUT"), "no such operation"),
        (replace(TYPING, query={"for": "5"}), "unknown query parameter for"),
        (replace(TYPING, sent={"for": 5}), "a body where none belongs"),
        (replace(TYPING, answer={"a": 1}), "a body where none belongs"),
        (replace(TYPING, status=302), "no such answer"),
        (replace(EDIT, sent={"contents": "x"}), "'contents' was unexpected"),
        (replace(EDIT, sent={"content": 7}), "7 is not of type"),
        (replace(EDIT, sent={"content": "x", "components": [{"type": 2}]}), "components"),
        (replace(EDIT, sent=None), "no body"),
        (replace(EDIT, answer={"message": "?"}), "'code' is a required property"),
        (replace(EDIT, status=200, answer={"id": "5"}), "is a required property"),
    ],
)
def test_the_check_finds_what_is_wrong(spec, wrong, finding):
    assert spec.exchange(TYPING) == spec.exchange(EDIT) == []
    assert finding in " ".join(spec.exchange(wrong))
