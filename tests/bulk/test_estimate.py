"""The estimate reads every record, or a sample, through the engine's own eyes: sealed attributes included."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator import definitions, estimating
from orchestrator.customers import RECORD
from orchestrator.estimating import Estimate, estimate
from tests.flow.graphs import LOG, document
from tests.flow.world import definition
from tests.support.lanes import Installation, LaneHarness, Request

PROFILE = definitions.read(
    (Path(__file__).parents[2] / "examples" / "customers" / "profile.yaml").read_bytes()
).value
LANES = 2
EACH = 20
ANNAS = {"==": [{"var": "customer.first_name"}, "Anna"]}


@pytest.fixture
async def owners(database: str) -> AsyncIterator[list[LaneHarness]]:
    """Every second customer is called Anna; one in each lane was forgotten. No row was written yet but for the read."""
    installation = Installation(
        database, lanes=LANES, kinds=(RECORD,), documents=(("customer", "profile", PROFILE),)
    )
    made = [await installation.lane(n) for n in range(LANES)]
    for owner in made:
        names = owner.customers(EACH)
        requests = [
            Request(
                name,
                "identify",
                {"attributes": {"first_name": "Anna" if n % 2 else "Bob", "email": f"{name}@example.com"}},
                definition="customer:profile",
            )
            for n, name in enumerate(names)
        ]
        await owner.handle(*requests)
        await owner.handle(Request(names[0], "forget", {}, definition="customer:profile"))
        captures = await owner.lane.committed_captures([owner_stream(owner, name) for name in names])
        await save(owner, captures)
    yield made
    installation.close()


def owner_stream(owner: LaneHarness, name: str) -> Any:
    from orchestrator.core.addresses import parse_stream

    return parse_stream(f"{owner.owner_of(name)}/customer:profile")


async def save(owner: LaneHarness, captures: list[Any]) -> None:
    """Write rows as the projection does."""
    from projections.journeys import Dirty, _row, _snapshot

    dirty = [Dirty(c, len(c.frame.keys.packed), 1, 0.0) for c in captures]
    sealed = await owner.lane.seal_snapshots([_snapshot(d.capture) for d in dirty])
    rows = [_row(d, stored) for d, stored in zip(dirty, sealed, strict=True)]
    await owner.lane.run(owner.store.save_journeys, None, rows)


async def found(owners: list[LaneHarness], sample: int = 0, organization: str = "acme") -> Estimate:
    flow = definition(
        document({"act": LOG}, entry=[{"event": "ORDER", "when": ANNAS}, {"manual": True}], events=["ORDER"])
    )
    lanes = [(owner.store, owner.lane) for owner in owners]
    return await estimate(flow, lanes, organization=organization, record="profile", sample=sample)


async def test_every_record_is_judged_once(
    owners: list[LaneHarness], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counts are exact over all lanes and pages; forgotten customers enter nothing."""
    monkeypatch.setattr(estimating, "_PAGE", 7)
    one = await found(owners)
    assert (one.records, one.looked_at, one.forgotten) == (LANES * EACH, LANES * EACH, LANES)
    annas, by_hand = one.entries
    assert (annas["customers"], annas["at_least"], annas["at_most"]) == (LANES * EACH // 2,) * 3
    assert by_hand["customers"] == LANES * (EACH - 1) == one.any["customers"]
    assert annas["not_judged"] == ["to whom ORDER happens"]


async def test_a_sample_tells_an_interval(owners: list[LaneHarness]) -> None:
    """As many records as asked are looked at, and the truth lies between the bounds."""
    one = await found(owners, sample=15)
    assert (one.records, one.looked_at) == (LANES * EACH, 15)
    annas = one.entries[0]
    assert annas["at_least"] <= annas["customers"] <= annas["at_most"]
    assert annas["at_least"] < LANES * EACH // 2 < annas["at_most"]
    assert (await found(owners, sample=15)).entries == one.entries


async def test_an_organization_without_records_has_no_audience(owners: list[LaneHarness]) -> None:
    """Nobody else's customers are counted."""
    one = await found(owners, organization="other")
    assert (one.records, one.looked_at, one.any["customers"]) == (0, 0, 0)


async def test_no_personal_value_is_told(owners: list[LaneHarness]) -> None:
    """The answer holds counts and paths alone."""
    told = str(await found(owners))
    assert "@" not in told
    assert "Anna" not in told
