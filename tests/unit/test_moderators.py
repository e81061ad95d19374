"""Who moderates, by platform."""

from __future__ import annotations

import pytest

from bot.moderators import Moderators
from bot.platform import Command, Place, Press


@pytest.mark.parametrize(
    ("platform", "user", "roles", "expected"),
    [
        ("discord", "1", (), "moderator"),
        ("telegram", "1", (), "user"),
        ("telegram", "2", (), "moderator"),
        ("discord", "5", ("8", "9"), "moderator"),
        ("discord", "5", ("8",), "user"),
        ("telegram", "5", ("9",), "user"),
        ("discord", "9", (), "user"),
    ],
)
def test_a_person_or_a_role_moderates_on_its_own_platform_only(platform, user, roles, expected):
    moderators = Moderators(["discord:1", "telegram:2", "discord-role:9"])
    press = Press(Place(platform, "c"), "p", user, "vote:x:u", roles=roles)
    assert moderators.role_of(press) == expected
    command = Command(Place(platform, "c"), "m", user, "review", roles=roles)
    assert moderators.role_of(command) == expected


def test_nobody_moderates_unless_named():
    assert Moderators().role_of(Press(Place("discord", "c"), "p", "1", "vote:x:u")) == "user"


@pytest.mark.parametrize(
    ("platform", "roles", "expected"),
    [("web", ("operator",), "moderator"), ("discord", ("operator",), "user"), ("web", (), "user")],
)
def test_who_sits_at_the_machine_moderates_on_its_page(platform, roles, expected):
    press = Press(Place(platform, "c"), "p", "operator", "review:x:good", roles=roles)
    assert Moderators().role_of(press) == expected
