"""No token reaches a log, whoever logs it and however."""

from __future__ import annotations

import io
import logging

import pytest
import structlog

from data.logs import set_up_logs

TELEGRAM = "123456789:AAFakeFakeFakeFakeFakeFakeFakeFake0"
DISCORD = "MTIzNDU2Nzg5MDEyMzQ1Njc4.GabcDE.abcdefghijklmnopqrstuvwxyz0123456789AB"


@pytest.fixture(name="lines", params=[False, True], ids=["for-people", "json"])
def _lines(request):
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    set_up_logs("DEBUG", secrets=["hunter2-worker"], stream=stream, as_json=request.param)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def test_secrets_are_redacted_in_events_arguments_fields_and_tracebacks(lines):
    structlog.get_logger("bot.x").info(f"started with {TELEGRAM}", url=f"https://api/bot{TELEGRAM}/getMe")
    logging.getLogger("some.library").warning("token %s and %s", DISCORD, "hunter2-worker")
    try:
        int(f"bad {TELEGRAM}")
    except ValueError:
        structlog.get_logger("bot.y").exception("it.failed", detail={"token": DISCORD})
    written = lines.getvalue()
    assert written.count("[redacted]") >= 6
    for secret in (TELEGRAM, DISCORD, "hunter2-worker", TELEGRAM.split(":")[1]):
        assert secret not in written
    assert "ValueError" in written


def test_libraries_that_log_urls_are_quiet(lines):
    for name in ("httpx", "httpcore.connection", "discord.http"):
        logging.getLogger(name).info("POST https://somewhere/secret")
    assert lines.getvalue() == ""


def test_the_turns_id_is_in_every_line_of_it(lines):
    with structlog.contextvars.bound_contextvars(inbox=77):
        structlog.get_logger("bot.x").info("turn.begun")
        logging.getLogger("some.library").warning("deep inside")
    assert all("77" in line for line in lines.getvalue().splitlines())
