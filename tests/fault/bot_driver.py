"""The core with the real Telegram client, as a process of its own that a test kills.

Arguments: home, URL of the Bot API, URL of the engine.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from bot.platforms.telegram_ import Telegram
from bot.sentences import MENU
from tests.fakes.telegram import TOKEN
from tests.fakes.troupe import troupe


async def main() -> None:
    async with troupe(Path(sys.argv[1]), sys.argv[3]) as parts:
        await Telegram(TOKEN, parts.core, menu=MENU, api_url=sys.argv[2]).run()


if __name__ == "__main__":
    asyncio.run(main())
