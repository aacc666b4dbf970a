"""The owner's side of one lane: a cache of frames, and batches that are either committed whole or never were."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from functools import partial
from typing import Any, NamedTuple, TypeVar

import msgspec
import structlog

from orchestrator import metrics
from orchestrator.core.addresses import Stream, lane_of, parse_stream, stream_of
from orchestrator.core.decider import JourneyKind
from orchestrator.core.errors import LaneStopped, Undecidable
from orchestrator.core.events import Event
from orchestrator.core.messages import Command, Outcome
from orchestrator.core.resource import ResourceKind, documents_by_kind
from orchestrator.engine import inbound
from orchestrator.engine.batch import TIMER_TYPE, Batch
from orchestrator.engine.catalogue import Catalogue
from orchestrator.engine.codec import Codec
from orchestrator.engine.due_timers import PAGE, DueTimers
from orchestrator.engine.envelope import DAY, Recorded
from orchestrator.engine.frame import Frame, Snapshot, Timer
from orchestrator.engine.frames import Frames, RecordSource, Wanted
from orchestrator.engine.group_commit import GroupCommit
from orchestrator.engine.keeping import dead_letter, forward, record_digest
from orchestrator.engine.keyring import KeyRing
from orchestrator.engine.pacing import paced
from orchestrator.engine.positions import IN, LOG, LogDetail, TopicDetail, encode, log_detail
from orchestrator.engine.store import Append, LaneStore, Move, TimerRow
from orchestrator.engine.unread import RecordNeeded

log = structlog.get_logger("lane")
READER = 2
"""The event format this release reads and writes: 2 has timers within other events. Its first commit raises `min_reader`."""
_DAY_MS = 86_400_000
_DAY_KEYS_KEPT = 30  # dead letters' bytes can be read that long
TIMER_BATCH = PAGE
_TIMERS_TURN = 40  # some milliseconds of work
_UNKNOWN = frozenset({"unknown_definition", "unknown_type"})
_T = TypeVar("_T")


class Capture(NamedTuple):
    """A journey as it stood right after a commit; safe to keep while its frame moves on."""

    frame: Frame
    version: int
    state: Any
    definition_version: int
    timers: Mapping[str, Timer]
    at_ms: int


class Committed(NamedTuple):
    """What one transaction added to the log."""

    events: Sequence[Recorded]
    captures: Sequence[Capture]
    appended_ms: Sequence[int]  # broker append time of each message handled


class Intake(NamedTuple):
    """A message on its way to decisions: its command and the streams it is for, or why there are none."""

    record: inbound.Record
    raw: bool
    command: Command | None
    streams: Sequence[Stream]
    trouble: Undecidable | None


class Lane:
    """Not safe for concurrent calls: whoever owns the lane calls its methods one after another."""

    def __init__(
        self,
        store: LaneStore,
        *,
        lanes: int,
        kinds: Mapping[str, JourneyKind],
        catalogue: Catalogue,
        codec: Codec,
        executor: Executor,
        default_organization: str,
        cache_streams: Callable[[], int],
        record: RecordSource | None = None,
        group: GroupCommit | None = None,
    ) -> None:
        self.number = store.lane
        self.store = store
        self.offsets: dict[str, int] = {}
        self.details: dict[str, str] = {}
        self.log = LogDetail()
        self.position = 0
        self.lanes = lanes
        self._kinds = kinds
        self._catalogue = catalogue
        self._codec = codec
        self._executor = executor
        self._group = group or GroupCommit(self.run)
        self._due = DueTimers(store, self.run)
        self._organization = default_organization
        self._keys = KeyRing(store)
        self._frames = Frames(
            store,
            kinds=kinds,
            catalogue=catalogue,
            codec=codec,
            keys=self._keys,
            run=self.run,
            size=cache_streams,
            record=record,
        )
        self._documents = documents_by_kind(kinds)
        self._secret = b""

    @property
    def secret(self) -> bytes:
        return self._secret

    @property
    def next_due_ms(self) -> int | None:
        """When the next timer is due, as far as is known."""
        return self._due.next_ms

    async def run(self, call: Callable[..., _T], *args: Any) -> _T:
        """A store call, in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, call, *args)

    async def open(self) -> None:
        """Forget everything and read where the lane stands. Raises the library's PersistenceError."""
        self._frames.clear()
        self._keys.clear()
        self._due.clear()
        await self.run(self.store.database.check_connections)
        positions = await self.run(self.store.positions)
        self._secret = self._frames.secret = await self.run(self.store.secret)
        self.position = positions[LOG].at
        self.log = log_detail(positions[LOG].detail)
        if self.log.min_reader > READER:
            raise LaneStopped(
                f"lane {self.number} holds events of reader version {self.log.min_reader}, this release reads {READER}:"
                " upgrade this worker"
            )
        end = await self.run(self.store.log_end)
        if end < self.position:
            raise LaneStopped(
                f"lane {self.number}: its log ends at {end}, but {self.position} events were committed: rows are missing."
                " Restore the database"
            )
        self.offsets = {n.removeprefix(IN): p.at for n, p in positions.items() if n.startswith(IN)}
        self.details = {n.removeprefix(IN): p.detail for n, p in positions.items() if n.startswith(IN)}
        await self.find_next_due()
        await self.run(self._catalogue.refresh)

    async def handle(
        self,
        topic: str,
        records: Sequence[Any],
        *,
        raw: bool,
        extra: Sequence[Move] = (),
        poison: str = "",
        timers: int = 0,
    ) -> Committed:
        """Decide a batch of one topic and commit it with the position after it. `poison`: dead-letter all, unread.

        Up to `timers` of those due by then are fired behind the commands; call `find_next_due` after feeding followers.
        """
        now_ms = max(self.log.lane_ms, records[-1].timestamp)
        intakes = [self._intake(r, raw=raw, poison=poison) async for r in paced(records)]
        intakes = await self._look_again(intakes, poison=poison)
        due = await self._due.take(now_ms, timers, self.log.imported_ms) if timers else []
        while True:
            with metrics.DECIDE_S.time():
                batch = await self._decide(intakes, now_ms)
                await self._fire(batch, due)
            if await self._keys_are_durable():
                break
            self._frames.clear()  # another owner drew a key first: what was sealed here can't be opened
        _count_fired(due, now_ms)
        last = records[-1]
        detail = TopicDetail(last.timestamp, record_digest(last))
        moves = [Move(IN + topic, self.offsets[topic], last.offset, encode(detail)), *extra]
        committed = await self._commit(batch, moves, [r.timestamp for r in records])
        self.offsets[topic] = last.offset
        self.details[topic] = encode(detail)
        metrics.BATCH_SIZE.observe(len(records))
        return committed

    async def fire_timers(self, now_ms: int, limit: int = TIMER_BATCH) -> Committed | None:
        """Fire up to `limit` due timers, 500 at most, at lane time `now_ms`; None when nothing was due.

        Call `find_next_due` afterwards, once the followers were fed: between a commit and its feed nothing may wait.
        """
        now_ms = max(self.log.lane_ms, now_ms)
        due = await self._due.take(now_ms, limit, self.log.imported_ms)
        if not due:
            return None
        while True:
            batch = self._new_batch(now_ms)
            await self._fire(batch, due)
            if await self._keys_are_durable():
                break
            self._frames.clear()
        _count_fired(due, now_ms)
        return await self._commit(batch, [], [])

    async def _fire(self, batch: Batch, due: Sequence[TimerRow]) -> None:
        """Decide what these timers lead to, behind what the batch already holds."""
        streams = [parse_stream(row.stream) for row in due]
        wanted = [(stream, TIMER_TYPE) for stream in streams]
        await self._frames.bring(wanted)
        async for row, stream in paced(zip(due, streams, strict=True), turn=_TIMERS_TURN):
            frame = self._frames[stream.text]
            try:
                fire = partial(batch.fire, frame, row, batch.now_ms)
                await self._with_record(fire, stream, TIMER_TYPE, wanted)
            except Undecidable as trouble:
                batch.give_up(row, trouble)

    async def _with_record(
        self, decide: Callable[[], None], stream: Stream, command_type: str, wanted: Sequence[Wanted]
    ) -> None:
        """Decide; what looks at a record that isn't in memory is decided again once those of the batch are."""
        try:
            decide()
        except RecordNeeded:
            self._frames.learn(stream, command_type)
            await self._frames.bring(wanted)
            decide()

    async def find_next_due(self) -> None:
        """Read when `next_due_ms` is: the first of the live timers, or of those of history once they may fire."""
        await self._due.look(self.log.imported_ms)

    async def note(
        self,
        events: Sequence[tuple[Event, str]],
        moves: Sequence[Move] = (),
        *,
        log: LogDetail | None = None,
        timers: Sequence[TimerRow] = (),
    ) -> Committed:
        """Append events to the lane's own stream: rebases, pauses, what operators asked for."""
        while True:
            batch = self._new_batch(self.log.lane_ms)
            for row in timers:
                batch.arm_again(row)
            for event, command_id in events:
                batch.note(event, command_id)
            if await self._keys_are_durable():
                break
        return await self._commit(batch, moves, [], log)

    async def committed_captures(self, streams: Sequence[Stream]) -> list[Capture]:
        """These journeys as the log has them, read beside the cache: a batch may be under way in it."""
        frames = await self._frames.read(list({s.text: s for s in streams}.values()))
        return [self._capture(frame) for frame in frames]

    async def read_log(self, after: int, limit: int) -> list[Recorded]:
        """Committed events after a position, decoded."""
        rows = await self.run(self.store.read_log, after, limit)
        key_of = await self._frames.keys_of([row.stored for row in rows])
        decode = self._codec.decode
        return [
            Recorded(r.position, r.stream_id, r.version, r.name, decode(r.name, r.stored, key_of), r.stored)
            for r in rows
        ]

    async def event_at(self, stream: Stream, version: int) -> Recorded | None:
        """One event of a stream, or None."""
        found = await self.run(self.store.events_at, [(stream.id, version)])
        if (stream.id, version) not in found:
            return None
        name, stored = found[(stream.id, version)]
        key_of = await self._frames.keys_of([stored])
        return Recorded(0, stream.id, version, name, self._codec.decode(name, stored, key_of), stored)

    async def forget_old_messages(self, now_ms: int) -> int:
        """Erase the daily keys of dead letters and forwards past their time; how many days were forgotten."""
        forgotten = await self.run(self.store.erase_day_keys, now_ms // _DAY_MS - _DAY_KEYS_KEPT)
        if forgotten:
            self._keys.forget(DAY)
        return forgotten

    def resources(self) -> list[Frame]:
        """The resources in memory, for who only looks; a batch under way may have changed them."""
        return self._frames.resources()

    def forget(self) -> None:
        """Drop what is cached of journeys and keys: an operator may have erased keys meanwhile."""
        self._frames.clear()
        self._keys.clear()

    async def seal_snapshots(self, snapshots: Sequence[Snapshot]) -> list[bytes]:
        """The stored forms of snapshots; what is private goes without once its subject's key is erased."""
        private = {
            self._codec.subject_of_snapshot(s) for s in snapshots if s.state and s.state.get("private")
        }
        keys = await self.run(self._keys.fetch, private) if private else {}
        return [self._codec.encode_snapshot(snapshot, keys.__getitem__) for snapshot in snapshots]

    def _intake(self, record: Any, *, raw: bool, poison: str) -> Intake:
        try:
            if poison:
                raise Undecidable(poison, "handling this message ended its worker again and again")
            command = inbound.decode(record, raw=raw, default_organization=self._organization)
            if lane_of(command.owner.text, self.lanes) != self.number:
                return Intake(record, raw, command, (), None)
            return Intake(record, raw, command, self._targets(command), None)
        except Undecidable as trouble:
            return Intake(record, raw, None, (), trouble)

    def _targets(self, command: Command) -> Sequence[Stream]:
        if command.stream is not None:
            if command.stream.kind not in self._kinds:
                raise Undecidable("unknown_kind", f"no journeys of kind {command.stream.kind[:50]!r}")
            if (
                self._catalogue.newest(self._documents[command.stream.kind], command.stream.definition)
                is None
            ):
                raise Undecidable(
                    "unknown_definition",
                    f"{command.stream.kind}:{command.stream.definition} is not published",
                )
            return (command.stream,)
        listeners = self._catalogue.listeners(command.type)
        if not listeners:
            raise Undecidable(
                "unknown_type", f"no published definition lists the event type {command.type[:100]!r}"
            )
        return [stream_of(command.owner, kind, definition) for kind, definition in listeners]

    async def _look_again(self, intakes: list[Intake], *, poison: str) -> list[Intake]:
        """Read what named something unknown once more: it may have been published since."""
        unknown = [n for n, i in enumerate(intakes) if i.trouble and i.trouble.reason in _UNKNOWN]
        if unknown:
            # Whatever it finds: another lane may have read it just now.
            await self.run(self._catalogue.refresh)
            for n in unknown:
                intakes[n] = self._intake(intakes[n].record, raw=intakes[n].raw, poison=poison)
        return intakes

    async def _decide(self, intakes: Sequence[Intake], now_ms: int) -> Batch:
        wanted = [(s, i.command.type) for i in intakes if i.command for s in i.streams]
        await self._frames.bring(wanted)
        batch = self._new_batch(now_ms)
        lost: list[tuple[Intake, Undecidable]] = []
        strays: list[Intake] = []
        async for intake in paced(intakes):
            if intake.trouble is not None:
                lost.append((intake, intake.trouble))
            elif not intake.streams:
                strays.append(intake)
            else:
                try:
                    await self._decide_knowing(batch, intake, wanted)
                except Undecidable as no:
                    lost.append((intake, no))
        outcomes = await self._settle(batch)
        if outcomes:
            record = intakes[-1].record
            batch.note_outcomes(outcomes, f"{record.topic}/{record.partition}/{record.offset}")
        for intake in strays:
            assert intake.command is not None
            lane = lane_of(intake.command.owner.text, self.lanes)
            try:
                forward(batch, intake.record, intake.command, lane, raw=intake.raw)
            except Undecidable as no:
                lost.append((intake, no))
        for intake, trouble in lost:
            dead_letter(batch, intake.record, trouble, raw=intake.raw)
        return batch

    async def _decide_knowing(self, batch: Batch, intake: Intake, wanted: Sequence[Wanted]) -> None:
        """Decide; where a journey's pinned version isn't known here, look once whether it was published since."""
        try:
            await self._decide_one(batch, intake, wanted)
        except Undecidable as no:
            if no.reason != "unknown_definition":
                raise
            await self.run(self._catalogue.refresh)
            await self._decide_one(batch, intake, wanted)

    async def _decide_one(self, batch: Batch, intake: Intake, wanted: Sequence[Wanted]) -> None:
        command = intake.command
        assert command is not None
        decided, trouble = False, None
        for stream in intake.streams:
            frame = self._frames[stream.text]
            if command.stream is None and not frame.definition_version:
                newest = self._catalogue.newest(stream.kind, stream.definition)
                if newest is None or command.type not in newest.listens:
                    continue
            try:
                decide = partial(batch.decide, frame, command)
                await self._with_record(decide, stream, command.type, wanted)
            except (
                Undecidable
            ) as no:  # the customer's other journeys still hear it; a retry meets their duplicates
                trouble = no
            decided = True
        if trouble is not None:
            raise trouble
        if not decided:
            raise Undecidable(
                "unknown_type", f"no current definition lists the event type {command.type[:100]!r}"
            )

    async def _settle(self, batch: Batch) -> list[Outcome]:
        if not batch.repeats:
            return []
        places = batch.repeats_elsewhere()
        stored = await self.run(self.store.events_at, places) if places else {}
        key_of = await self._frames.keys_of([event for _, event in stored.values()])
        read = {p: (name, self._codec.decode(name, event, key_of)) for p, (name, event) in stored.items()}
        return batch.settle_repeats(read)

    async def _keys_are_durable(self) -> bool:
        """Store the keys drawn for this batch; False when another owner drew one first."""
        return not self._keys.drawn or await self.run(self._keys.make_durable)

    def _new_batch(self, now_ms: int) -> Batch:
        return Batch(
            lane=self.number,
            secret=self._secret,
            documents=self._documents,
            catalogue=self._catalogue,
            codec=self._codec,
            keys=self._keys,
            position=self.position,
            lane_version=self.log.lane_version,
            now_ms=now_ms,
            record_of=self._frames.record_of,
        )

    async def _commit(
        self, batch: Batch, moves: Sequence[Move], appended_ms: Sequence[int], log: LogDetail | None = None
    ) -> Committed:
        detail = msgspec.structs.replace(
            log or self.log, lane_ms=batch.now_ms, lane_version=batch.lane_version, min_reader=READER
        )
        if batch.imported:
            detail = msgspec.structs.replace(detail, imported_ms=batch.now_ms)
        moves = [Move(LOG, self.position, batch.position, encode(detail)), *moves]
        timers_set = [row for row in batch.timers.values() if row is not None]
        deleted = [key for key, row in batch.timers.items() if row is None]
        with metrics.COMMIT_S.time():
            await self._group.commit(self.store, Append(moves, batch.events, timers_set, deleted))  # type: ignore[arg-type]
        batch.tally.add()
        self.position = batch.position
        self.log = detail
        self._due.armed(timers_set, detail.imported_ms)
        captures = [self._capture(frame) for frame in batch.touched.values()]
        self._frames.trim()
        return Committed(batch.events, captures, appended_ms)

    def _capture(self, frame: Frame) -> Capture:
        kind, state = frame.kind, frame.state
        if state is not None and isinstance(kind, ResourceKind):
            state = kind.capture(state)
        return Capture(frame, frame.version, state, frame.definition_version, frame.timers, self.log.lane_ms)


def _count_fired(due: Sequence[TimerRow], now_ms: int) -> None:
    for row in due:
        metrics.TIMER_LATE_S.observe(max(0, now_ms - row.due_ms) / 1000)
    metrics.TIMERS_DUE.inc(len(due))
