"""The loop of one owned lane: place, take batches, fire timers, answer operators; after any error begin anew."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import IllegalStateError, KafkaError, OffsetOutOfRangeError

from consumers.commands import lenient
from consumers.commands.controls import Controls
from consumers.commands.placing import place
from consumers.commands.rounds import Records, Rounds
from consumers.commands.suspects import Suspects
from orchestrator import metrics
from orchestrator.core.errors import Fenced, LaneStopped
from orchestrator.core.lane_events import Rebased
from orchestrator.engine.database import DataError, InterfaceError, OperationalError, PersistenceError
from orchestrator.engine.follower import Follower, report_lag
from orchestrator.engine.lane import TIMER_BATCH, Committed, Lane
from orchestrator.engine.positions import IN
from orchestrator.engine.store import Move

_BACKOFF_FIRST_S, _BACKOFF_MOST_S = 0.2, 5.0
_IDLE_WAIT_MS = 200
_FLOWING_S = 1.0  # so long after a command more are expected
_TIMERS_BESIDE = 40  # due ones in one transaction while commands flow: these wait for no more of them
_FETCH_MS = 10  # a fetch beside due timers has to have a chance to be answered
_CLOCK_EVERY_S = 10.0
_CONTROLS_EVERY_S = 1.0
_REPORT_EVERY_S = 2.0
_FORGET_EVERY_S = 3600.0
log = structlog.get_logger("lane")


class LaneRunner:
    """Runs until cancelled. `state` is `opening`, `ready`, `paused`, `waiting` or `stopped`, with `reason`."""

    def __init__(
        self,
        lane: Lane,
        consumer: AIOKafkaConsumer,
        rounds: Rounds,
        *,
        topics: Mapping[str, bool],  # name to whether it carries raw events
        followers: Callable[[Lane], Sequence[Follower]],
        batch_commands: int,
    ) -> None:
        self.lane = lane
        self.state, self.reason = "opening", ""
        self.database_up = True
        self._consumer = consumer
        self._rounds = rounds
        self._behind = False  # the last batch was full: more of it is there
        self._raw = dict(topics)
        self._partitions = [TopicPartition(topic, lane.number) for topic in topics]
        self._make_followers = followers
        self._followers: Sequence[Follower] = ()
        self._batch_commands = batch_commands
        self._suspects = Suspects(lane)
        self._controls = Controls(lane)
        self._failures = 0
        self._retired = False
        self._misplaced = False  # the position was set elsewhere than where the consumer reads
        self._clock: tuple[float, int] | None = None
        self._commanded_s = 0.0  # when commands last came
        self._fired_to = 0  # the position behind the timers that were fired last
        self._next_controls_s = 0.0
        self._reported_s = 0.0
        self._forget_at_s = 0.0

    async def run(self) -> None:
        while True:
            cause = "error"
            try:
                await self._own()
            except* Fenced as lost:
                cause = "fenced"
                self._say("waiting", _first(lost))
            except* LaneStopped as stop:
                cause = "stopped"
                self._say("stopped", _first(stop))
            except* (OperationalError, InterfaceError) as lost:
                cause = "unavailable"
                self._note_database(up=False)
                self._say("waiting", _first(lost))
            except* (
                PersistenceError
            ) as refused:  # an IntegrityError included: nothing is known, all is read again
                self._say("waiting", _first(refused))
            except* (KafkaError, TimeoutError, OSError) as lost:
                cause = "unavailable"
                self._say("waiting", _first(lost))
            except* Exception as error:
                log.exception("lane failed", lane=self.lane.number)
                self._say("waiting", _first(error))
            metrics.RESTARTS.labels(cause).inc()
            if self._retired:  # a task group in which something failed as well swallows the cancellation
                return
            self._consumer_pause()
            await self._wait(cause)

    def retire(self) -> None:
        """The lane is somebody else's now: whatever still fails here, nothing is begun again."""
        self._retired = True

    @property
    def followers(self) -> Sequence[Follower]:
        """Of the lane's present incarnation."""
        return self._followers

    def _say(self, state: str, reason: str) -> None:
        if state != self.state or self._failures in (0, 10):
            log.warning("lane not ready", lane=self.lane.number, state=state, reason=reason)
        self.state, self.reason = state, reason
        metrics.LANE_READY.labels(f"{self.lane.number:03d}").set(0)

    async def _wait(self, cause: str) -> None:
        self._failures += 1
        delay_s = min(_BACKOFF_MOST_S, _BACKOFF_FIRST_S * 2 ** min(self._failures, 10))
        await asyncio.sleep(delay_s)
        if cause == "stopped":  # an operator's rebase is read while nothing else is
            try:
                await self.lane.open()
                await self._controls.answer(self)
            except (PersistenceError, Fenced) as error:
                self._say("stopped", f"{self.reason} (and: {error})")

    def _consumer_pause(self) -> None:
        for partition in self._partitions:
            if partition in self._consumer.assignment():
                self._consumer.pause(partition)

    async def _own(self) -> None:
        """One incarnation of the lane, from opening to the first error."""
        await self.lane.open()
        await self._suspects.open()
        self._clock, self._fired_to = None, 0
        await self._place()
        self._followers = self._make_followers(self.lane)
        try:
            async with asyncio.TaskGroup() as group:
                for follower in self._followers:
                    group.create_task(follower.run(), name=f"lane {self.lane.number} {follower.name}")
                group.create_task(self._loop(), name=f"lane {self.lane.number}")
        finally:
            self._rounds.leave(self.lane.number)

    async def _place(self) -> None:
        for partition in self._partitions:
            topic, at = partition.topic, self.lane.offsets[partition.topic]
            placing = await place(self._consumer, partition, at, self.lane.details[topic], self.lane.number)
            if placing.rebased is not None:
                await self.rebase(topic, placing.next_offset - 1, placing.rebased)
            self._consumer.seek(partition, placing.next_offset)
        self._misplaced = False

    async def rebase(self, topic: str, resumes_after: int, reason: str) -> None:
        """Set the position elsewhere and record it; keys make reading again safe."""
        was = self.lane.offsets[topic]
        event = Rebased(topic, was, resumes_after, reason)
        self.feed(
            await self.lane.note(
                [(event, f"rebase/{topic}/{was}")], [Move(IN + topic, was, resumes_after, "{}")]
            )
        )
        self._misplaced = True
        self.lane.offsets[topic] = resumes_after
        self.lane.details[topic] = "{}"
        log.warning(
            "lane rebased", lane=self.lane.number, topic=topic, was_at=was, after=resumes_after, reason=reason
        )

    async def _loop(self) -> None:
        while True:
            await self._answer_operators()
            if self._misplaced:
                await self._place()
            if self.lane.log.paused:
                self._note_state("paused")
                self._rounds.leave(self.lane.number)
                await asyncio.sleep(_CONTROLS_EVERY_S / 2)
                continue
            got = await self._take()
            if got:
                self._commanded_s = time.monotonic()
            for partition, records in got.items():
                await self._handle(partition.topic, records)
            self._note_state("ready")
            if not got:
                await self._fire_timers()
            self._report()
            if time.monotonic() >= self._forget_at_s:
                self._forget_at_s = time.monotonic() + _FORGET_EVERY_S
                await self.lane.forget_old_messages(await self.lane.run(self.lane.store.clock_ms))

    async def _take(self) -> Records:
        """The next batch: in step with the worker's other lanes, or from a backlog, which the client fetches ahead."""
        limit = 1 if self._suspects.careful else self._batch_commands
        try:
            if self._behind:
                self._rounds.leave(self.lane.number)
                self._consumer.resume(*self._partitions)
                got: Records = await self._consumer.getmany(
                    *self._partitions, timeout_ms=self._wait_ms(), max_records=limit
                )
            else:
                got = await self._rounds.take(
                    self.lane.number,
                    self._partitions,
                    wait_ms=self._wait_ms(),
                    limit=limit,
                    eager=self._timers_due(),
                )
        except UnicodeDecodeError:
            got = await self._fetch_leniently()
        except OffsetOutOfRangeError as gap:
            raise TimeoutError(f"the log moved under the reader ({gap}); placing again") from gap
        except IllegalStateError as gone:
            raise TimeoutError(f"the partition is being taken away ({gone})") from gone
        self._behind = sum(map(len, got.values())) >= self._batch_commands
        return got

    async def _fetch_leniently(self) -> dict[TopicPartition, list[Any]]:
        """What the client can't read; its call may have dropped what it had of other topics, so all are read anew."""
        got = {}
        for partition in self._partitions:
            after = self.lane.offsets[partition.topic]
            records = await lenient.fetch(self._consumer, partition, after + 1)
            got[partition] = records[: 1 if self._suspects.careful else self._batch_commands]
            self._consumer.seek(partition, (got[partition][-1].offset if records else after) + 1)
        return {partition: records for partition, records in got.items() if records}

    def _note_state(self, state: str) -> None:
        if self.state != state:
            log.info("lane moves", lane=self.lane.number, state=state, position=self.lane.position)
            self.state, self.reason, self._failures = state, "", 0
            metrics.LANE_READY.labels(f"{self.lane.number:03d}").set(1)
            self._note_database(up=True)

    def _note_database(self, *, up: bool) -> None:
        if up != self.database_up:
            words = "postgresql answers again" if up else "postgresql does not answer, waiting"
            log.warning(words, lane=self.lane.number)
        self.database_up = up
        metrics.DEPENDENCY_UP.labels("postgresql").set(up)

    def _wait_ms(self) -> int:
        due_ms = self.lane.next_due_ms
        if due_ms is None or self._clock is None:
            return _IDLE_WAIT_MS
        least_ms = _FETCH_MS if self._flowing() else 1
        return int(min(_IDLE_WAIT_MS, max(least_ms, due_ms - self._clock_guess_ms())))

    def _timers_due(self) -> bool:
        """Whether some are, as far as is known, and may be fired now."""
        due_ms = self.lane.next_due_ms
        if due_ms is None or self._telling():
            return False
        return due_ms <= (self.lane.log.lane_ms if self._clock is None else self._clock_guess_ms())

    def _flowing(self) -> bool:
        return time.monotonic() - self._commanded_s < _FLOWING_S

    async def _handle(self, topic: str, records: list[Any]) -> None:
        """Commit these records; what storage refuses is found by halving and dead-lettered alone."""
        # One that ends its worker is found by trying messages alone: those are then not accused of what a timer did.
        timers = 0 if self._suspects.careful or self._telling() else _TIMERS_BESIDE
        try:
            await self._handle_once(topic, records, timers=timers)
        except DataError as first:
            log.warning("batch refused", lane=self.lane.number, size=len(records), error=str(first)[:300])
            await self._halve(topic, records)

    async def _halve(self, topic: str, records: list[Any]) -> None:
        await self.lane.open()
        records = [r for r in records if r.offset > self.lane.offsets[topic]]
        if not records:
            return
        try:
            await self._handle_once(topic, records)
        except DataError:
            if len(records) == 1:
                await self.lane.open()
                await self._handle_once(topic, records, poison="storage_refused")
                return
            middle = len(records) // 2
            await self._halve(topic, records[:middle])
            await self._halve(topic, records[middle:])

    async def _handle_once(
        self, topic: str, records: list[Any], *, poison: str = "", timers: int = 0
    ) -> None:
        poison = poison or await self._suspects.begin(topic, records)
        due_ms = self.lane.next_due_ms
        committed = await self.lane.handle(
            topic,
            records,
            raw=self._raw[topic],
            extra=self._suspects.cleared(topic),
            poison=poison,
            timers=timers,
        )
        self._suspects.progressed(topic, len(records))
        self.feed(committed)
        if timers and due_ms is not None and due_ms <= self.lane.log.lane_ms:
            self._fired_to = self.lane.position
            await self.lane.find_next_due()

    def feed(self, committed: Committed | None) -> None:
        """Hand a transaction's events to the followers."""
        if committed is not None:
            for follower in self._followers:
                follower.feed(committed)

    async def _fire_timers(self) -> None:
        """Those that are due, by the database's clock once all messages were handled."""
        due_ms = self.lane.next_due_ms
        if due_ms is None:
            return
        now_ms = self.lane.log.lane_ms
        if await self._caught_up():
            if self._clock is None or time.monotonic() - self._clock[0] > _CLOCK_EVERY_S:
                self._clock = (time.monotonic(), await self.lane.run(self.lane.store.clock_ms))
            now_ms = max(now_ms, self._clock_guess_ms())
        if due_ms <= now_ms and not (self._flowing() and self._telling()):
            limit = _TIMERS_BESIDE if self._flowing() else TIMER_BATCH
            self.feed(await self.lane.fire_timers(now_ms, limit))
            self._fired_to = self.lane.position
            await self.lane.find_next_due()

    def _telling(self) -> bool:
        """Whether outcomes of the last timers are on their way: those of commands would wait behind even more."""
        at = self.lane.position
        return any(f.tells and at - f.lag_events < self._fired_to for f in self._followers)

    def _clock_guess_ms(self) -> int:
        """PostgreSQL's clock, carried on by ours for a few seconds."""
        assert self._clock is not None
        return self._clock[1] + int((time.monotonic() - self._clock[0]) * 1000)

    async def _caught_up(self) -> bool:
        """Whether all that can be read was handled; ends of transactions take offsets and are never handed out."""
        for partition in self._partitions:
            end = self._consumer.last_stable_offset(partition)
            if end is None or end > await self._consumer.position(partition):
                return False
        return True

    async def _answer_operators(self) -> None:
        if time.monotonic() >= self._next_controls_s:
            self._next_controls_s = time.monotonic() + _CONTROLS_EVERY_S
            await self._controls.answer(self)

    def _report(self) -> None:
        if time.monotonic() - self._reported_s < _REPORT_EVERY_S:
            return
        self._reported_s = time.monotonic()
        for follower in self._followers:
            report_lag(self.lane.number, follower)
        for partition in self._partitions:
            metrics.LANE_LAG.labels(f"{self.lane.number:03d}", partition.topic).set(self._lag(partition))

    def _lag(self, partition: TopicPartition) -> int:
        """Messages after the last handled one, as of the last fetch."""
        end = self._consumer.highwater(partition)
        return 0 if end is None else max(0, end - 1 - self.lane.offsets[partition.topic])


def _first(group: BaseExceptionGroup[BaseException]) -> str:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}"[:500]
