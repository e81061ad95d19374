"""Delivers and votes without end; after each acknowledged write it appends what was promised to a log.

A test kills it with SIGKILL at any moment. Arguments: store, log, seed.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
from pathlib import Path

from data.home import Home
from data.records import Ballot, InboxItem, NewReply
from data.sqlite import SqliteStore, open_store

WRITERS = 8


def promise(log: int, line: str) -> None:
    os.write(log, f"{line}\n".encode())


async def deliver(store: SqliteStore, log: int, name: str) -> None:
    draw = random.Random(name)
    number = 0
    while True:
        number += 1
        message = f"{name}-{number}"
        item = InboxItem("telegram", "1", "", message, name, "message", "{}")
        (inbox_id,) = await store.receive([item], cursor=("telegram", name, str(number)))
        promise(log, f"message {message}")
        live = await store.conversation("telegram", "1", "", "li_bai")
        reply = await store.open_reply(
            NewReply(inbox_id, live.id, "li_bai", "telegram", "1", "en", "[]", "[]", "{}", number)
        )
        value = draw.choice((1, -1))
        await store.cast(Ballot(reply.id, name, "thumb", value))
        promise(log, f"vote {reply.id} {name} {value}")
        if draw.random() < 0.3:
            await store.cast(Ballot(reply.id, name, "thumb", -value))
            promise(log, f"vote {reply.id} {name} {-value}")


async def main() -> None:
    home = Home(Path(sys.argv[1]))
    home.prepare()
    log = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    with home.lock():
        async with open_store(home.store) as store, asyncio.TaskGroup() as tasks:
            for number in range(WRITERS):
                tasks.create_task(deliver(store, log, f"{sys.argv[3]}.{number}"))
            promise(log, "begun")


if __name__ == "__main__":
    asyncio.run(main())
