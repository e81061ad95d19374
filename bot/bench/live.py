"""The bench as somebody at a terminal sees it: lines, and a bar while people talk."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

__all__ = ["Screen"]


class Screen:
    """A `bot.bench.loop.Live`; lines carry the time since the beginning. Use it as a context manager.

    ``says`` False shows the bar alone, and that only where there is a terminal.
    """

    def __init__(self, *, says: bool) -> None:
        self._says = says
        self._began = time.monotonic()
        console = Console(stderr=True, highlight=False, soft_wrap=True)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._progress = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._console = console
        self._task = self._progress.add_task("starting", total=None)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def say(self, line: str) -> None:
        minutes, seconds = divmod(int(time.monotonic() - self._began), 60)
        self._progress.update(self._task, description=line.splitlines()[0][:60], total=None)
        if self._says:
            self._console.print(f"{minutes:>2}:{seconds:02}  {line}", markup=False)

    def expect(self, what: str, total: int) -> None:
        self._progress.reset(self._task, description=what, total=total)

    def tick(self) -> None:
        self._progress.advance(self._task)
