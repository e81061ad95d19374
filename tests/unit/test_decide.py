"""Which messages are answered, and as whom."""

from __future__ import annotations

import pytest

from bot.decide import decide
from bot.platform import Incoming, Place
from bot.resolve import choices, resolve, scope_id, scope_to_set
from data.sqlite import open_store

GROUP = Place("discord", "5", guild="9")


def incoming(**facts):
    return Incoming(GROUP, "1", "ann", "Ann", "hello", **{"is_direct": False, **facts})


@pytest.mark.parametrize(
    ("facts", "answer", "why"),
    [
        ({"is_direct": True}, True, "direct"),
        ({"mentions_bot": True}, True, "mentioned"),
        ({"mentions_bot": True, "mentions_others": True}, True, "mentioned"),
        ({"replies_to_bot": True}, True, "replied"),
        ({"replies_to_bot": True, "mentions_others": True}, False, "for_others"),
        ({"mentions_others": True}, False, "for_others"),
        ({}, False, "not_addressed"),
        ({"is_bot": True, "is_direct": True}, False, "bot"),
        ({"is_bot": True, "mentions_bot": True}, False, "bot"),
        ({"is_edit": True, "mentions_bot": True}, False, "edited"),
    ],
)
def test_who_is_answered(facts, answer, why):
    decision = decide(incoming(**facts))
    assert (decision.answer, decision.why) == (answer, why)


@pytest.mark.parametrize(
    ("chosen", "hint", "persona"),
    [
        ({}, None, "default"),
        ({"user": "a"}, None, "a"),
        ({"user": "a", "guild": "b"}, None, "b"),
        ({"user": "a", "guild": "b", "channel": "c"}, None, "c"),
        ({"user": "a", "guild": "b", "channel": "c", "thread": "d"}, None, "d"),
        ({"thread": "d"}, "a", "a"),
        ({"thread": "gone", "guild": "b"}, None, "b"),
        ({"thread": "gone"}, "gone too", "default"),
    ],
)
def test_thread_before_channel_before_guild_before_user(chosen, hint, persona):
    known = {"a", "b", "c", "d", "default"}
    assert resolve(chosen, known=known, default="default", hint=hint) == persona


async def test_a_choice_is_found_only_in_its_own_scope(tmp_path):
    thread = Place("discord", "5", "6", "9")
    async with open_store(tmp_path / "store.db") as store:
        for scope, value in (("thread", "t"), ("channel", "c"), ("guild", "g"), ("user", "u")):
            await store.set_setting(scope, scope_id(scope, thread, "ann"), "persona", value)
        assert await choices(store, thread, "ann") == {
            "thread": "t",
            "channel": "c",
            "guild": "g",
            "user": "u",
        }
        assert await choices(store, GROUP, "bob") == {"channel": "c", "guild": "g"}
        assert await choices(store, Place("discord", "77"), "bob") == {}
        assert await choices(store, Place("telegram", "5", "6", "9"), "bob") == {}


def test_where_a_choice_belongs():
    assert scope_to_set(Place("discord", "5", "6", "9"), is_direct=False) == "thread"
    assert scope_to_set(GROUP, is_direct=False) == "channel"
    assert scope_to_set(Place("telegram", "7"), is_direct=True) == "user"
