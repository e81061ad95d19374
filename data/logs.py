"""Logging of every process: structlog over the standard library, with secrets redacted at the last moment.

The redaction sits on the root handler: a filter on a logger would miss its children, and only the finished
line holds everything (fields, arguments, tracebacks).
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterable
from typing import TextIO

import structlog

__all__ = ["Redacting", "set_up_logs"]

REDACTED = "[redacted]"
TOKEN_SHAPES = (
    re.compile(r"\b\d{6,12}:[A-Za-z0-9_-]{30,}"),  # Telegram; also inside https://…/bot<token>/
    re.compile(r"\bbot\d{6,12}:[A-Za-z0-9_-]+"),
    re.compile(r"\b[A-Za-z0-9_-]{23,28}\.[A-Za-z0-9_-]{6,7}\.[A-Za-z0-9_-]{27,}"),  # Discord
)
# They log whole URLs and headers, and so tokens and ids, at INFO and DEBUG.
TALKATIVE = (
    "httpx",
    "httpcore",
    "discord.http",
    "discord.gateway",
    "discord.client",
    "telegram.ext",
    "aiosqlite",
)
SHORTEST_SECRET = 6

_SHARED: tuple[structlog.types.Processor, ...] = (
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
)


class Redacting(logging.Formatter):
    """Formats with another formatter, then takes known secrets and everything shaped like a token out."""

    def __init__(self, inner: logging.Formatter, secrets: Iterable[str] = ()) -> None:
        super().__init__()
        self._inner = inner
        self._secrets = tuple(secret for secret in secrets if len(secret) >= SHORTEST_SECRET)

    def format(self, record: logging.LogRecord) -> str:
        line = self._inner.format(record)
        for secret in self._secrets:
            line = line.replace(secret, REDACTED)
        for shape in TOKEN_SHAPES:
            line = shape.sub(REDACTED, line)
        return line


def set_up_logs(
    level: str = "INFO", *, secrets: Iterable[str] = (), stream: TextIO | None = None, as_json: bool = False
) -> None:
    """Sends the process's logs to standard error (or ``stream``) and nowhere else.

    Args:
        level: of our own packages and of libraries that are not known to talk too much.
        secrets: values that never appear, whatever is logged.
        stream: where the lines go.
        as_json: one JSON object per line, for machines.
    """
    target = stream or sys.stderr
    renderer: structlog.types.Processor = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if as_json
        else structlog.dev.ConsoleRenderer(
            colors=target.isatty(),
            # The default shows local variables, and so what people wrote.
            exception_formatter=structlog.dev.plain_traceback,
        )
    )
    inner = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=_SHARED,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            *((structlog.processors.format_exc_info,) if as_json else ()),
            renderer,
        ],
    )
    handler = logging.StreamHandler(target)
    handler.setFormatter(Redacting(inner, secrets))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in TALKATIVE:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_SHARED,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
