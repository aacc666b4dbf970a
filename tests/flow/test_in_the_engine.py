"""A flow as the engine decides it: which version counts, and what of the customer's record it sees."""

from pathlib import Path
from typing import Any

from orchestrator import definitions
from orchestrator.core.addresses import Stream, customer
from orchestrator.core.events import EffectRequested, JourneyStarted
from orchestrator.core.messages import Command
from orchestrator.customers import RECORD
from orchestrator.customers.record import shown
from orchestrator.engine.frame import Frame
from orchestrator.engine.frames import RecordSource
from orchestrator.engine.lane import Committed
from orchestrator.journeys import KINDS
from orchestrator.journeys.flow import FLOW
from tests.flow.graphs import LOG, document
from tests.flow.world import definition
from tests.support.lanes import Installation, Request
from tests.support.memory import NOW_MS, Engine, Published, same

ANNA = customer("acme", "anna")
STREAM = Stream(ANNA, "flow", "test")
PROFILE = Path(__file__).parents[2] / "examples" / "customers" / "profile.yaml"


def test_a_run_after_the_last_one_ended_takes_the_newest_version() -> None:
    """While a run is active its version counts, for new runs as well; the end of the last one lets the stream go."""
    wait = {"kind": "wait", "event": {"type": "GO"}}
    flow = document({"wait": wait}, events=["GO"], reentry="always")
    published = Published(definition(flow, version=1))
    engine, frame = Engine(FLOW, published), Frame(STREAM, FLOW)

    def send(number: int, type: str, data: dict[str, Any]) -> list[int]:
        batch = engine.batch(NOW_MS + number)
        batch.decide(frame, Command("tests", f"k{number}", type, ANNA, STREAM, data))
        events = engine.commit(batch)
        same(engine.rebuilt(STREAM), frame)
        return [
            e.envelope.data.definition_version for e in events if isinstance(e.envelope.data, JourneyStarted)
        ]

    assert send(1, "start", {}) == [1]
    published.publish(definition(flow, version=2))
    assert send(2, "start", {}) == []
    assert frame.definition_version == 1
    send(3, "event", {"type": "GO"})
    assert frame.definition_version == 0
    assert send(4, "start", {}) == [2]


async def test_a_flow_reads_the_record_as_it_stands_in_the_batch(database: str) -> None:
    """What the customer said a moment ago, in the same batch, is what the message says; cold or warm makes no difference."""
    hello = LOG | {"params": {"message": {"cat": ["Hi ", {"var": "customer.tier"}]}}}
    flow = document({"hello": hello}, reentry="always")
    profile = definitions.load(PROFILE.read_bytes())
    installation = Installation(
        database,
        kinds=KINDS,
        documents=(("flow", "test", flow), ("customer", "profile", profile)),
        lanes=1,
        record=RecordSource(RECORD.name, "profile", shown),
    )

    def said(committed: Committed) -> list[Any]:
        data = (e.envelope.data for e in committed.events)
        return [d.params["message"] for d in data if isinstance(d, EffectRequested)]

    def identify(name: str, tier: str) -> Request:
        return Request(name, "identify", {"attributes": {"tier": tier}}, definition="customer:profile")

    def start(name: str) -> Request:
        return Request(name, "start", {}, definition="flow:test")

    try:
        warm = await installation.lane()
        assert said(await warm.handle(identify("anna", "gold"), start("anna"))) == ["Hi gold"]
        await warm.handle(identify("bob", "silver"))
        cold = await installation.lane()
        assert said(await cold.handle(start("bob"))) == ["Hi silver"]
    finally:
        installation.close()
