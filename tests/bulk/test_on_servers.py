"""A bulk operation on real servers: with its worker killed in the middle it misses and doubles nothing."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from orchestrator import embedded
from orchestrator.core.addresses import lane_of
from orchestrator.journeys import KINDS
from orchestrator.journeys.bulk.model import BUILT_IN, stream_of
from tests.bulk.scenes import DEFINITION, WAITING
from tests.support.worker_process import WorkerProcess, environment_of
from tests.support.world import World, world

CUSTOMERS = 300
PAGE = 2  # small, so that kills find it under way
OPERATION = stream_of("acme", "one")


@pytest.fixture
async def one(servers: embedded.Servers, database: str, topic_prefix: str) -> AsyncIterator[World]:
    async with world(servers.bootstrap, database, topic_prefix, kinds=KINDS) as made:
        yield made


def worker(one: World, servers: embedded.Servers, log: Path) -> WorkerProcess:
    environment = environment_of(
        servers,
        topic_prefix=one.settings.topic_prefix,
        DATABASE_URL=one.settings.database_url,
        ORCHESTRATOR_CONSUMER_GROUP=one.settings.consumer_group,
        ORCHESTRATOR_SNAPSHOT_QUIET_MS="100",
    )
    return WorkerProcess(environment, log, program=("orchestrator.worker_process", "all"))


async def begin(one: World, data: dict[str, Any]) -> None:
    owner = OPERATION.owner.text
    headers = {"ce_specversion": "1.0", "ce_id": "begin", "ce_source": "tests", "ce_type": "begin"}
    made = [(name, value.encode()) for name, value in headers.items()]
    made += [("ce_subject", OPERATION.text.encode()), ("content-type", b"application/json")]
    lane = lane_of(owner, one.settings.lanes)
    await one.put("commands", orjson.dumps(data), owner.encode(), made, lane)


async def told(one: World) -> dict[str, list[tuple[str, dict[str, Any]]]]:
    """Type and data of the events by stream, each once."""
    found: dict[str, list[tuple[str, dict[str, Any]]]] = {}
    seen = set()
    for record in await one.read("events"):
        if (key := record.header("ce_id")) not in seen:
            seen.add(key)
            data = orjson.loads(record.value or b"{}")
            found.setdefault(record.header("ce_subject"), []).append((record.header("ce_type"), data))
    return found


async def pages(one: World) -> int:
    return [name for name, _ in (await told(one)).get(OPERATION.text, [])].count("bulk.page_sent.v1")


async def test_three_hundred_waiting_runs_are_cancelled_once(
    one: World, servers: embedded.Servers, tmp_path: Path
) -> None:
    """However often the worker is killed on the way, every run is cancelled once and the count ends at 300."""
    one.publish(DEFINITION, document=WAITING, kind="flow")
    one.publish("operation", document={**BUILT_IN, "page": PAGE}, kind="bulk")
    for n in range(CUSTOMERS):
        await one.send(f"cus-{n}", "start", {}, stream=f"flow:{DEFINITION}")
    with worker(one, servers, tmp_path / "worker.log") as running:
        running.start()
        await asyncio.to_thread(running.wait_ready)
        query = {"definition": DEFINITION, "state": "WAITING"}
        await begin(one, {"command": "cancel", "query": query, "reason": "wrong", "expected": CUSTOMERS})
        for at_least in (4, 12):
            await one.until(lambda n=at_least: _reached(one, n), f"{at_least} pages were sent", 60)
            running.kill()
            assert await pages(one) < CUSTOMERS / PAGE
            running.start()
            await asyncio.to_thread(running.wait_ready)

        async def ended() -> dict[str, Any] | None:
            events = (await told(one)).get(OPERATION.text, [])
            return next((data for name, data in events if name == "bulk.ended.v1"), None)

        end = await one.until(ended, "the operation ended", 90)

        async def all_cancelled() -> bool:
            return _cancelled(await told(one)).total() >= CUSTOMERS

        await one.until(all_cancelled, "every run was cancelled", 60)
    assert (end["state"], end["told"]) == ("DONE", CUSTOMERS)
    events = await told(one)
    assert _cancelled(events) == Counter({f"acme/c/cus-{n}/flow:{DEFINITION}": 1 for n in range(CUSTOMERS)})
    names = Counter(name for found in events.values() for name, _ in found)
    assert "journey.command_rejected.v1" not in names
    assert names["bulk.page_sent.v1"] >= CUSTOMERS / PAGE
    assert not one.dead_letters()


async def _reached(one: World, count: int) -> bool:
    return await pages(one) >= count


def _cancelled(events: dict[str, list[tuple[str, dict[str, Any]]]]) -> Counter[str]:
    return Counter(
        stream
        for stream, found in events.items()
        for name, data in found
        if name == "flow.run_ended.v1" and data["state"] == "CANCELLED"
    )
