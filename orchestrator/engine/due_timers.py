"""A lane's timers that are due: read in pages, handed out a few at a time; live ones before those of imported history."""

from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from orchestrator.engine.store import LaneStore, TimerRow

PAGE = 500
_HISTORY_QUIET_MS = 10_000  # without imported commands; then timers that history left due may fire
Run = Callable[..., Awaitable[Any]]
"""Calls a function in a thread and awaits its result."""


class DueTimers:
    """One lane's. `imported_ms`: lane time of the last batch that held imported commands."""

    def __init__(self, store: LaneStore, run: Run) -> None:
        self.next_ms: int | None = None  # when the next one is due, as far as is known; None: there is none
        self._store = store
        self._run = run
        self._read: deque[TimerRow] = deque()  # not handed out yet: its journey knows if one still is due

    def clear(self) -> None:
        """Forget what was read."""
        self._read.clear()

    async def take(self, now_ms: int, limit: int, imported_ms: int) -> list[TimerRow]:
        """Up to `limit` of those due at lane time `now_ms`; none where none is known to be due."""
        if self.next_ms is None or self.next_ms > now_ms:
            return []
        quiet = imported_ms + _HISTORY_QUIET_MS <= now_ms
        if self._read and self._read[0].history and not quiet:
            self._read.clear()
        if not self._read:
            self._read += await self._find(now_ms, history=False)
        if not self._read and quiet:
            self._read += await self._find(now_ms, history=True)
        return [self._read.popleft() for _ in range(min(limit, len(self._read)))]

    async def _find(self, now_ms: int, *, history: bool) -> list[TimerRow]:
        rows: list[TimerRow] = await self._run(lambda: self._store.due_timers(now_ms, PAGE, history=history))
        return rows

    async def look(self, imported_ms: int) -> None:
        """Read when the next one is due, unless some of those read are left."""
        if self._read:
            return
        live_ms, history_ms = await self._run(self._store.next_due_ms)
        if history_ms is not None:
            history_ms = max(history_ms, imported_ms + _HISTORY_QUIET_MS)
        self.next_ms = min((ms for ms in (live_ms, history_ms) if ms is not None), default=None)

    def armed(self, rows: Iterable[TimerRow], imported_ms: int) -> None:
        """These rows were committed."""
        for row in rows:
            due_ms = max(row.due_ms, imported_ms + _HISTORY_QUIET_MS) if row.history else row.due_ms
            if self.next_ms is None or due_ms < self.next_ms:
                self.next_ms = due_ms
