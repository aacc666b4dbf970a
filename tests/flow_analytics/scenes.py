"""Customers going through a flow with everything in it, on one lane of a real database."""

import random
from collections import Counter, defaultdict
from typing import Any

import psycopg
from psycopg.rows import dict_row

from orchestrator.core.events import EffectRequested, Event
from orchestrator.engine.lane import Committed
from orchestrator.journeys import KINDS
from tests.flow_analytics.by_hand import Count, by_hand
from tests.support.lanes import Installation, LaneHarness, Request

HOUR_MS = 3_600_000
FLOW: dict[str, Any] = {
    "kind": "flow",
    "id": "shopping",
    "events": ["GO", "BUY", "QUIT", "VISIT"],
    "entry": [{"manual": True}, {"event": "VISIT"}],
    "reentry": "always",
    "runs_at_once": 3,
    "goals": [{"id": "bought", "event": "BUY", "within": "7d"}],
    "exit": [{"event": "QUIT", "reason": "left"}],
    "nodes": {
        "begin": {"kind": "start"},
        "draw": {
            "kind": "split",
            "branches": [
                {"id": "a", "weight": 35},
                {"id": "b", "weight": 40},
                {"id": "none", "weight": 25, "holdout": True},
            ],
        },
        "call": {
            "kind": "action",
            "type": "log",
            "params": {"message": "x"},
            "retry": {"attempts": 2, "initial": "1m"},
        },
        "patience": {"kind": "wait", "event": {"type": "GO"}, "timeout": "1h", "max_visits": 2},
        "sorry": {"kind": "end", "result": "sorry"},
        "done": {"kind": "end", "result": "done"},
    },
    "edges": [
        {"from": "begin", "to": "draw"},
        {"from": "draw", "to": "call", "branch": "a"},
        {"from": "draw", "to": "patience", "branch": "b"},
        {"from": "draw", "to": "done", "branch": "none"},
        {"from": "call", "to": "patience"},
        {"from": "call", "to": "sorry", "branch": "failure"},
        {"from": "patience", "to": "done"},
        {"from": "patience", "to": "patience", "branch": "timeout"},
        {"from": "patience", "to": "sorry", "branch": "exhausted"},
    ],
}
DOCUMENTS = (("flow", "shopping", FLOW), ("toy", "t", {}))


def installation(dsn: str) -> Installation:
    return Installation(dsn, kinds=KINDS, documents=DOCUMENTS[:1])


class Shoppers:
    """The same traffic for the same seed."""

    def __init__(self, seed: int = 1, customers: int = 12) -> None:
        self._random = random.Random(seed)
        self._customers = [f"cus-{n}" for n in range(customers)]
        self._asked: list[tuple[str, str, int]] = []

    async def shop(self, harness: LaneHarness, batches: int) -> None:
        """So many transactions, time passing between them."""
        for _ in range(batches):
            requests = [self._request() for _ in range(self._random.randint(1, 8))]
            self._hear(await harness.handle(*requests))
            if self._random.random() < 0.3:
                await self.wait(
                    harness, self._random.choice([1_000, 60_000, 50 * 60_000, 3 * HOUR_MS, 9 * HOUR_MS])
                )

    async def wait(self, harness: LaneHarness, ms: int) -> None:
        """Time passes and timers fire."""
        until_ms = harness.now_ms + ms
        while harness.lane.next_due_ms is not None and harness.lane.next_due_ms <= until_ms:
            now_ms = max(harness.now_ms, harness.lane.next_due_ms)
            before = harness.lane.position
            await harness.fire_timers(now_ms)
            events = await harness.lane.read_log(before, 10_000)
            self._hear(Committed(events, (), ()))
        harness.now_ms = until_ms

    def _request(self) -> Request:
        draw = self._random
        name = draw.choice(self._customers)
        if self._asked and draw.random() < 0.4:
            customer, effect, attempt = self._asked.pop(draw.randrange(len(self._asked)))
            answer: dict[str, Any] = {"effect": effect, "attempt": attempt}
            if draw.random() < 0.6:
                return Request(customer, "effect.succeeded", answer, definition="flow:shopping")
            answer |= {"error": draw.choice(["gone", "status_503"]), "retryable": draw.random() < 0.5}
            return Request(customer, "effect.failed", answer, definition="flow:shopping")
        if draw.random() < 0.3:
            return Request(name, "start", {}, definition="flow:shopping")
        heard = draw.choice(["GO", "GO", "BUY", "VISIT", "QUIT"])
        return Request(name, "event", {"type": heard}, definition="flow:shopping")

    def _hear(self, committed: Committed) -> None:
        for one in committed.events:
            event = one.envelope.data
            if isinstance(event, EffectRequested):
                customer = one.envelope.stream.split("/")[2]
                self._asked.append((customer, event.effect, event.attempt))


async def hand_count(harness: LaneHarness) -> Count:
    """The whole log of the lane, counted by hand."""
    streams: dict[str, list[Event]] = defaultdict(list)
    position = 0
    while events := await harness.lane.read_log(position, 2_000):
        for one in events:
            streams[one.envelope.stream].append(one.envelope.data)
        position = events[-1].position
    total: Count = Counter()
    for events_of_one in streams.values():
        total.update(by_hand(events_of_one))
    return total


def table(dsn: str, lane: int = 0) -> Count:
    """What the table says."""
    found: Count = Counter()
    for row in rows(dsn, f"SELECT * FROM lane_{lane:03d}.flow_counts"):
        assert row["definition"] == "shopping"
        found[(row["version"], row["day"], row["node"], row["measure"], row["key"])] = row["n"]
    return found


def rows(dsn: str, query: str, *parameters: Any) -> list[dict[str, Any]]:
    with psycopg.connect(dsn, row_factory=dict_row) as connection:
        cursor = connection.execute(query.encode(), parameters)
        return cursor.fetchall() if cursor.description else []
