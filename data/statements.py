"""The SQL files: one statement per name, parameters only, and a session that runs them by name."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

import aiosqlite

__all__ = ["Session", "load_statements", "migrations"]

NAME = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)
FILES = ("adapter", "conversation", "erasure", "inbox", "reply", "review", "run", "vote")


def load_statements() -> dict[str, str]:
    """Every named statement of `data/sql`."""
    statements: dict[str, str] = {}
    for file in FILES:
        text = (resources.files("data") / "sql" / f"{file}.sql").read_text(encoding="utf-8")
        parts = NAME.split(text)[1:]
        for name, statement in zip(parts[::2], parts[1::2], strict=True):
            if name in statements:
                raise ValueError(f"two statements are called {name}")
            statements[name] = statement.strip()
    return statements


def migrations() -> list[tuple[int, str]]:
    """(number, script) of every migration, in order."""
    folder = resources.files("data") / "sql" / "migrations"
    found = [(int(path.name[:4]), path) for path in folder.iterdir() if path.name.endswith(".sql")]
    return [
        (number, path.read_text(encoding="utf-8")) for number, path in sorted(found, key=lambda pair: pair[0])
    ]


class Session:
    """Named statements on one connection."""

    def __init__(self, connection: aiosqlite.Connection, statements: Mapping[str, str]) -> None:
        self._connection = connection
        self._statements = statements

    async def all(self, statement: str, **values: Any) -> list[dict[str, Any]]:
        rows = await self._connection.execute_fetchall(self._statements[statement], values)
        return [dict(row) for row in rows]

    async def one(self, statement: str, **values: Any) -> dict[str, Any] | None:
        rows = await self.all(statement, **values)
        return rows[0] if rows else None

    async def many(self, statement: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Runs the statement once for every row."""
        await (await self._connection.executemany(self._statements[statement], rows)).close()

    async def run(self, statement: str, **values: Any) -> None:
        await self._connection.execute_fetchall(self._statements[statement], values)
