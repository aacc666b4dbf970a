"""A flow in which customers wait, and the rows of a lane that is followed."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from orchestrator.journeys.bulk import BULK
from orchestrator.journeys.flow import FLOW
from orchestrator.running import Running
from projections.journeys import Journeys
from tests.flow.graphs import document
from tests.support.lanes import Installation, LaneHarness, Request

WAITING: dict[str, Any] = document(
    {"wait": {"kind": "wait", "event": {"type": "GO"}}, "more": {"kind": "wait", "event": {"type": "STOP"}}},
    events=["GO", "STOP"],
    reentry="always",
) | {"runs_at_once": 3}
DEFINITION = WAITING["id"]


class Lanes:
    """An installation without a broker: send commands, let the rows be written, look for runs."""

    def __init__(self, dsn: str, lanes: int) -> None:
        self.installation = Installation(
            dsn, lanes=lanes, kinds=(FLOW, BULK), documents=(("flow", DEFINITION, WAITING),)
        )
        self.running = Running(self.installation.databases)
        self.owners: list[LaneHarness] = []

    async def open(self) -> None:
        self.owners = [await self.installation.lane(n) for n in range(self.installation.lanes)]

    async def send(self, type: str, data: dict[str, Any] | None = None, *, each: int) -> list[str]:
        """The same command for some customers of every lane; their streams."""
        streams = []
        for owner in self.owners:
            names = owner.customers(each)
            requests = [Request(name, type, data or {}, definition=f"flow:{DEFINITION}") for name in names]
            await owner.handle(*requests)
            streams += [f"acme/c/{name}/flow:{DEFINITION}" for name in names]
        return streams

    @asynccontextmanager
    async def followed(self) -> AsyncIterator[None]:
        """Rows are written while inside."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._follow(owner)) for owner in self.owners]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()

    async def _follow(self, owner: LaneHarness) -> None:
        journeys = Journeys(owner.lane, growth_events=1, quiet_ms=0, dirty_max=lambda: 1)
        async with owner.following(journeys):
            await asyncio.Event().wait()

    def close(self) -> None:
        self.installation.close()


async def in_thread(call: Callable[..., Any], *args: Any) -> Any:
    return await asyncio.to_thread(call, *args)
