"""Closing aiokafka's clients in bounded time, whatever they do."""

import asyncio
from collections.abc import Coroutine
from typing import Any


async def closed_within(closing: Coroutine[Any, Any, Any], timeout_s: float) -> bool:
    """Runs `closing` for at most `timeout_s`; True if it ended well.

    In a task of its own: without a broker, aiokafka's `stop` lets its own tasks' CancelledError through.
    """
    task = asyncio.create_task(closing)
    try:
        await asyncio.wait([task], timeout=timeout_s)
    finally:
        task.cancel()
    await asyncio.wait([task], timeout=timeout_s)
    return task.done() and not task.cancelled() and task.exception() is None
