"""The compare-and-set of positions, and what an owner forgets when it meets it: on a real database, without a broker."""

import asyncio
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import KafkaError
from confluent_kafka.admin import NewTopic  # type: ignore[attr-defined]

from consumers.commands.lane_runner import LaneRunner
from orchestrator import embedded
from orchestrator.core.errors import Fenced, LaneStopped
from orchestrator.core.lane_events import BatchNoted
from orchestrator.engine import store as store_module
from orchestrator.engine.lane import Lane
from orchestrator.engine.positions import IN
from orchestrator.engine.schema import LANE_FUNCTIONS
from orchestrator.engine.store import LaneStore, Move
from orchestrator.settings import Settings
from projections import exactly_once
from tests.support import plants
from tests.support.audit import read_topic
from tests.support.faults import admin_client
from tests.support.lanes import TOPIC, Installation, Request, until


@pytest.fixture
def installation(database: str) -> Iterator[Installation]:
    made = Installation(database)
    yield made
    made.close()


def a_stale_owner_moves(installation: Installation) -> None:
    """Of two owners that saw the same position, the second to write must be refused, however far it wants to go."""
    first, second = (LaneStore(installation.databases.of_lane(0), 0) for _ in range(2))
    at = first.positions()[IN + TOPIC].at
    first.move([Move(IN + TOPIC, at, at + 10)])
    with pytest.raises(Fenced):
        second.move([Move(IN + TOPIC, at, at + 50)])
    assert first.positions()[IN + TOPIC].at == at + 10


async def an_owner_goes_on_after_another_wrote(installation: Installation) -> None:
    """Fenced, it opens anew and decides on what the other one left: repeats are repeats, versions follow on."""
    first = await installation.lane()
    customer = first.customers(1)[0]
    await first.handle(Request(customer, "add", {"n": 1}, "one"))
    second = await installation.lane()
    await second.handle(Request(customer, "add", {"n": 2}, "two"))
    with pytest.raises(Fenced):
        await first.handle(Request(customer, "add", {"n": 3}, "three"))
    await first.lane.open()
    first._offset = first.lane.offsets[TOPIC]
    committed = await first.handle(
        Request(customer, "add", {"n": 2}, "two"), Request(customer, "add", {"n": 3}, "three")
    )
    added = [e for e in committed.events if e.name == "toy.added.v1"]
    assert [(e.version, e.envelope.data.n) for e in added] == [(4, 3)]  # after started, 1, 2
    [noted] = [e.envelope.data for e in committed.events if isinstance(e.envelope.data, BatchNoted)]
    assert [(o.id, o.duplicate) for o in noted.outcomes] == [("two", True)]


def test_a_stale_owner_is_fenced(installation: Installation) -> None:
    """A position moves only from where its owner believes it to be: a second owner is refused, not just overtaken."""
    a_stale_owner_moves(installation)


@pytest.mark.parametrize("one_call_rows", [200, -1], ids=["in one call", "by copy"])
async def test_a_fenced_owner_forgets_what_it_knew(
    installation: Installation, monkeypatch: pytest.MonkeyPatch, one_call_rows: int
) -> None:
    """After another owner's commit nothing is decided from memory, in whichever way transactions are made."""
    monkeypatch.setattr(store_module, "_ONE_CALL_ROWS", one_call_rows)
    await an_owner_goes_on_after_another_wrote(installation)


async def test_a_comparison_left_out_of_the_function_would_be_found(installation: Installation) -> None:
    """The test of the fence fails when small transactions no longer compare."""
    function = LANE_FUNCTIONS[0].replace("AND p.at = q.was", "")
    assert function != LANE_FUNCTIONS[0]
    store = LaneStore(installation.databases.of_lane(0), 0)
    with installation.databases.of_lane(0).transaction() as cursor:
        cursor.execute(store.statement(function))
    with pytest.raises(
        (BaseExceptionGroup, pytest.fail.Exception, Exception), match=r"DID NOT RAISE|duplicate key"
    ):
        await an_owner_goes_on_after_another_wrote(installation)


def test_greater_than_would_be_found(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    """With 'greater than' instead of compare-and-set, the test of the fence fails."""
    monkeypatch.setitem(store_module._STATEMENTS, "move", store_module._STATEMENTS["move"])
    monkeypatch.setattr(store_module, "_ONE_CALL_ROWS", store_module._ONE_CALL_ROWS)  # planted, too
    plants.greater_than()
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        a_stale_owner_moves(installation)


async def test_a_kept_cache_would_be_found(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With frames kept after fencing, the test of forgetting fails."""
    monkeypatch.setattr(Lane, "open", Lane.open)
    plants.cache_kept()
    with pytest.raises(AssertionError, match=r"\(4, 2\)"):  # applied twice, and the third taken for done
        await an_owner_goes_on_after_another_wrote(installation)


async def test_a_log_that_lost_rows_is_not_gone_on_with(installation: Installation) -> None:
    """A lane whose last events are missing from the table stops and says so, instead of writing over the gap."""
    owner = await installation.lane()
    await owner.handle(Request(owner.customers(1)[0], "add", {"n": 1}))
    with installation.databases.of_lane(0).transaction() as cursor:
        cursor.execute(
            "DELETE FROM lane_000.stored_events WHERE notification_id = %s", (owner.lane.position,)
        )
    with pytest.raises(
        LaneStopped, match=f"ends at {owner.lane.position - 1}, but {owner.lane.position} events"
    ):
        await owner.lane.open()


async def test_an_owner_that_opened_too_early_repeats_no_effect(
    installation: Installation,
    servers: embedded.Servers,
    topic_prefix: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What the former owner appended and published after its heir had opened the lane isn't published again."""
    monkeypatch.setattr(
        exactly_once, "_SAVE_EVERY_S", 3_600
    )  # the position in PostgreSQL stays behind Kafka's
    settings = Settings(kafka_bootstrap_servers=servers.bootstrap, topic_prefix=topic_prefix)
    names = [settings.topic(name) for name in ("commands", "effects", "snapshots")]
    admin = admin_client(servers.bootstrap)
    for answer in admin.create_topics([NewTopic(n, 1) for n in names]).values():
        answer.result(timeout=30)
    former = await installation.lane()
    customer = former.customers(1)[0]
    await former.handle(Request(customer, "add", {"n": 1}))
    heir = await installation.lane()
    publishing = exactly_once.ExactlyOnce(former.lane, settings.kafka(), settings.topics)
    async with former.following(publishing):
        await former.handle(Request(customer, "ask"))
        await until(lambda: publishing.lag_events == 0, "the former owner published")
    end = former.lane.position
    following = exactly_once.ExactlyOnce(heir.lane, settings.kafka(), settings.topics)
    async with heir.following(following):
        await until(
            lambda: heir.lane.position - following.lag_events == end, "the heir stands where Kafka says"
        )
    effects = [r.ce_id for r in read_topic(servers.bootstrap, settings.topic("effects"))]
    assert len(effects) == 1


class FailingRunner(LaneRunner):
    """A lane of which something fails just while it is being taken away."""

    begun = 0

    async def _own(self) -> None:
        self.begun += 1
        async with asyncio.TaskGroup() as group:
            group.create_task(self._fail_when_cancelled())

    async def _fail_when_cancelled(self) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise KafkaError("the broker went at the same moment") from None


async def test_a_lane_given_up_is_not_begun_again() -> None:
    """A lane taken away ends for good, even when one of its parts fails in the same moment."""
    lane: Any = SimpleNamespace(number=0)
    consumer: Any = SimpleNamespace(assignment=set)
    rounds: Any = SimpleNamespace(leave=lambda _lane: None)
    runner = FailingRunner(lane, consumer, rounds, topics={}, followers=lambda _lane: (), batch_commands=1)
    running = asyncio.create_task(runner.run())
    await until(lambda: runner.begun == 1, "begun")
    runner.retire()
    running.cancel()
    await asyncio.wait_for(asyncio.wait({running}), 30)
    assert runner.begun == 1
