from collections.abc import Iterator

import pytest

from orchestrator.embedded import Servers
from orchestrator.journeys import KINDS
from orchestrator.replay import Report, replay
from orchestrator.settings import Settings
from projections.flow_analytics import FlowAnalytics
from tests.flow_analytics.scenes import Shoppers, hand_count, installation, rows, table
from tests.replay.scenes import caught_up, codes, read_models
from tests.support.lanes import Installation


@pytest.fixture
def shop(database: str) -> Iterator[Installation]:
    made = installation(database)
    yield made
    made.close()


async def play(shop: Installation, batches: int = 60) -> FlowAnalytics:
    """Traffic, with every read model caught up."""
    harness = await shop.lane()
    follower = FlowAnalytics(harness.lane, wait_s=0)
    others = read_models(harness)
    async with harness.following(follower, *others):
        await Shoppers().shop(harness, batches)
        await caught_up(follower, *others)
    return follower


async def again(dsn: str, bootstrap: str = "127.0.0.1:1", **mode: bool) -> Report:
    settings = Settings(database_url=dsn, kafka_bootstrap_servers=bootstrap, consumer_group="nobody")
    return await replay(settings, kinds=KINDS, **{"verify": False, **mode})


async def test_verifying_finds_no_difference_in_sound_counts(shop: Installation, database: str) -> None:
    """Counts and what is open agree with the log, also where the follower is behind it."""
    await play(shop)
    harness = await shop.lane()
    await Shoppers(seed=5).shop(harness, 5)
    report = await again(database, verify=True)
    assert report.differences == []


@pytest.mark.parametrize(
    ("damage", "code"),
    [
        ("UPDATE lane_000.flow_counts SET n = n + 1 WHERE node = 'draw' AND measure = 'left'", "flow_counts.wrong"),
        ("DELETE FROM lane_000.flow_counts WHERE measure = 'entered'", "flow_counts.wrong"),
        ("INSERT INTO lane_000.flow_counts VALUES ('shopping', 1, 0, '', 'entered', 'ghost', 1)", "flow_counts.wrong"),
        ("UPDATE lane_000.flow_open SET state = '[{},{}]'", "flow_open.wrong"),
        ("DELETE FROM lane_000.flow_open", "flow_open.wrong"),
        ("INSERT INTO lane_000.flow_open VALUES (gen_random_uuid(), '[{},{}]')", "flow_open.extra"),
    ],
    ids=["more", "missing", "extra", "open-wrong", "open-missing", "open-extra"],
)  # fmt: skip
async def test_damage_is_found_and_a_rebuild_cures_it(
    shop: Installation, database: str, servers: Servers, damage: str, code: str
) -> None:
    """A number that isn't the log's is named; written anew from the log, the tables are as the follower had them."""
    await play(shop, 30)
    everything = "SELECT * FROM lane_000.flow_open ORDER BY 1"
    counts, open = table(database), rows(database, everything)
    rows(database, damage)
    report = await again(database, verify=True)
    assert codes(report) == {code}
    assert "replay --rebuild" in report.differences[0].cure
    assert (await again(database, servers.bootstrap, rebuild=True)).ok
    assert (table(database), rows(database, everything)) == (counts, open)
    assert (await again(database, verify=True)).ok


async def test_counting_goes_on_after_a_rebuild(shop: Installation, database: str, servers: Servers) -> None:
    """A rebuild leaves the position where the log ended: what comes then is added, nothing twice."""
    await play(shop, 20)
    rows(database, "UPDATE lane_000.positions SET at = 5 WHERE name = 'out:flow_analytics'")
    assert (await again(database, servers.bootstrap, rebuild=True)).ok
    harness = await shop.lane()
    follower = FlowAnalytics(harness.lane, wait_s=0)
    async with harness.following(follower):
        await Shoppers(seed=9).shop(harness, 20)
        await caught_up(follower)
    assert table(database) == await hand_count(harness)
