"""Membership in the effects consumer group: its lanes, their commits, and what a rebalance does to them."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import IllegalStateError, KafkaError

from consumers.effects.closing import closed_within
from consumers.effects.lane import Lane
from consumers.effects.metrics import EffectMetrics
from orchestrator.effect_settings import EffectSettings
from orchestrator.group_offsets import committed_offsets

MAX_HEARTBEAT_INTERVAL_MS = 3_000
START_TIMEOUT_S = 30.0
CLOSE_TIMEOUT_S = 10.0
POLL_MS = 200
MAX_PARTITION_FETCH_BYTES = 1024 * 1024
FETCH_BYTES = 16 * 1024 * 1024
_log = structlog.get_logger("effects")


class Group(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka ships no types
    """One consumer from start to close. Not restarted: a new one replaces it."""

    def __init__(
        self,
        kafka: Mapping[str, Any],
        topic: str,
        settings: EffectSettings,
        metrics: EffectMetrics,
        on_error: Callable[[BaseException], None],
    ) -> None:
        self.lanes: dict[TopicPartition, Lane] = {}
        self.polls = 0
        self._kafka = dict(kafka)
        self._topic = topic
        self._settings = settings
        self._metrics = metrics
        self._on_error = on_error
        self._committing = asyncio.Lock()
        session_timeout_ms = int(settings.session_timeout_s * 1000)
        self._consumer = AIOKafkaConsumer(
            **kafka,
            group_id=settings.group_id,
            isolation_level="read_committed",
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            session_timeout_ms=session_timeout_ms,
            heartbeat_interval_ms=min(MAX_HEARTBEAT_INTERVAL_MS, session_timeout_ms // 4),
            partition_assignment_strategy=(RangePartitionAssignor,),
            max_partition_fetch_bytes=MAX_PARTITION_FETCH_BYTES,
            fetch_max_bytes=FETCH_BYTES,
        )

    async def start(self) -> None:
        """Connects and asks to join. Raises KafkaError, OSError or TimeoutError."""
        await asyncio.wait_for(self._consumer.start(), START_TIMEOUT_S)
        self._consumer.subscribe([self._topic], listener=self)

    async def close(self) -> None:
        """Leaves the group; bounded."""
        for lane in self.lanes.values():
            lane.close()
            lane.lost = True
        if not await closed_within(self._consumer.stop(), CLOSE_TIMEOUT_S):
            await closed_within(self._consumer._client.close(), CLOSE_TIMEOUT_S)  # noqa: SLF001

    async def poll(self) -> list[tuple[Lane, ConsumerRecord]]:
        """New records for which there is room; empty after a short wait without any. Raises KafkaError.

        Waits without end while the group rebalances: `polls` tells a watchdog that it came back.
        """
        self.polls += 1
        left = self._settings.pending_total - self.pending
        found: list[tuple[Lane, ConsumerRecord]] = []
        waiting = []
        for lane in tuple(self.lanes.values()):
            room = min(self._settings.pending_per_partition - lane.pending, left - len(found))
            if room <= 0:
                continue
            waiting.append(lane.partition)
            # Partition by partition: one call for all would give the first one everything.
            batches = await self._consumer.getmany(lane.partition, timeout_ms=0, max_records=room)
            found += self._taken(batches)
        if found:
            return found
        if self.lanes and not waiting:
            await asyncio.sleep(POLL_MS / 1000 / 4)
            return []
        return self._taken(await self._consumer.getmany(*waiting, timeout_ms=POLL_MS, max_records=1))

    @property
    def pending(self) -> int:
        """Records taken and not yet answered, in all lanes."""
        return sum(lane.pending for lane in self.lanes.values())

    async def behind(self) -> bool:
        """Whether committed records wait unread. Raises KafkaError or TimeoutError if the broker doesn't say."""
        owned = tuple(self._consumer.assignment())
        if not owned:
            return False
        async with asyncio.timeout(CLOSE_TIMEOUT_S):
            ends = await self._consumer.end_offsets(owned)
            for partition, end in ends.items():
                if (
                    partition in self._consumer.assignment()
                    and await self._consumer.position(partition) < end
                ):
                    return True
        return False

    async def commit(self, lanes: Iterable[Lane]) -> bool:
        """Commits what is contiguously finished; False if it isn't known to have worked."""
        async with self._committing:
            return await self._commit({lane: at for lane in lanes if (at := lane.to_commit) is not None})

    async def commit_at(self, lane: Lane, at: int) -> bool:
        """Commits `at` for one lane, again and again until acknowledged or the lane is closed."""
        while not lane.closed:
            async with self._committing:
                if await self._commit({lane: at}):
                    return True
            await asyncio.sleep(self._settings.retry_backoff_s)
        return False

    async def _commit(self, wanted: dict[Lane, int]) -> bool:
        """One try, under the lock: a commit that waited must not undo one that overtook it."""
        offsets = {lane.partition: at for lane, at in wanted.items() if not lane.lost and at > lane.committed}
        if not offsets:
            return not any(lane.lost for lane in wanted)
        if self._consumer._coordinator.generation < 0:  # noqa: SLF001  an empty group takes anybody's commit
            return False
        try:
            await asyncio.wait_for(self._consumer.commit(offsets), self._settings.commit_timeout_s)
        except (KafkaError, IllegalStateError, OSError, TimeoutError) as error:
            self._metrics.commit_errors.inc()
            _log.warning("effects.commit_failed", error=type(error).__name__)
            return False
        for lane, at in wanted.items():
            lane.committed = max(lane.committed, at)
        return True

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Starts no more calls, waits a little for those under way, commits what is finished."""
        try:
            lanes = [lane for partition in revoked if (lane := self.lanes.pop(partition, None)) is not None]
            for lane in lanes:
                lane.close()
            jobs = [job for lane in lanes for job in lane.jobs]
            if jobs:
                await asyncio.wait(jobs, timeout=self._settings.revoke_drain_s)
            await self.commit(lanes)
            for lane in lanes:
                lane.lost = True
        except Exception as error:  # noqa: BLE001  aiokafka would log it and go on
            self._on_error(error)

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Each partition starts anew at its committed offset.

        The consumer isn't left to find it: while a coordinator loads, it would begin at the first record of all.
        """
        try:
            partitions = sorted(assigned)
            for partition in partitions:
                self._consumer.seek(partition, 0)  # a valid position, so that the consumer asks for none
                self._consumer.pause(partition)
            found = (
                await committed_offsets(self._kafka, self._settings.group_id, partitions)
                if partitions
                else {}
            )
            for partition, committed in found.items():
                if committed is None:
                    await self._consumer.seek_to_beginning(partition)
                else:
                    self._consumer.seek(partition, committed.offset)
                self._consumer.resume(partition)
                self._lane(partition)
            _log.info("effects.assigned", partitions=sorted(partition.partition for partition in self.lanes))
        except Exception as error:  # noqa: BLE001  aiokafka would log it and go on
            self._on_error(error)

    def _taken(
        self, batches: dict[TopicPartition, list[ConsumerRecord]]
    ) -> list[tuple[Lane, ConsumerRecord]]:
        taken = []
        for partition, records in batches.items():
            lane = self._lane(partition)
            for record in records:
                lane.take(record.offset)
                taken.append((lane, record))
        return taken

    def _lane(self, partition: TopicPartition) -> Lane:
        if partition not in self.lanes:
            self.lanes[partition] = Lane(partition)
        return self.lanes[partition]
