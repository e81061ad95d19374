"""Tokens of a text under the base's tokenizer: counted here where its file can be read, else asked."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

from tokenizers import Tokenizer

from engine.protocol import Engine, EngineInfo
from personas.errors import QuestionTooLong

__all__ = ["Tokens"]

T = TypeVar("T")
MOST_CACHED = 4096


class Tokens:
    """Counts for the prompt plan, which is pure and wants a plain function."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._path: str | None = None
        self._tokenizer: Tokenizer | None = None
        self._cache: OrderedDict[str, int] = OrderedDict()

    def use(self, info: EngineInfo) -> None:
        """Counts under this engine's base from now on."""
        if info.tokenizer == self._path and self._cache:
            return
        self._path = info.tokenizer
        self._cache.clear()
        self._tokenizer = None
        if info.tokenizer is not None and Path(info.tokenizer).is_file():
            self._tokenizer = Tokenizer.from_file(info.tokenizer)
            # What people type never becomes a control token, and so is never counted as one.
            self._tokenizer.encode_special_tokens = True

    async def planned(self, build: Callable[[Callable[[str], int]], T]) -> T:
        """Calls ``build`` with a counting function, and again while it met texts that must be asked for.

        Raises:
            QuestionTooLong: as ``build`` does, once every count is a true one.
        """
        while True:
            missing: dict[str, None] = {}
            try:
                result = build(partial(self._known, missing))
            except QuestionTooLong:
                if not missing:
                    raise
            else:
                if not missing:
                    return result
            for text in missing:
                self._remember(text, await self._engine.count(text))

    def _known(self, missing: dict[str, None], text: str) -> int:
        if text in self._cache:
            self._cache.move_to_end(text)
            return self._cache[text]
        if self._tokenizer is None:
            missing[text] = None
            return len(text.encode("utf-8", "replace"))
        count = len(self._tokenizer.encode(text, add_special_tokens=False).ids)
        self._remember(text, count)
        return count

    def _remember(self, text: str, count: int) -> None:
        self._cache[text] = count
        while len(self._cache) > MOST_CACHED:
            self._cache.popitem(last=False)
