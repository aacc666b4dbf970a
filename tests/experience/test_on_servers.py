"""An experience on a real Kafka and PostgreSQL: a queue's fans, its operators, and a worker that dies among them."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from orchestrator import definitions, embedded
from orchestrator.core.addresses import lane_of
from orchestrator.journeys import KINDS
from orchestrator.journeys.experience import EXPERIENCE
from orchestrator.replay.run import replay
from tests.support.worker_process import WorkerProcess, environment_of
from tests.support.world import World, world

SALT = "0" * 32
CODE = "CANARY-CODE-77"
ROOM = "acme/r/drop.line/queue:drop:line"
DOCUMENT = f"""
kind: experience
id: drop
name: A drop
trusted_sources: [shop]
requirements:
  - {{type: access_code}}
access_codes:
  codes:
    - {{id: friends, code: {CODE}, uses: 40}}
sequences:
  - {{id: only, name: Only, distribution: line, gates: [{{type: access_code, codes: [friends]}}]}}
distributions:
  line:
    mechanism: queue
    concurrent: 3
    admission: {{valid: 1h}}
    presence: {{timeout: 3s, grace: 1s}}
"""


@pytest.fixture
async def one(servers: embedded.Servers, database: str, topic_prefix: str) -> AsyncIterator[World]:
    async with world(servers.bootstrap, database, topic_prefix, kinds=KINDS, snapshot_quiet_ms=100) as made:
        yield made


def publish(one: World, text: str = DOCUMENT) -> None:
    read = definitions.read(text.encode()).value
    document = EXPERIENCE.prepare(read, SALT)
    assert not [p for p in definitions.check(document) if p.severity == "error"]
    one.publish("drop", document=document, kind="experience")


async def act(one: World, customer: str, action: str, **data: Any) -> None:
    await one.send(customer, action, data, id=f"{customer}-{action}", stream="experience:drop")


async def snapshots(one: World) -> dict[str, dict[str, Any]]:
    """The newest snapshot of each customer's journey, by customer."""
    found = {}
    for record in await one.read("snapshots"):
        stream = (record.key or b"").decode()
        if stream.endswith("/experience:drop") and record.value is not None:
            found[stream.split("/")[2]] = orjson.loads(record.value)["view"]
    return found


async def stages(one: World) -> dict[str, str]:
    return {name: view["sequenceStage"] for name, view in (await snapshots(one)).items()}


async def count(one: World, stage: str) -> int:
    return sum(found == stage for found in (await stages(one)).values())


async def operate(one: World, command: str, id: str, **data: Any) -> None:
    headers = [
        ("ce_specversion", b"1.0"),
        ("ce_id", id.encode()),
        ("ce_source", b"operators"),
        ("ce_type", command.encode()),
        ("ce_subject", ROOM.encode()),
    ]
    owner = "acme/r/drop.line"
    await one.put("commands", orjson.dumps(data), owner.encode(), headers, lane_of(owner, one.settings.lanes))


async def beat(one: World, *customers: str) -> None:
    owner = "acme/r/drop.line"
    lane = lane_of(owner, one.settings.lanes)
    for name in customers:
        value = orjson.dumps({"stream": ROOM, "participant": name})
        await one.put("signals", value, owner.encode(), partition=lane)


async def test_fans_are_admitted_in_turn_through_a_crash(
    one: World, servers: embedded.Servers, tmp_path: Path
) -> None:
    """Everybody has one place, three are inside, whoever is done lets the next in; a SIGKILL changes none of it."""
    publish(one)
    fans = [f"fan-{n:02d}" for n in range(12)]
    environment = environment_of(
        servers,
        topic_prefix=one.settings.topic_prefix,
        DATABASE_URL=one.settings.database_url,
        ORCHESTRATOR_CONSUMER_GROUP=one.settings.consumer_group,
        ORCHESTRATOR_SNAPSHOT_QUIET_MS="100",
    )
    worker = WorkerProcess(environment, tmp_path / "w.log", program=("orchestrator.worker_process", "lanes"))
    with worker as running:
        running.start()
        await asyncio.to_thread(running.wait_ready)
        for name in fans:
            await act(one, name, "start", access_code=CODE)
        await one.until(lambda: _counted(one, "active_enterable", len(fans)), "all are routed")
        for name in fans:
            await act(one, name, "enter_queue")
            await beat(one, name)
        await one.until(lambda: _counted(one, "admitted", 3), "three are inside")
        running.kill()
        running.start()
        await asyncio.to_thread(running.wait_ready)
        for name in fans:  # a producer that doesn't know whether it was heard
            await act(one, name, "enter_queue")
        inside = [name for name, stage in (await stages(one)).items() if stage == "admitted"]
        assert len(inside) == 3
        for name in fans:
            await beat(one, name)
        grants = await _grants(one)
        assert sorted(grants) == sorted(inside)
        await operate(one, "redeem", "redeem-1", jti=grants[inside[0]], reference="order-1")
        await operate(one, "redeem", "redeem-2", jti=grants[inside[0]], reference="order-2")
        await one.until(lambda: _granted(one, 4), "the next one is admitted")
        outcomes = {o["id"]: o for o in await one.outcomes() if o["id"].startswith("redeem-")}
        assert outcomes["redeem-1"]["outcome"] == "applied"
        assert (outcomes["redeem-2"]["outcome"], outcomes["redeem-2"]["reason"]) == (
            "rejected",
            "grant.already_redeemed",
        )
    events = [r for r in await one.read("events") if r.header("ce_subject") == ROOM]
    entered = {
        r.header("ce_id"): r.json["participant"] for r in events if r.header("ce_type") == "queue.entered.v1"
    }
    assert sorted(entered.values()) == fans, "each has one place"
    assert not one.dead_letters()
    for topic in ("events", "outcomes", "snapshots", "effects", "dead_letters"):
        for record in await one.read(topic):
            assert CODE.lower().encode() not in (record.value or b"").lower(), topic


async def test_who_gives_no_sign_of_life_loses_the_place_and_nobody_else(one: World) -> None:
    """Heartbeats keep a place; who falls silent leaves the line, and who is inside or present is left alone."""
    publish(one)
    await one.start()
    fans = [f"fan-{n}" for n in range(6)]
    for name in fans:
        await act(one, name, "start", access_code=CODE)
    await one.until(lambda: _counted(one, "active_enterable", len(fans)), "routed")

    async def standing_and_alive(entered: str) -> bool:
        await beat(one, *fans)
        return await _standing(one, entered)

    for name in fans:
        await act(one, name, "enter_queue")
        await one.until(lambda: standing_and_alive(name), "in the line")  # noqa: B023 - awaited at once
    waiting = [name for name, stage in (await stages(one)).items() if stage == "participating"]
    assert len(waiting) == 3
    silent, lively = waiting[0], waiting[1:]

    async def gone() -> bool:
        await beat(one, *lively)
        return (await stages(one))[silent] not in {"participating", "admitted"}

    await one.until(gone, "who is silent is gone")
    found = await stages(one)
    assert {found[name] for name in lively} == {"participating"}
    assert await count(one, "admitted") == 3
    left = [r.json for r in await one.read("events") if r.header("ce_type") == "queue.places_freed.v1"]
    assert [name for event in left for name in event["participants"]] == [silent]


async def test_the_log_of_an_experience_can_be_replayed(one: World) -> None:
    """Rebuilt from the log, every journey and every distribution stands where it stood, and nobody is told anything."""
    publish(one)
    await one.start()
    for n in range(5):
        await act(one, f"fan-{n}", "start", access_code=CODE)
    await one.until(lambda: _counted(one, "active_enterable", 5), "routed")
    for n in range(5):
        await act(one, f"fan-{n}", "enter_queue")
    await one.until(lambda: _counted(one, "admitted", 3), "inside")
    await one.settled()
    await one.stop()
    topic = one.settings.topic("commands")
    before = await one.ends(topic)
    report = await replay(one.settings, verify=True)
    assert (report.differences, report.ok) == ([], True)
    assert await one.ends(topic) == before


async def _counted(one: World, stage: str, expected: int) -> bool:
    return await count(one, stage) == expected


async def _standing(one: World, name: str) -> bool:
    return (await stages(one)).get(name) in {"participating", "admitted"}


async def _grants(one: World) -> dict[str, str]:
    """Ids of grants by participant."""
    return {
        grant[0]: grant[1]
        for r in await one.read("events")
        if r.header("ce_type") == "distribution.granted.v1"
        for grant in r.json["grants"]
    }


async def _granted(one: World, expected: int) -> bool:
    return len(await _grants(one)) == expected
