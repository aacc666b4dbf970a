"""Which customers' records a lane keeps in memory: those that decisions look at, found out by the first look."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator import definitions
from orchestrator.core.events import EffectRequested
from orchestrator.customers import RECORD
from orchestrator.customers.record import shown
from orchestrator.engine.frames import RecordSource
from orchestrator.engine.lane import Committed
from orchestrator.engine.unread import UNREAD, RecordNeeded
from orchestrator.journeys import KINDS
from tests.flow.graphs import LOG, document
from tests.support.lanes import Installation, LaneHarness, Request

PROFILE = Path(__file__).parents[2] / "examples" / "customers" / "profile.yaml"
HELLO = LOG | {"params": {"message": {"cat": ["Hi ", {"var": "customer.tier"}]}}}
LATER = {"pause": {"kind": "wait", "for": "1h"}, "hello": HELLO}
NAMES = ("anna", "bob", "cleo")


@pytest.fixture
def installation(database: str) -> Iterator[Installation]:
    documents: Any = (
        ("flow", "plain", document({"hello": LOG | {"params": {"message": "Hi"}}}) | {"id": "plain"}),
        ("flow", "greets", document({"hello": HELLO}) | {"id": "greets"}),
        ("flow", "later", document(LATER) | {"id": "later"}),
        ("customer", "profile", definitions.load(PROFILE.read_bytes())),
    )
    made = Installation(
        database, kinds=KINDS, documents=documents, record=RecordSource(RECORD.name, "profile", shown)
    )
    yield made
    made.close()


def said(committed: Committed | None) -> list[Any]:
    assert committed is not None
    data = (e.envelope.data for e in committed.events)
    return [d.params["message"] for d in data if isinstance(d, EffectRequested)]


def starts(flow: str, *names: str) -> list[Request]:
    return [Request(name, "start", {}, definition=f"flow:{flow}") for name in names]


def records(harness: LaneHarness) -> list[str]:
    """The customers whose records are in memory."""
    return sorted(t.split("/")[2] for t in harness.lane._frames._frames if "/customer:" in t)


async def known(installation: Installation) -> None:
    """Every customer has a record."""
    harness = await installation.lane()
    await harness.handle(
        *(
            Request(n, "identify", {"attributes": {"tier": f"{n} gold"}}, definition="customer:profile")
            for n in NAMES
        )
    )


async def test_a_flow_that_reads_no_record_brings_none(installation: Installation) -> None:
    """A customer's journey is one stream in memory, not two, where no rule asks for more."""
    await known(installation)
    harness = await installation.lane()
    assert said(await harness.handle(*starts("plain", *NAMES))) == ["Hi"] * 3
    assert records(harness) == []


async def test_the_first_that_reads_brings_those_of_its_batch(installation: Installation) -> None:
    """Each gets its own record; later ones come along at once, and a flow that reads nothing still brings none."""
    await known(installation)
    harness = await installation.lane()
    assert said(await harness.handle(*starts("greets", "anna", "bob"))) == ["Hi anna gold", "Hi bob gold"]
    assert records(harness) == ["anna", "bob"]
    await harness.handle(*starts("plain", "cleo"))
    assert records(harness) == ["anna", "bob"]
    assert said(await harness.handle(*starts("greets", "cleo"))) == ["Hi cleo gold"]


async def test_a_timer_reads_the_record_too(installation: Installation) -> None:
    """The start doesn't read it, what follows the wait does: once each, by each one's own record."""
    await known(installation)
    harness = await installation.lane()
    await harness.handle(*starts("later", *NAMES))
    assert records(harness) == []
    fired = await harness.lane.fire_timers(harness.now_ms + 3_600_000)
    assert sorted(said(fired)) == [f"Hi {name} gold" for name in NAMES]
    await harness.lane.find_next_due()
    assert await harness.lane.fire_timers(harness.now_ms + 3_600_000) is None


@pytest.mark.parametrize(
    "look", [lambda r: r["zone"], lambda r: r.get("zone"), len, bool, list, lambda r: "a" in r, dict]
)
def test_every_look_is_noticed(look: Any) -> None:
    """Nothing of a record that isn't there can be taken for an empty one."""
    with pytest.raises(RecordNeeded):
        look(UNREAD)
