"""Lanes that commit in one transaction, on a real database: all or none, and nobody pays for another's fence."""

import asyncio
from collections.abc import Iterator

import pytest

from orchestrator.core.errors import Fenced
from orchestrator.engine import group_commit
from orchestrator.engine.database import PersistenceError
from orchestrator.engine.group_commit import GroupCommit, commit_together
from orchestrator.engine.positions import IN, LOG
from orchestrator.engine.store import Append, LaneStore, Move
from tests.support.lanes import TOPIC, Installation, LaneHarness, Request


@pytest.fixture
def installation(database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installation]:
    monkeypatch.setattr(group_commit, "_WAIT_S", 60.0)  # however busy the machine is, they come together
    made = Installation(database, lanes=3)
    yield made
    made.close()


async def _lanes(installation: Installation) -> tuple[list[LaneHarness], GroupCommit]:
    group = GroupCommit(installation.in_thread)
    return [await installation.lane(n, group=group) for n in range(3)], group


async def test_lanes_commit_in_one_transaction(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What three lanes decided at the same time is one transaction, and each has its events and its position."""
    sizes: list[int] = []

    def counting(group: list[tuple[LaneStore, Append]]) -> None:
        sizes.append(len(group))
        commit_together(group)

    monkeypatch.setattr(group_commit, "commit_together", counting)
    lanes, group = await _lanes(installation)
    for n in range(3):
        group.expect(n)
    committed = await asyncio.gather(*(h.handle(Request(h.customers(1)[0], "ask")) for h in lanes))
    assert sizes == [3]
    for harness, one in zip(lanes, committed, strict=True):
        stored = harness.store.read_log(0, 100)
        assert [row.position for row in stored] == [e.position for e in one.events]
        assert harness.store.positions()[LOG].at == len(stored) > 0


async def test_a_fenced_lane_takes_nobody_with_it(installation: Installation) -> None:
    """When one of the lanes was taken over, it alone is fenced; the others' commands are decided, once."""
    lanes, group = await _lanes(installation)
    stale = lanes[1]
    heir = await installation.lane(1)
    await heir.handle(Request(heir.customers(1)[0], "ask"))
    before = stale.store.positions()
    for n in range(3):
        group.expect(n)
    found = await asyncio.gather(
        *(h.handle(Request(h.customers(1)[0], "ask", id="both")) for h in lanes), return_exceptions=True
    )
    assert isinstance(found[1], Fenced)
    assert stale.store.positions() == before
    for harness in (lanes[0], lanes[2]):
        versions = [(row.stream_id, row.version) for row in harness.store.read_log(0, 100)]
        assert len(versions) == len(set(versions)) > 0


def test_a_shared_transaction_is_all_or_none(installation: Installation) -> None:
    """A shared statement of which one part is fenced leaves no trace of the other."""
    first, second = (LaneStore(installation.databases.of_lane(n), n) for n in range(2))
    good, fenced = Append([Move(IN + TOPIC, -1, 5)]), Append([Move(IN + TOPIC, 3, 9)])
    with pytest.raises(PersistenceError):
        commit_together([(first, good), (second, fenced)])
    assert first.positions()[IN + TOPIC].at == -1
    commit_together([(first, good), (second, Append([Move(IN + TOPIC, -1, 9)]))])
    assert [s.positions()[IN + TOPIC].at for s in (first, second)] == [5, 9]
