"""Long work on the event loop, in short turns: what waits for its answer goes on in between."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import TypeVar

TURN = 400
"""Items between two pauses: some milliseconds of work."""
_T = TypeVar("_T")


async def paced(items: Iterable[_T]) -> AsyncIterator[_T]:
    """The items, with a pause for everybody else after every so many."""
    for number, item in enumerate(items, 1):
        yield item
        if number % TURN == 0:
            await asyncio.sleep(0)
