"""Bugs to plant in a worker process, each the mistake that a promise guards against: a test must then fail.

Imported only by `tests.support.worker_process`; nothing of this is reachable from the product.
"""

from collections.abc import Callable
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from eventsourcing.persistence import IntegrityError


def greater_than() -> None:
    """A position moves when the new one is higher, whoever moved it in between."""
    from orchestrator.engine import store

    moving = store._STATEMENTS["move"]
    assert "p.at = q.was" in moving
    store._STATEMENTS["move"] = moving.replace("p.at = q.was", "p.at < q.at")
    store._ONE_CALL_ROWS = -1  # the function that small transactions call has a condition of its own


def integrity_error_ignored() -> None:
    """A unique violation is taken for 'this was done already'."""
    from orchestrator.engine.store import Append, LaneStore

    commit = LaneStore.commit

    def ignoring(self: LaneStore, append: Append) -> None:
        try:
            commit(self, append)
        except IntegrityError:
            self.move(append.moves)

    LaneStore.commit = ignoring  # type: ignore[method-assign]


def kafka_offset_trusted() -> None:
    """Reading goes on where Kafka's group says, not where the lane stands."""
    from consumers.commands import lane_runner, placing

    async def trusting(
        consumer: AIOKafkaConsumer, partition: TopicPartition, at: int, *_rest: Any
    ) -> placing.Placing:
        committed = await consumer.committed(partition)
        return placing.Placing(at + 1 if committed is None else committed)

    lane_runner.place = trusting  # type: ignore[attr-defined,assignment]


def cache_kept() -> None:
    """Frames stay in memory after another owner has written to their streams."""
    from orchestrator.engine.lane import Lane

    opened = Lane.open

    async def keeping(self: Lane) -> None:
        frames = dict(self._frames._frames)
        await opened(self)
        self._frames._frames.update(frames)

    Lane.open = keeping  # type: ignore[method-assign]


PLANTS: tuple[Callable[[], None], ...] = (
    greater_than,
    integrity_error_ignored,
    kafka_offset_trusted,
    cache_kept,
)


def plant(name: str) -> None:
    """Break this process with the named bug; nothing for the empty name."""
    if name:
        {p.__name__: p for p in PLANTS}[name]()
