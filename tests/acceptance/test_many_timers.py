"""Timers by the thousand, under a database clock that jumps; each fires once, never before its time."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import orjson
import psycopg
import pytest
from psycopg.rows import dict_row

from orchestrator import embedded
from orchestrator.engine.store import LaneStore, TimerRow
from tests.support.clock import Clock
from tests.support.world import World, world

HOUR_MS = 3_600_000
FIRED = "engine/timers"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def small_batches(monkeypatch: pytest.MonkeyPatch, timers: int) -> None:
    """Lanes get no more than so many due timers at a time."""
    real = LaneStore.due_timers

    def few(store: LaneStore, now_ms: int, limit: int, *, history: bool) -> list[TimerRow]:
        return real(store, now_ms, min(limit, timers), history=history)

    monkeypatch.setattr(LaneStore, "due_timers", few)


async def send_all(one: World, commands: Sequence[tuple[str, str, dict[str, Any]]], tag: str) -> None:
    """Publish (customer, type, data) without waiting for each."""
    sent = [
        await one.producer.send(
            one.settings.topic("commands"),
            orjson.dumps(data),
            key=one.owner(customer).encode(),
            headers=list(one.headers(customer, kind, f"{tag}-{customer}").items()),
            partition=one.lane(customer),
        )
        for customer, kind, data in commands
    ]
    await asyncio.gather(*sent)


def log_of(one: World) -> dict[str, list[dict[str, Any]]]:
    """Envelopes by customer, in order."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for number in range(one.settings.lanes):
        query = f"SELECT state FROM lane_{number:03d}.stored_events ORDER BY notification_id"
        for row in one.rows(query):
            envelope = orjson.loads(bytes(row["state"]))
            if envelope["stream"].endswith("/toy:t"):
                found[envelope["stream"].split("/")[2]].append(envelope)
    return found


def armed(one: World) -> int:
    lanes = range(one.settings.lanes)
    return sum(one.rows(f"SELECT count(*) AS n FROM lane_{n:03d}.timers")[0]["n"] for n in lanes)


def check_fired(log: dict[str, list[dict[str, Any]]], customers: Sequence[str], times: int) -> None:
    """Each customer's timer fired so often, and not before it was due by lane time."""
    for customer in customers:
        fired = [e for e in log[customer] if e["source"] == FIRED]
        assert len(fired) == times, customer
        due = [e["data"]["due_ms"] for e in log[customer] if "due_ms" in e["data"]]
        assert all(event["at_ms"] >= due[-1] for event in fired), customer


async def test_a_clock_that_jumps_an_hour_either_way_loses_nothing_and_fires_nothing_early(
    one: World, clock: Clock
) -> None:
    """Ahead: what is due by it fires. Back: lane time stands still, what is armed then waits its whole span."""
    await one.start()
    soon, later, after = ([f"{name}-{n}" for n in range(50)] for name in ("soon", "later", "after"))
    arm = "arm"
    await send_all(one, [(c, arm, {"timer": "a", "delay_ms": HOUR_MS // 2}) for c in soon], "arm")
    await send_all(one, [(c, arm, {"timer": "a", "delay_ms": 2 * HOUR_MS}) for c in later], "arm")
    await one.settled()
    assert armed(one) == 100
    clock.ahead_ms = HOUR_MS
    await one.until(lambda: armed(one) == 50, "those due by the clock fired")
    lane_ms = min(r.lane.log.lane_ms for r in one.runners)
    clock.ahead_ms = 0
    await send_all(one, [(c, arm, {"timer": "a", "delay_ms": 1_000}) for c in after], "arm")
    await one.settled()
    assert min(r.lane.log.lane_ms for r in one.runners) >= lane_ms, "lane time never goes back"
    await one.handled()
    log = log_of(one)
    check_fired(log, soon, 1)
    check_fired(log, [*later], 0)
    clock.ahead_ms = 3 * HOUR_MS
    await one.until(lambda: armed(one) == 0, "all fired")
    await one.settled()
    log = log_of(one)
    check_fired(log, [*soon, *later, *after], 1)
    outcomes = [o["stream"] for o in await one.outcomes() if o["source"] == FIRED]
    assert len(outcomes) == len(set(outcomes)) == 150


async def test_a_clock_set_back_an_hour_fires_nothing_early(one: World, clock: Clock) -> None:
    """While the clock is behind, timers wait; they fire when it says so, once, and commands go on meanwhile."""
    await one.start()
    clock.ahead_ms = -HOUR_MS
    customers = [f"cus-{n}" for n in range(100)]
    await send_all(one, [(c, "arm", {"timer": "a", "delay_ms": HOUR_MS // 4}) for c in customers], "arm")
    await one.settled()
    [due] = {
        tuple(sorted(e["data"]["due_ms"] for events in log_of(one).values() for e in events if "due_ms" in e["data"]))
    }  # fmt: skip
    await send_all(one, [(c, "add", {"n": 1}) for c in customers], "add")
    await one.settled()
    assert armed(one) == 100
    assert max(r.lane.log.lane_ms for r in one.runners) < due[0]
    clock.ahead_ms = HOUR_MS
    await one.until(lambda: armed(one) == 0, "fired")
    await one.settled()
    check_fired(log_of(one), customers, 1)


async def test_an_hour_of_downtime_fires_each_once_after_the_backlog(
    servers: embedded.Servers, database: str, topic_prefix: str, clock: Clock
) -> None:
    """What became due while nobody worked fires once, earliest first; what was cancelled in the backlog never does."""
    async with world(servers.bootstrap, database, topic_prefix, batch_commands=20) as one:
        one.publish()
        await _down_for_an_hour(one, clock)


async def _down_for_an_hour(one: World, clock: Clock) -> None:
    await one.start()
    customers = [f"cus-{n}" for n in range(1_500)]
    cancelled, kept = customers[::3], [c for n, c in enumerate(customers) if n % 3]
    commands = [
        (c, "arm", {"timer": "a", "delay_ms": 60_000 + (n * 7_919) % (HOUR_MS - 120_000)})
        for n, c in enumerate(customers)
    ]
    await send_all(one, commands, "arm")
    await one.settled()
    await one.stop()
    assert armed(one) == 1_500
    clock.ahead_ms = HOUR_MS
    await send_all(one, [(c, "disarm", {"timer": "a"}) for c in cancelled], "disarm")
    await one.start()
    await one.until(lambda: armed(one) == 0, "all fired")
    await one.settled()
    log = log_of(one)
    check_fired(log, kept, 1)
    check_fired(log, cancelled, 0)
    for number in range(one.settings.lanes):
        query = f"SELECT state FROM lane_{number:03d}.stored_events ORDER BY notification_id"
        fired = [e for r in one.rows(query) if (e := orjson.loads(bytes(r["state"])))["source"] == FIRED]
        due = {c: e["data"]["due_ms"] for c, events in log.items() for e in events if "due_ms" in e["data"]}
        order = [due[e["stream"].split("/")[2]] for e in fired]
        assert order == sorted(order)


async def test_a_worker_stopped_in_the_middle_of_firing_goes_on_where_it_was(
    one: World, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thousands due at once, their worker ended again and again between and within its batches: each fires once."""
    small_batches(monkeypatch, 20)
    await one.start()
    customers = [f"cus-{n}" for n in range(1_600)]
    await send_all(one, [(c, "arm", {"timer": "a", "delay_ms": HOUR_MS // 2}) for c in customers], "arm")
    await one.settled()
    clock.ahead_ms = HOUR_MS
    left, stops = armed(one), 0
    while left:
        one.begin() if one.worker is None else None
        await one.until(lambda now=left: armed(one) <= max(0, now - 400), "some more fired")
        await one.stop()
        left, stops = armed(one), stops + 1
    assert stops >= 4
    await one.start()
    await one.settled()
    check_fired(log_of(one), customers, 1)


async def test_cancelling_is_exact(one: World, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cancellation that comes first leaves the timer nothing to do; one that comes second changes nothing."""
    small_batches(monkeypatch, 5)
    await one.start()
    customers = [f"cus-{n}" for n in range(2_000)]
    await send_all(one, [(c, "arm", {"timer": "a", "delay_ms": HOUR_MS // 2}) for c in customers], "arm")
    await one.settled()
    await send_all(one, [(c, "disarm", {"timer": "a"}) for c in customers[:500]], "disarm")
    await one.settled()
    clock.ahead_ms = HOUR_MS
    await one.until(lambda: armed(one) < 1_500, "the first have fired")
    await send_all(one, [(c, "disarm", {"timer": "a"}) for c in reversed(customers[500:])], "disarm")
    await one.until(lambda: armed(one) == 0, "every timer is fired or cancelled")
    await one.settled()
    log = log_of(one)
    fired_first = 0
    for customer in customers:
        kinds = ["fired" if e["source"] == FIRED else e["type"] for e in log[customer] if not e.get("index")]
        assert kinds in (["arm", "disarm"], ["arm", "fired", "disarm"]), customer
        fired_first += "fired" in kinds
    assert 0 < fired_first < 1_500, "there was no race"


async def test_a_lane_never_asks_for_more_timers_than_a_batch_has(
    one: World, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever number is pending or due, a bounded window of them is in memory: the rest are rows."""
    asked: list[tuple[int, int]] = []
    real = LaneStore.due_timers

    def spied(store: LaneStore, now_ms: int, limit: int, *, history: bool) -> Any:
        rows = real(store, now_ms, limit, history=history)
        asked.append((limit, len(rows)))
        return rows

    monkeypatch.setattr(LaneStore, "due_timers", spied)
    await one.start()
    with psycopg.connect(one.settings.database_url, row_factory=dict_row) as connection:
        connection.execute(
            "INSERT INTO lane_000.timers (stream_id, timer, armed_at, due_ms, stream)"
            " SELECT gen_random_uuid(), 'a', 1, 9000000000000 + n, 'acme/c/nobody-' || n || '/toy:t'"
            " FROM generate_series(1, 50000) AS n"
        )
    customers = [f"cus-{n}" for n in range(1_200)]
    await send_all(one, [(c, "arm", {"timer": "a", "delay_ms": HOUR_MS // 2}) for c in customers], "arm")
    await one.settled()
    clock.ahead_ms = HOUR_MS
    await one.until(lambda: armed(one) == 50_000, "those that are due fired")
    await one.settled()
    check_fired(log_of(one), customers, 1)
    assert asked
    assert max(limit for limit, _ in asked) <= 500
    assert sum(rows for _, rows in asked) < 1_300, "rows were read that weren't due"
