"""Timers: once, in time, in order; over restarts, outages and imported history."""

import asyncio
from typing import Any

import orjson
import pytest

from orchestrator import embedded
from orchestrator.engine import due_timers
from tests.support.world import World, world


async def _fired(one: World, customer: str) -> list[dict[str, Any]]:
    """Envelopes of what timers of a customer's journey did, in order."""
    number, stream = one.lane(customer), f"{one.owner(customer)}/toy:t"
    rows = one.rows(f"SELECT state FROM lane_{number:03d}.stored_events ORDER BY notification_id")
    found = [orjson.loads(bytes(r["state"])) for r in rows]
    return [e for e in found if e["stream"] == stream and e["source"] == "engine/timers"]


async def test_a_timer_fires_once_and_not_before_its_time(one: World) -> None:
    """A due timer becomes one command of the engine at its time, and its row is gone."""
    await one.start()
    await one.send("cus-1", "arm", {"timer": "a", "delay_ms": 300})
    [fired] = await one.until(lambda: _fired(one, "cus-1"), "fired")
    await one.settled()
    [armed] = [r for r in await one.read("events") if r.header("ce_type") == "journey.timer_armed.v1"]
    assert fired["at_ms"] >= armed.json["due_ms"]
    assert await _fired(one, "cus-1") == [fired]
    assert sum(len(one.rows(f"SELECT 1 FROM lane_{n:03d}.timers")) for n in range(2)) == 0
    outcome = next(o for o in await one.outcomes() if o["source"] == "engine/timers")
    assert outcome["outcome"] == "applied"


async def test_a_moved_timer_fires_at_its_new_time_and_a_cancelled_one_never(one: World) -> None:
    """Re-arming moves a timer, cancelling removes it; a third one marks the time by which both would have fired."""
    await one.start()
    await one.send("moved", "arm", {"timer": "a", "delay_ms": 400})
    await one.send("cancelled", "arm", {"timer": "a", "delay_ms": 400})
    await one.send("moved", "arm", {"timer": "a", "delay_ms": 1500})
    await one.send("cancelled", "disarm", {"timer": "a"})
    await one.until(lambda: _fired(one, "moved"), "the moved one fired")
    await one.settled()
    [fired] = await _fired(one, "moved")
    due = [
        r.json["due_ms"] for r in await one.read("events") if r.header("ce_type") == "journey.timer_armed.v1"
    ]
    assert fired["at_ms"] >= max(due)
    assert await _fired(one, "cancelled") == []


async def test_timers_survive_a_restart(one: World) -> None:
    """Timers are rows: armed by one worker, fired by the next, once."""
    await one.start()
    await one.send("soon", "arm", {"timer": "a", "delay_ms": 1500})
    await one.send("later", "arm", {"timer": "a", "delay_ms": 3_600_000})
    await one.settled()
    await one.restart()
    await one.until(lambda: _fired(one, "soon"), "fired")
    await one.restart()
    await one.settled()
    assert len(await _fired(one, "soon")) == 1
    assert await _fired(one, "later") == []


async def test_what_became_due_in_an_outage_fires_in_order_after_the_backlog(one: World) -> None:
    """After downtime the commands that waited are handled first; then late timers fire, earliest due first, once."""
    await one.start()
    customers = one.customers(0, 6)
    delays_ms = [900, 300, 700, 100, 500]
    for customer, delay_ms in zip(customers, delays_ms, strict=False):
        await one.send(customer, "arm", {"timer": "a", "delay_ms": 2000 + delay_ms})
    await one.send(customers[5], "arm", {"timer": "a", "delay_ms": 2000})
    await one.settled()
    await one.stop()
    armed = one.rows("SELECT stream, due_ms FROM lane_000.timers ORDER BY due_ms")
    assert len(armed) == 6

    def all_due() -> bool:
        query = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS ms"
        return bool(one.rows(query)[0]["ms"] > armed[-1]["due_ms"])

    backlog = [await one.send(c, "disarm", {"timer": "a"}, id="in time") for c in customers[5:]]
    await one.until(all_due, "due")
    assert backlog
    await one.start()

    async def fired() -> bool:
        return all([await _fired(one, c) for c in customers[:5]])

    await one.until(fired, "fired")
    await one.settled()
    rows = one.rows("SELECT state FROM lane_000.stored_events ORDER BY notification_id")
    log = [orjson.loads(bytes(r["state"])) for r in rows]
    order = [e["stream"] for e in log if e["source"] == "engine/timers"]
    assert order == [r["stream"] for r in armed[1:]]
    first = next(i for i, e in enumerate(log) if e["source"] == "engine/timers")
    assert max(i for i, e in enumerate(log) if e["id"] == "in time") < first
    assert await _fired(one, customers[5]) == []


async def test_many_timers_due_at_once_each_fire_once(one: World) -> None:
    """More timers than one batch takes are fired in several, each once, while commands go on."""
    await one.start()
    [busy] = one.customers(0, 1, "busy")
    sent = []
    for n in range(1200):
        headers = list(one.headers(f"cus-{n}", "arm", "k").items())
        value = orjson.dumps({"timer": "a", "delay_ms": 1000})
        key = one.owner(f"cus-{n}").encode()
        sent.append(
            await one.producer.send(
                one.settings.topic("commands"),
                value,
                key=key,
                headers=headers,
                partition=one.lane(f"cus-{n}"),
            )
        )
    await asyncio.gather(*sent)
    await one.send(busy)

    def gone() -> bool:
        return not any(one.rows(f"SELECT 1 FROM lane_{n:03d}.timers LIMIT 1") for n in range(2))

    await one.until(lambda: one.journey(busy), "handled")
    await one.until(gone, "all fired")
    await one.settled()
    names = [o["stream"] for o in await one.outcomes() if o["source"] == "engine/timers"]
    assert len(names) == len(set(names)) == 1200


async def test_history_imported_in_many_batches_fires_its_timers_at_their_time_once_it_is_complete(
    servers: embedded.Servers, database: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However an import is cut into batches, its timers fire where they belong; those left over when no more comes."""
    monkeypatch.setattr(due_timers, "_HISTORY_QUIET_MS", 3_000)
    async with world(servers.bootstrap, database, topic_prefix, lanes=1, batch_commands=1) as one:
        one.publish()
        await one.start()
        for n in range(4):  # a timer of a minute, renewed each second: only the last one may fire
            moment = {"ce_backfill": "true", "ce_time": f"2020-01-01T00:00:0{n}Z"}
            await one.send("cus-1", "arm", {"timer": "a", "delay_ms": 60_000}, headers=moment)
            await one.settled()
        assert await _fired(one, "cus-1") == []
        [fired] = await one.until(lambda: _fired(one, "cus-1"), "fired when nothing more came")
        await one.settled()
        assert fired["at_ms"] == 1_577_836_863_000
        assert await _fired(one, "cus-1") == [fired]
        assert one.rows("SELECT * FROM lane_000.timers") == []


async def test_backfill_suppresses_effects_and_fires_timers_at_their_time(one: World) -> None:
    """Imported history keeps its own clock: nothing is performed, and what was due in it happens in it."""
    await one.start()
    old = "2020-01-01T00:00:00Z"
    imported = {"ce_backfill": "true", "ce_time": old}
    await one.send("cus-1", "arm", {"timer": "a", "delay_ms": 1000}, headers=imported)
    await one.send("cus-1", "ask", headers=imported | {"ce_time": "2020-01-01T00:00:05Z"})
    await one.settled()
    [fired] = await _fired(one, "cus-1")
    assert fired["at_ms"] == 1_577_836_801_000
    assert await one.read("effects") == []
    [asked] = [r for r in await one.read("events") if r.header("ce_type") == "journey.effect_requested.v1"]
    assert asked.header("ce_time") == "2020-01-01T00:00:05.000Z"
    assert asked.json["suppressed"] is True
