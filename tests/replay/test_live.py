import asyncio
from pathlib import Path
from typing import Any

from orchestrator import definitions
from orchestrator.journeys import KINDS
from orchestrator.replay import replay
from tests.replay.scenes import caught_up, codes, read_models, verify
from tests.support.lanes import DAY_MS, Installation, Request, until

SHOP = Path(__file__).parents[2] / "examples" / "lifecycle" / "shop.yaml"
_ROWS = "SELECT 1 FROM lane_000.journeys"
CLICKS = ("PRODUCT_VIEWED", "ITEM_ADDED_TO_CART", "ORDER_PLACED", "EMAIL_OPENED", "UNHEARD_OF")


async def test_a_lane_at_work_verifies(database: str) -> None:
    """While events are committed and rows written, a verification sees one moment and finds no difference."""
    installation = Installation(database)
    try:
        harness = await installation.lane()
        followers = read_models(harness, growth_events=4, quiet_ms=1)
        done = asyncio.Event()

        async def work() -> None:
            n = 0
            while not done.is_set():
                n += 1
                await harness.handle(*(Request(f"cus-{(n + i) % 40}", "add", {"n": i}) for i in range(20)))
                await harness.handle(Request(f"cus-{n % 40}", "arm", {"timer": "t", "delay_ms": 2_000}))
                await harness.fire_timers(harness.now_ms)

        async with harness.following(*followers):
            working = asyncio.create_task(work())
            await until(lambda: installation.databases.main.rows(_ROWS), "the first rows are written")
            reports = [await verify(database) for _ in range(8)]
            done.set()
            await working
            await caught_up(*followers)
    finally:
        installation.close()
    assert [report.differences for report in reports] == [[]] * 8
    assert reports[-1].events > reports[0].events
    assert sum(report.journeys_compared for report in reports) > 0


async def test_lifecycle_journeys_verify(database: str) -> None:
    """Journeys of the shop's definition, with their inactivity timers and effects, are what the log says."""
    document = definitions.load(SHOP.read_bytes())
    installation = Installation(database, kinds=KINDS, documents=(("lifecycle", "shop", document),), lanes=1)
    try:
        harness = await installation.lane()
        followers = read_models(harness)
        async with harness.following(*followers):
            for n in range(60):
                await harness.handle(*(_click(n, i) for i in range(8)))
            await harness.fire_timers(harness.now_ms + 31 * DAY_MS)
            await harness.handle(*(_click(3, i) for i in range(8)))
            await caught_up(*followers)
        report = await replay(installation.settings, verify=True)
        _set_labels(installation)
        spoiled = await replay(installation.settings, verify=True)
    finally:
        installation.close()
    assert report.differences == []
    assert report.journeys_compared == 8
    assert report.timers > 0
    assert codes(spoiled) == {"journeys.label"}


def _click(n: int, customer: int) -> Request:
    data: dict[str, Any] = {"type": CLICKS[(n + customer) % len(CLICKS)], "payload": {"price": n}}
    return Request(f"shopper-{customer}", "event", data, definition="lifecycle:shop")


def _set_labels(installation: Installation) -> None:
    with installation.databases.main.transaction() as cursor:
        cursor.execute("UPDATE lane_000.journeys SET label = 'NOWHERE'")
