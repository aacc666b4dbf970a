"""Long work on the event loop, in short turns: what waits for its answer goes on in between."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from typing import TypeVar

TURN = 400
"""Items between two pauses: some milliseconds of work."""
SHORT_TURN = 50
_REST = 3  # times as long as the turn before it
_T = TypeVar("_T")


async def paced(items: Iterable[_T], *, turn: int = TURN) -> AsyncIterator[_T]:
    """The items, with a pause for everybody else after every so many."""
    for number, item in enumerate(items, 1):
        yield item
        if number % turn == 0:
            await asyncio.sleep(0)


async def aside(items: Iterable[_T], *, hurried: Callable[[], bool] = lambda: False) -> AsyncIterator[_T]:
    """The items, for work that nobody waits for: in shorter turns, with rests that leave most of the time to others.

    `hurried`: whether somebody waits by now; the pauses are short as long as it says so.
    """
    begun_s = time.perf_counter()
    for number, item in enumerate(items, 1):
        yield item
        if number % SHORT_TURN == 0:
            await asyncio.sleep(0 if hurried() else _REST * (time.perf_counter() - begun_s))
            begun_s = time.perf_counter()
