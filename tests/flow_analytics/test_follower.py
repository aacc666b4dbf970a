import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from orchestrator.core.errors import Fenced
from orchestrator.engine import follower as feeding
from orchestrator.engine.database import OperationalError
from orchestrator.engine.store import LaneStore
from projections.flow_analytics import FlowAnalytics
from projections.flow_analytics import follower as following
from tests.flow_analytics.scenes import Shoppers, hand_count, installation, rows, table
from tests.support.lanes import Installation, Request, until
from tests.support.toy import TOY


@pytest.fixture
def shop(database: str) -> Iterator[Installation]:
    made = installation(database)
    yield made
    made.close()


async def caught_up(follower: FlowAnalytics) -> None:
    await until(lambda: follower.lag_events == 0, "counted")


async def test_the_table_is_the_count_made_by_hand(shop: Installation, database: str) -> None:
    """After traffic of every kind, each number of the table is what looking through the log's events says."""
    harness = await shop.lane()
    follower = FlowAnalytics(harness.lane, wait_s=0.01)
    async with harness.following(follower):
        await Shoppers().shop(harness, 120)
        await caught_up(follower)
    expected = await hand_count(harness)
    assert table(database) == expected
    measures = {measure for _, _, _, measure, _ in expected}
    assert measures >= {"entered", "reached", "left", "ended", "branch", "split", "holdout", "split_goal"}
    assert measures >= {"goal", "failed", "effect", "stay"}


async def test_a_follower_that_dies_between_and_within_transactions_counts_once(
    shop: Installation, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut off anywhere, before its commit or after it and unaware, the next one goes on where the database stands."""
    monkeypatch.setattr(following, "_EVENTS_MAX", 40)
    monkeypatch.setattr(feeding, "_READ_EVENTS", 50)
    harness = await shop.lane()
    await Shoppers().shop(harness, 120)
    follow = LaneStore.follow
    calls = 0

    def dies(self: LaneStore, *args: Any) -> None:
        nonlocal calls
        calls += 1
        if calls % 3 == 1:
            raise OperationalError("before the commit")
        follow(self, *args)
        if calls % 3 == 2:
            raise OperationalError("after the commit")

    monkeypatch.setattr(LaneStore, "follow", dies)
    deaths = 0
    while True:
        harness = await shop.lane()
        follower = FlowAnalytics(harness.lane, wait_s=0)
        task = asyncio.create_task(follower.run())
        while not task.done() and (follower.lag_events or not follower._saved):
            await asyncio.sleep(0.005)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, OperationalError):
            await task
        if not follower.lag_events and follower._saved:
            break
        deaths += 1
    assert deaths > 4
    assert table(database) == await hand_count(harness)


async def test_counting_again_from_the_beginning_gives_the_same(shop: Installation, database: str) -> None:
    """The tables are nothing but the log: emptied and counted again, in other cuts, they are the same to the last row."""
    harness = await shop.lane()
    follower = FlowAnalytics(harness.lane, wait_s=0)
    async with harness.following(follower):
        await Shoppers().shop(harness, 80)
        await caught_up(follower)
    tables = ("SELECT * FROM lane_000.flow_counts ORDER BY 1, 2, 3, 4, 5, 6",
              "SELECT * FROM lane_000.flow_open ORDER BY 1")  # fmt: skip
    before = [rows(database, query) for query in tables]
    assert all(before)
    for table_ in ("flow_counts", "flow_open"):
        rows(database, f"DELETE FROM lane_000.{table_}")
    rows(database, "UPDATE lane_000.positions SET at = 0 WHERE name = 'out:flow_analytics'")
    again = FlowAnalytics(harness.lane, wait_s=0)
    async with harness.following(again):
        await until(lambda: again._saved > 0 and again.lag_events == 0, "counted again")
    assert [rows(database, query) for query in tables] == before


async def test_a_former_owners_count_is_refused(shop: Installation, database: str) -> None:
    """Two owners of one lane: the one whose position isn't the database's any more adds nothing."""
    harness, former = await shop.lane(), await shop.lane()
    await harness.handle(Request("cus-1", "start", {}, definition="flow:shopping"))
    former.lane.position = harness.lane.position
    late = FlowAnalytics(former.lane, wait_s=3_600)
    async with former.following(late):
        await until(lambda: late._position == harness.lane.position, "counted in memory")
        own = FlowAnalytics(harness.lane, wait_s=0)
        async with harness.following(own):
            await until(lambda: own._saved > 0 and own.lag_events == 0, "written")
        with pytest.raises(Fenced):
            await late._save()
    assert table(database) == await hand_count(harness)


async def test_memory_stays_bounded_and_cold_streams_are_read_back(
    shop: Installation, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With room for two streams only, what is open of the others comes back from the table, and nothing is miscounted."""
    monkeypatch.setattr(following, "_STREAMS_KEPT", 2)
    monkeypatch.setattr(following, "_EVENTS_MAX", 10)
    harness = await shop.lane()
    follower = FlowAnalytics(harness.lane, wait_s=0)
    async with harness.following(follower):
        await Shoppers(seed=2).shop(harness, 60)
        await caught_up(follower)
        assert len(follower._open) <= 2
    assert table(database) == await hand_count(harness)


async def test_a_lane_without_flows_moves_its_position_all_the_same(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Events of other kinds cost no row; the position follows them now and then, so that little is read again."""
    monkeypatch.setattr(following, "_UNCOUNTED_MAX", 50)
    monkeypatch.setattr(following, "_EVENTS_MAX", 50)
    toys = Installation(database, kinds=(TOY,))
    try:
        harness = await toys.lane()
        follower = FlowAnalytics(harness.lane)
        async with harness.following(follower):
            for n in range(60):
                await harness.handle(Request("cus-1", "add", {"n": n}))
            await until(lambda: follower._saved >= 50, "saved")
            await until(lambda: follower.lag_events == 0, "followed")
        assert rows(database, "SELECT * FROM lane_000.flow_counts") == []
        assert rows(database, "SELECT * FROM lane_000.flow_open") == []
    finally:
        toys.close()
