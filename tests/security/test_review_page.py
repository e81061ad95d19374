"""The moderators' page is the operator's own: at the machine itself, for nobody else."""

from __future__ import annotations

import httpx
import pytest
from starlette.requests import Request

from bot.platform import Command, Press, VoteOutcome
from bot.web.review import is_operator
from tests.fakes.core import RecordingCore
from tests.fakes.page import Tab, found, serving


def request(*, client="127.0.0.1", host="127.0.0.1:8080", **headers):
    named = {"host": host, **{name.replace("_", "-"): value for name, value in headers.items()}}
    raw = [(name.encode(), value.encode()) for name, value in named.items()]
    scope = {"type": "http", "method": "GET", "path": "/review", "query_string": b"", "headers": raw}
    return Request({**scope, "client": (client, 5), "server": ("127.0.0.1", 8080), "scheme": "http"})


@pytest.mark.parametrize("listening", ["127.0.0.1", "::1", "localhost", "127.0.0.2"])
def test_who_sits_at_the_machine_is_the_operator(listening):
    for name in ("127.0.0.1:8080", "localhost:8080", "[::1]:8080"):
        assert is_operator(request(host=name), listening)


@pytest.mark.parametrize(
    ("listening", "asking"),
    [
        ("0.0.0.0", request()),
        ("::", request()),
        ("192.168.1.5", request()),
        ("example.org", request()),
        ("127.0.0.1", request(client="192.168.1.9")),
        ("127.0.0.1", request(client="")),
        # A page of another site whose name suddenly means this machine.
        ("127.0.0.1", request(host="evil.example")),
        ("127.0.0.1", request(host="127.0.0.1.evil.example")),
        ("127.0.0.1", request(host="")),
        # A proxy on this machine, which passes on what strangers ask.
        ("127.0.0.1", request(x_forwarded_for="127.0.0.1")),
        ("127.0.0.1", request(x_real_ip="203.0.113.7")),
        ("127.0.0.1", request(forwarded="for=203.0.113.7")),
        ("127.0.0.1", request(via="1.1 proxy")),
    ],
)
def test_nobody_else_is(listening, asking):
    assert not is_operator(asking, listening)


async def test_strangers_are_told_that_there_is_no_such_page():
    core = RecordingCore()
    async with serving(core) as web, Tab(web) as tab:
        await tab.open()
        for headers in ({"Host": "chat.example.org"}, {"X-Forwarded-For": "203.0.113.7"}):
            answer = await tab.client.get("/review", headers=headers)
            assert answer.status_code == 404
            assert "There is no such page here." in answer.text
            ours = {**headers, "X-CSRF-Token": tab.csrf}
            answer = await tab.client.post("/review/press", data={"data": "review:r:good"}, headers=ours)
            assert answer.status_code == 404
    assert core.events == []


async def test_a_press_needs_our_token_and_a_verdict_that_is_one():
    core = RecordingCore()
    core.outcome = VoteOutcome("Nothing is waiting.")
    async with serving(core) as web, Tab(web) as tab:
        page = (await tab.client.get("/review")).text
        good = {"X-CSRF-Token": found(r'X-CSRF-Token": "([0-9a-f]+)"', page)}
        assert isinstance(core.events.pop(), Command)
        for headers in ({}, {"X-CSRF-Token": "0" * 64}, {**good, "Origin": "https://evil.example"}):
            answer = await tab.client.post("/review/press", data={"data": "review:r:good"}, headers=headers)
            assert answer.status_code == 403
        async with httpx.AsyncClient(base_url=web.url) as stranger:
            assert (await stranger.post("/review/press", headers=good)).status_code == 403
        for data in (
            "",
            "vote:r:u",
            "review:r",
            "review:r:GOOD",
            "review:r:own:x:y",
            f"review:{'r' * 41}:good",
        ):
            answer = await tab.client.post("/review/press", data={"data": data}, headers=good)
            assert answer.status_code == 400
        assert core.events == []
        answer = await tab.client.post("/review/press", data={"data": "review:r:good"}, headers=good)
        assert answer.status_code == 200
    (press,) = core.events
    assert isinstance(press, Press)
    assert (press.user, press.roles, press.place.platform) == ("operator", ("operator",), "web")


async def test_a_link_from_another_site_claims_nothing():
    core = RecordingCore()
    async with serving(core) as web, httpx.AsyncClient(base_url=web.url) as client:
        answer = await client.get("/review", headers={"Sec-Fetch-Site": "cross-site"})
        assert 'http-equiv="refresh"' in answer.text
    assert core.events == []


async def test_the_page_of_a_visitor_makes_nobody_a_moderator():
    """The role is the review page's alone."""
    core = RecordingCore()
    async with serving(core) as web, Tab(web) as tab:
        await tab.open()
        await tab.post("/chat/li_bai/press", data="consent:yes")
        await tab.post("/chat/li_bai/reset")
    press, command = core.events
    assert press.roles == command.roles == ()
