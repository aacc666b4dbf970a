"""Contacts as the engine decides them: told by the log, decided once, in one lane with the record."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from orchestrator import definitions
from orchestrator.core.events import EffectRequested
from orchestrator.customers import RECORD
from orchestrator.customers.record import shown
from orchestrator.engine.frames import RecordSource
from orchestrator.engine.lane import Committed
from orchestrator.journeys import KINDS
from orchestrator.journeys.flow.events import ActionSkipped
from projections.records import Out
from projections.tellings import told_records
from tests.flow.graphs import document
from tests.support.lanes import START_MS, TOPIC, FakeRecord, Installation, LaneHarness, Request

EXAMPLES = Path(__file__).parents[2] / "examples" / "customers"
MAIL = {"kind": "action", "type": "log", "params": {"message": "hello"}, "contact": "email"}
PROFILE = definitions.load((EXAMPLES / "profile.yaml").read_bytes())
MORNING_MS = START_MS + 5 * 3_600_000  # from 3:40 to 8:40 in Berlin
ONE = PROFILE | {"caps": [{"channel": "any", "per": "1d", "limit": 1}]}


class Table:
    """A lane whose tellings come back to it when the test says so."""

    def __init__(self, harness: LaneHarness) -> None:
        self.harness = harness
        self.underway: list[Out] = []
        self.sent: list[str] = []

    async def send(self, *requests: Request) -> Committed:
        return self._took(await self.harness.handle(*requests))

    async def tell(self, *outs: Out) -> Committed:
        """These messages arrive, in one transaction."""
        records = []
        for out in outs:
            self.harness._offset += 1
            self.harness.now_ms += 5
            place = (self.harness.lane.number, self.harness._offset, self.harness.now_ms)
            records.append(FakeRecord(TOPIC, *place, out.key, out.value, out.headers))
        return self._took(await self.harness.lane.handle(TOPIC, records, raw=False))

    async def settle(self) -> None:
        """Everything arrives, twice."""
        while self.underway:
            outs, self.underway = self.underway, []
            await self.tell(*outs, *outs)

    def _took(self, committed: Committed) -> Committed:
        for recorded in committed.events:
            event = recorded.envelope.data
            if isinstance(event, EffectRequested):
                self.sent.append(recorded.envelope.stream)
            if event.TELLS:
                self.underway += told_records(recorded, 1)
        return committed


@pytest.fixture
async def lanes(database: str) -> AsyncIterator[Installation]:
    flows = [
        (
            "flow",
            f"news-{n}",
            document({"mail": MAIL}, reentry="always", runs_at_once=5) | {"id": f"news-{n}"},
        )
        for n in range(2)
    ]
    night = document(
        {"mail": MAIL | {"quiet_hours": {"from": "21:00", "to": "08:00"}, "zone": "Europe/Berlin"}}
    )
    flows.append(("flow", "night", night | {"id": "night"}))
    points = definitions.load((EXAMPLES / "points.yaml").read_bytes())
    installation = Installation(
        database,
        kinds=KINDS,
        documents=(*flows, ("customer", "profile", ONE), ("points", "ledger", points)),
        lanes=1,
        record=RecordSource(RECORD.name, "profile", shown),
    )
    yield installation
    installation.close()


def text(document: dict[str, Any]) -> str:
    return orjson.dumps(document).decode()


def consent(name: str, *, granted: bool = True) -> Request:
    data = {"channel": "email", "granted": granted}
    return Request(name, "consent", data, definition="customer:profile")


def start(name: str, flow: int) -> Request:
    return Request(name, "start", {}, definition=f"flow:news-{flow}")


async def test_two_flows_that_want_one_contact_send_one_message(lanes: Installation) -> None:
    """They ask in the same transaction and every message comes twice: one is granted, one skipped, none sent twice."""
    table = Table(await lanes.lane())
    await table.send(consent("anna"), start("anna", 0), start("anna", 1))
    assert len(table.underway) == 2
    await table.settle()
    assert table.sent == ["acme/c/anna/flow:news-0"]
    cold = Table(await lanes.lane())
    await cold.send(start("anna", 1))
    await cold.settle()
    assert cold.sent == []


async def test_an_answer_reaches_a_flow_that_is_no_longer_in_memory(lanes: Installation) -> None:
    """Question and contact come from the log: the next owner of the lane uses the grant, once."""
    first = Table(await lanes.lane())
    await first.send(consent("anna"), start("anna", 0))
    second = Table(await lanes.lane())
    await second.tell(*first.underway)
    third = Table(await lanes.lane())
    await third.tell(*second.underway)
    assert third.sent == ["acme/c/anna/flow:news-0"]
    await third.tell(*first.underway, *second.underway)
    assert third.underway == []
    assert len(third.sent) == 1


async def test_a_cap_published_while_nothing_is_said_counts_for_everybody(lanes: Installation) -> None:
    """The flow sees it by the newest document, not by the record's last command."""
    lanes_without = ONE | {"caps": []}
    with lanes.databases.main.transaction() as cursor:
        cursor.execute(
            "UPDATE orchestrator.definitions SET document = %s WHERE kind = 'customer'",
            (text(lanes_without),),
        )
    table = Table(await lanes.lane())
    await table.send(consent("anna"), start("anna", 0))
    assert (table.underway, len(table.sent)) == ([], 1)
    with lanes.databases.main.transaction() as cursor:
        cursor.execute(
            "INSERT INTO orchestrator.definitions (kind, id, version, document, digest) VALUES ('customer', 'profile', 2, %s, '')",
            (text(ONE),),
        )
    later = Table(await lanes.lane())
    await later.send(start("anna", 0))
    await later.settle()
    await later.send(start("anna", 1))
    await later.settle()
    assert later.sent == ["acme/c/anna/flow:news-0"]


async def test_consent_withdrawn_in_the_night_stops_the_message(lanes: Installation) -> None:
    """Given when the run began, withdrawn before the morning: skipped, and the record isn't asked; others get theirs."""
    table = Table(await lanes.lane())
    for name in ("anna", "bob"):
        await table.send(consent(name), Request(name, "start", {}, definition="flow:night"))
    await table.send(consent("anna", granted=False))
    assert table.underway == []
    committed = await table.harness.lane.fire_timers(MORNING_MS)
    assert committed is not None
    events = [recorded.envelope.data for recorded in table._took(committed).events]
    assert [event.reason for event in events if isinstance(event, ActionSkipped)] == ["no_consent"]
    table.harness.now_ms = MORNING_MS
    await table.settle()
    assert table.sent == ["acme/c/bob/flow:night"]


async def test_rules_read_the_balance_of_the_ledger(lanes: Installation) -> None:
    """An award is told to the record; what flows read is the ledger's newest balance."""
    table = Table(await lanes.lane())
    data = {"points": 100, "reason": "welcome"}
    await table.send(consent("anna"), Request("anna", "award", data, definition="points:ledger"))
    await table.send(Request("anna", "redeem", {"points": 30, "reason": "x"}, definition="points:ledger"))
    await table.settle()
    frame = (await lanes.lane()).lane
    await frame.handle(TOPIC, [table.harness._record(consent("anna"))], raw=False)
    record = frame._frames["acme/c/anna/customer:profile"].state
    assert shown(record)["account"]["points_balance"] == 70
