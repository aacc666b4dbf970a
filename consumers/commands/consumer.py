"""Group membership of a worker: whoever holds a partition owns its lane; a lost partition drops everything of it."""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import KafkaError

from consumers.commands.lane_runner import LaneRunner
from consumers.commands.rounds import Rounds
from orchestrator import kafka_access, metrics
from orchestrator.core.errors import ConfigurationError, OrchestratorError
from orchestrator.engine.group_commit import GroupCommit

_HEALTH_EVERY_S = 2.0
_HEALTH_TIMEOUT_S = 5.0
_COMMIT_EVERY_S = 5.0
_STOP_TIMEOUT_S = 10.0
_STALL_S = 60.0
_NEVER_MS = 7 * 86_400_000
log = structlog.get_logger("consumer")


class Stalled(OrchestratorError):
    """Kafka answers, messages wait, and a lane that calls itself ready doesn't move: only a new process helps."""


class CommandConsumer(ConsumerRebalanceListener):  # type: ignore[misc]
    """Runs a LaneRunner for each assigned lane. `make_runner(lane, consumer, rounds)` builds one."""

    def __init__(
        self,
        *,
        kafka: Mapping[str, Any],
        group_id: str,
        topics: tuple[str, ...],
        session_timeout_ms: int,
        heartbeat_interval_ms: int,
        group_commit: GroupCommit,
        make_runner: Callable[[int, AIOKafkaConsumer, Rounds], LaneRunner],
    ) -> None:
        self._topics = topics
        self._kafka = kafka
        self._trouble = ""  # why Kafka doesn't answer, as last said
        self._make_runner = make_runner
        self._consumer = AIOKafkaConsumer(
            **kafka,
            group_id=group_id,
            enable_auto_commit=False,
            auto_offset_reset="none",
            isolation_level="read_committed",
            session_timeout_ms=session_timeout_ms,
            heartbeat_interval_ms=heartbeat_interval_ms,
            max_poll_interval_ms=_NEVER_MS,  # waiting for PostgreSQL isn't a reason to leave; `_watch_health` sees stalls
            rebalance_timeout_ms=session_timeout_ms,
            partition_assignment_strategy=(RangePartitionAssignor,),  # both topics of a lane go together
            max_partition_fetch_bytes=2 << 20,
            fetch_max_wait_ms=100,  # a lane that comes back late waits until the fetch of the others is answered
        )
        self._rounds = Rounds(self._consumer, group_commit)
        self._running: dict[int, tuple[LaneRunner, asyncio.Task[None]]] = {}
        self._failure: asyncio.Future[None] | None = None
        self._moved: dict[tuple[int, str], tuple[int, float]] = {}  # place: where it stood, since when
        self.kafka_up = False
        self.joined = False

    @property
    def runners(self) -> list[LaneRunner]:
        return [runner for runner, _ in self._running.values()]

    async def run(self) -> None:
        """Until cancelled. Raises what made a lane's task or a rebalance fail beyond its own handling."""
        self._failure = asyncio.get_running_loop().create_future()
        await self._start()
        self._consumer.subscribe(self._topics, listener=self)
        helpers = [
            asyncio.create_task(work)
            for work in (self._watch_health(), self._commit_regularly(), self._rounds.run())
        ]
        helpers[-1].add_done_callback(self._lane_ended)
        try:
            await self._failure
        finally:
            for task in helpers:
                task.cancel()
            await self._stop_lanes(list(self._running))
            await _bounded(self._consumer.stop())

    async def _start(self) -> None:
        """Join Kafka, waiting for it as long as it takes."""
        delay_s = 0.2
        while True:
            try:
                await self._consumer.start()
            except (KafkaError, OSError, TimeoutError) as error:
                log.warning("kafka is not reachable, waiting", error=f"{type(error).__name__}: {error}"[:300])
                metrics.DEPENDENCY_UP.labels("kafka").set(0)
                await asyncio.sleep(delay_s)
                delay_s = min(5.0, delay_s * 2)
            else:
                self.kafka_up = True
                return

    async def on_partitions_revoked(self, revoked: list[TopicPartition]) -> None:
        """Stop what runs there; the database fences whatever is still under way."""
        try:
            await self._stop_lanes(sorted({p.partition for p in revoked}))
        except Exception as error:  # noqa: BLE001  the group's loop would swallow it
            self._fail(error)

    async def on_partitions_assigned(self, assigned: list[TopicPartition]) -> None:
        """Start the lanes; each seeks to its own position before anything is read."""
        try:
            for partition in assigned:
                self._consumer.seek(partition, 0)  # a valid position, so that no reset policy is asked
                self._consumer.pause(partition)
            lanes = sorted({p.partition for p in assigned})
            await self._stop_lanes(lanes)
            for lane in lanes:
                runner = self._make_runner(lane, self._consumer, self._rounds)
                task = asyncio.create_task(runner.run(), name=f"lane {lane}")
                task.add_done_callback(self._lane_ended)
                self._running[lane] = (runner, task)
            self.joined = True
            log.info("lanes assigned", lanes=lanes)
        except Exception as error:  # noqa: BLE001  the group's loop would swallow it
            self._fail(error)

    def _lane_ended(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and task.exception() is not None:
            self._fail(task.exception())

    def _fail(self, error: BaseException | None) -> None:
        if self._failure is not None and not self._failure.done():
            self._failure.set_exception(error or RuntimeError("a lane ended"))

    async def _stop_lanes(self, lanes: list[int]) -> None:
        ending = [self._running.pop(lane) for lane in lanes if lane in self._running]
        for runner, task in ending:
            runner.retire()
            task.cancel()
        if ending:
            await asyncio.wait([task for _, task in ending], timeout=_STOP_TIMEOUT_S)
        for lane in lanes:
            metrics.LANE_READY.labels(f"{lane:03d}").set(0)

    async def _watch_health(self) -> None:
        """Ask the broker for the log ends: whether it answers, and how far it is ahead."""
        while True:
            try:
                async with asyncio.timeout(_HEALTH_TIMEOUT_S):
                    ends = await self._consumer.end_offsets(
                        self._places() or [TopicPartition(self._topics[0], 0)]
                    )
                    reached = {p: await self._consumer.position(p) for p in self._assigned()}
                up = True
                self._look_for_stalls(ends, reached)
            except (KafkaError, TimeoutError, OSError):
                up = False
            if up and not self.kafka_up:
                log.warning("kafka answers again")
                self._trouble = ""
            elif not up:
                await self._say_trouble()
            self.kafka_up = up
            metrics.DEPENDENCY_UP.labels("kafka").set(up)
            await asyncio.sleep(_HEALTH_EVERY_S)

    async def _say_trouble(self) -> None:
        """One line for each new reason: credentials may be refused now that were good at start."""
        trouble = "it takes connections, but does not answer requests"
        try:
            await kafka_access.check(self._kafka)
        except (ConfigurationError, KafkaError, TimeoutError, OSError) as error:
            trouble = str(error)[:500]
        if trouble != self._trouble:
            log.warning("kafka does not answer, waiting", error=trouble)
        self._trouble = trouble

    def _places(self) -> list[TopicPartition]:
        return [TopicPartition(topic, r.lane.number) for r in self.runners for topic in r.lane.offsets]

    def _assigned(self) -> list[TopicPartition]:
        assigned = self._consumer.assignment()
        return [place for place in self._places() if place in assigned]

    def _look_for_stalls(
        self, ends: Mapping[TopicPartition, int], reached: Mapping[TopicPartition, int]
    ) -> None:
        """Clients have been seen to stop fetching for good after a broker's restart; nothing else notices that.

        `reached`: where reading goes on, behind ends of producers' transactions, which are never handed out.
        """
        now_s = time.monotonic()
        for runner in self.runners:
            lane = runner.lane
            behind = {}
            for topic, at in lane.offsets.items():
                place = TopicPartition(topic, lane.number)
                if ends.get(place, 0) > max(at + 1, reached.get(place, 0)):
                    behind[topic] = at
            for follower in runner.followers:
                if follower.lag_events:
                    behind[follower.name] = lane.position - follower.lag_events
            for name in {key[1] for key in self._moved if key[0] == lane.number} - set(behind):
                del self._moved[(lane.number, name)]
            for name, at in behind.items():
                stood_at, since_s = self._moved.get((lane.number, name), (-2, now_s))
                if stood_at != at or runner.state != "ready":
                    self._moved[(lane.number, name)] = (at, now_s)
                elif now_s - since_s > _STALL_S:
                    self._fail(Stalled(f"lane {lane.number}: {name} has stood at {at} for {_STALL_S:.0f} s"))

    async def _commit_regularly(self) -> None:
        """Tell Kafka where the lanes are, for lag monitors; nothing ever reads it back."""
        while True:
            await asyncio.sleep(_COMMIT_EVERY_S)
            offsets = {
                TopicPartition(topic, runner.lane.number): at + 1
                for runner in self.runners
                for topic, at in runner.lane.offsets.items()
                if at >= 0
            }
            mine = {p: o for p, o in offsets.items() if p in self._consumer.assignment()}
            if mine:
                try:
                    async with asyncio.timeout(_HEALTH_TIMEOUT_S):
                        await self._consumer.commit(mine)
                except (KafkaError, TimeoutError, OSError):
                    continue


async def _bounded(stopping: Any) -> None:
    """With the broker gone, stopping can hang; ending must not."""
    try:
        async with asyncio.timeout(_STOP_TIMEOUT_S):
            await stopping
    except (TimeoutError, KafkaError, OSError):
        log.warning("kafka consumer did not stop in time")
