"""One batch of a lane, decided in memory: from messages and frames to the events of one transaction."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import PurePath
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from orchestrator.core.addresses import Owner, Stream, lane_stream
from orchestrator.core.decider import Definition, EffectResult, Facts, JourneyKind, TimerFired
from orchestrator.core.errors import LaneStopped, Malformed, Rejected, Undecidable
from orchestrator.core.events import (
    CommandIgnored,
    CommandRejected,
    EffectRequested,
    Event,
    JourneyStarted,
    timers_of,
)
from orchestrator.core.lane_events import BatchNoted, DeadLettered
from orchestrator.core.messages import Command, Outcome, OutcomeKind
from orchestrator.core.resource import ResourceKind
from orchestrator.engine.catalogue import Catalogue
from orchestrator.engine.codec import Codec
from orchestrator.engine.digests import canonical, digest, key_hash
from orchestrator.engine.envelope import Envelope, Recorded
from orchestrator.engine.frame import TIMER_SOURCE, Frame, Timer, timer_id
from orchestrator.engine.keyring import KeyRing
from orchestrator.engine.store import TimerRow
from orchestrator.engine.tally import Tally

LANE_SOURCE = "engine/lane"
TIMER_TYPE = "timer.fired"
TIMERS = "timers"
"""The topic of a dead letter that was a timer."""
_BACKFILL_TIMERS_MAX = 10_000
_CLOCK_SKEW_MS = 60_000
_EVENT_MAX_BYTES = 2 << 20  # well below what the outgoing topics take
_TIMER_NAME_MAX_BYTES = 512
_YEAR_10000_MS = 253_402_300_800_000
_KINDS = {CommandRejected.NAME: "rejected", CommandIgnored.NAME: "ignored"}
_EFFECT_TYPES = {"effect.succeeded": "succeeded", "effect.failed": "failed", "effect.unknown": "unknown"}


RecordOf = Callable[[Owner], Mapping[str, Any]]
"""What a customer's record shows, as it stands within the batch."""


class Repeat(NamedTuple):
    """A command whose key its stream knows: the first outcome is told again, once its event is read."""

    command: Command
    stream: Stream
    first_version: int
    digest: str


class Batch:
    """The growing transaction. Decide everything, settle the repeats, note the outcomes, then commit or drop it."""

    def __init__(
        self,
        *,
        lane: int,
        secret: bytes,
        documents: Mapping[str, str],  # kind of stream to kind of document
        catalogue: Catalogue,
        codec: Codec,
        keys: KeyRing,
        position: int,
        lane_version: int,
        now_ms: int,
        record_of: RecordOf,
    ) -> None:
        self.events: list[Recorded] = []
        self.touched: dict[UUID, Frame] = {}
        self.repeats: list[Repeat] = []
        self.timers: dict[tuple[UUID, str], TimerRow | None] = {}  # None: deleted
        self.tally = Tally()
        self.imported = False  # whether any command was history
        self.now_ms = now_ms
        self.position = position
        self.lane_version = lane_version
        self._lane = lane_stream(lane)
        self._secret = secret
        self._documents = documents
        self._catalogue = catalogue
        self._codec = codec
        self._keys = keys
        self._record_of = record_of
        self._first_of: dict[tuple[UUID, int], Recorded] = {}

    def decide(self, frame: Frame, command: Command) -> None:
        """Decide one command against one stream. Raises Undecidable; the frame is then unchanged."""
        stream_id = frame.stream.id
        body = digest(self._secret, stream_id, canonical(command.type, command.data))
        hashed = key_hash(self._secret, command.source, command.id)
        first = frame.keys.find(hashed)
        if first is not None:
            self.repeats.append(Repeat(command, frame.stream, first, body))
            return
        now_ms = self.now_ms
        self.imported = self.imported or command.backfill
        if command.backfill and command.time_ms is not None:
            self._fire_before(frame, command.time_ms)
            now_ms = command.time_ms
        self._decide_new(frame, command, hashed, body, now_ms)

    def fire(self, frame: Frame, row: TimerRow, now_ms: int) -> None:
        """A timer row that is due: decide it, move it when its deadline has moved, drop it when nothing waits."""
        timer = frame.timers.get(row.timer)
        deadline = frame.kind.deadline_ms(frame.state, row.timer) if timer else None
        if timer is None or deadline is None:
            self.timers[(row.stream_id, row.timer)] = None
        elif deadline > now_ms:
            self.timers[(row.stream_id, row.timer)] = row._replace(
                due_ms=deadline, armed_at=timer.armed_at, history=False
            )
        elif row.history:
            self._fire_before(frame, now_ms)
        else:
            self._fire(frame, row.timer, timer, now_ms)

    def give_up(self, row: TimerRow, trouble: Undecidable) -> None:
        """A timer that can't be decided becomes a dead letter; a retry arms it again."""
        self.timers[(row.stream_id, row.timer)] = None
        self.tally.dead[trouble.reason] += 1
        dead_id = f"timer-{row.stream_id}-{row.timer}-{row.armed_at}"
        private = {"stream": row.stream, "timer": row.timer, "armed_at": row.armed_at, "due_ms": row.due_ms}
        self.note(
            DeadLettered(
                dead_id,
                TIMERS,
                0,
                0,
                trouble.reason,
                str(trouble)[:2000],
                TIMER_SOURCE,
                timer_id(row.stream, row.timer, row.armed_at),
                TIMER_TYPE,
                row.stream,
                private,
            ),
            dead_id,
        )

    def arm_again(self, row: TimerRow) -> None:
        """Put a timer's row back."""
        self.timers[(row.stream_id, row.timer)] = row

    def _fire_before(self, frame: Frame, time_ms: int) -> None:
        """History brings its own clock: what was due before the next imported command happens first, in order."""
        for _ in range(_BACKFILL_TIMERS_MAX):
            due = [
                (deadline, name)
                for name in frame.timers
                if (deadline := frame.kind.deadline_ms(frame.state, name)) is not None and deadline <= time_ms
            ]
            if not due:
                return
            deadline, name = min(due)
            self._fire(frame, name, frame.timers[name], deadline, backfill=True)
        raise Undecidable(
            "timer_loop", f"more than {_BACKFILL_TIMERS_MAX} timers fired before one imported command"
        )

    def _fire(self, frame: Frame, name: str, timer: Timer, now_ms: int, *, backfill: bool = False) -> None:
        deadline = frame.kind.deadline_ms(frame.state, name) or now_ms
        command = Command(
            source=TIMER_SOURCE,
            id=timer_id(frame.stream.text, name, timer.armed_at),
            type=TIMER_TYPE,
            owner=frame.stream.owner,
            stream=frame.stream,
            data={},
            time_ms=deadline,
            backfill=backfill,
        )
        hashed = key_hash(self._secret, command.source, command.id)
        self._decide_new(frame, command, hashed, "", now_ms, typed=TimerFired(name, deadline))
        if name not in frame.timers:
            self.timers[(frame.stream.id, name)] = None

    def _decide_new(
        self, frame: Frame, command: Command, hashed: bytes, body: str, now_ms: int, *, typed: Any = None
    ) -> None:
        definition = self._definition(frame)
        occurred_ms = now_ms if command.time_ms is None else min(command.time_ms, now_ms + _CLOCK_SKEW_MS)
        kind = frame.kind
        facts = Facts(
            now_ms, occurred_ms, frame.stream, definition, frame.version,
            command.backfill, not command.backfill,
            self._record_of(frame.stream.owner) if kind.reads_record else {},
            command.source, command.id,
        )  # fmt: skip
        try:
            if typed is None:
                typed = self._parse(kind, command)
            events = kind.decide(frame.state, typed, facts)
        except Rejected as no:
            events = [CommandRejected(no.rule, no.inputs)]
        except Undecidable:
            raise
        except Exception as error:
            raise _failed(error) from error
        if not events:
            events = [CommandIgnored("no_consequence")]
        recorded = self._record(frame, command, body, events, facts)
        fired = command.id if command.source == TIMER_SOURCE else None
        resource = isinstance(kind, ResourceKind)
        before, mark = "" if resource else kind.label(frame.state), frame.mark()
        try:
            for index, event in enumerate(events):
                frame.evolve_own(hashed if index == 0 else None, event, fired)
        except Exception as error:
            if resource:  # changed in place: there is no way back
                raise LaneStopped(
                    f"{frame.stream.text}: its state can't follow: {type(error).__name__}"
                ) from error
            frame.back_to(mark)
            raise _failed(error) from error
        for one in recorded:
            self._track(frame, one, history=command.backfill)
        after = "" if resource else kind.label(frame.state)
        if before != after:
            self.tally.transitions[(frame.stream.definition, before, after)] += 1
        self.tally.outcomes[(_KINDS.get(recorded[0].name, "applied"), False)] += 1
        self._first_of[(recorded[0].stream_id, recorded[0].version)] = recorded[0]
        self.events += recorded
        self.position += len(recorded)
        self.touched[recorded[0].stream_id] = frame

    def _definition(self, frame: Frame) -> Definition:
        stream = frame.stream
        kind = self._documents[stream.kind]
        if frame.definition_version:
            found = self._catalogue.version(kind, stream.definition, frame.definition_version)
        else:
            found = self._catalogue.newest(kind, stream.definition)
        if found is None:
            raise Undecidable(
                "unknown_definition", f"no definition {stream.kind}:{stream.definition} is published"
            )
        return found

    def _parse(self, kind: JourneyKind, command: Command) -> Any:
        if command.stream is None:
            return kind.parse_raw(command.type, command.data)
        status = _EFFECT_TYPES.get(command.type)
        if status is not None:
            try:
                return msgspec.convert(command.data | {"status": status}, EffectResult)
            except msgspec.ValidationError as error:
                raise Malformed(f"{command.type}: {error}") from error
        if command.type == TIMER_TYPE or command.source == TIMER_SOURCE:
            raise Malformed(
                f"{command.type} from {command.source} is reserved for the engine", reason="reserved"
            )
        return kind.parse(command.type, command.data)

    def _record(
        self, frame: Frame, command: Command, body: str, events: Iterable[Event], facts: Facts
    ) -> list[Recorded]:
        """Encode before anything is evolved, so that a value the log can't keep leaves the frame as it was."""
        events = list(events)
        stream_id, text, count = frame.stream.id, frame.stream.text, len(events)
        now_ms, occurred_ms = facts.now_ms, facts.occurred_ms
        recorded = []
        for index, event in enumerate(events):
            envelope = Envelope(
                text, command.source, command.id, body, now_ms, event, command.type, index, count,
                occurred_ms if occurred_ms != now_ms else None,
                command.reply_to, command.traceparent, command.tracestate, command.backfill,
            )  # fmt: skip
            try:
                _check_timers(event)
                stored = self._codec.encode(envelope, self._keys.key_for_writing)
                if len(stored) > _EVENT_MAX_BYTES:
                    raise ValueError(f"{len(stored)} bytes, more than {_EVENT_MAX_BYTES}")
            except (TypeError, ValueError, RecursionError) as error:
                raise Undecidable("unstorable", f"{type(event).__name__} can't be stored: {error}") from error
            at = index + 1
            recorded.append(
                Recorded(self.position + at, stream_id, frame.version + at, event.NAME, envelope, stored)
            )
        return recorded

    def _track(self, frame: Frame, recorded: Recorded, *, history: bool) -> None:
        event = recorded.envelope.data
        for name, due_ms in timers_of(event).items():
            key = (recorded.stream_id, name)
            late = history and due_ms is not None and due_ms <= self.now_ms
            self.timers[key] = (
                None if due_ms is None else TimerRow(*key, recorded.version, due_ms, frame.stream.text, late)
            )
        kind = type(event)
        if kind is EffectRequested:
            self.tally.effects[event.type] += 1
        elif kind is JourneyStarted:
            self.tally.started[(frame.stream.kind, frame.stream.definition)] += 1

    def repeats_elsewhere(self) -> list[tuple[UUID, int]]:
        """The first events of repeated keys that are not in this batch and have to be read from the log."""
        places = {(r.stream.id, r.first_version): None for r in self.repeats}
        return [place for place in places if place not in self._first_of]

    def note_outcomes(self, outcomes: Sequence[Outcome], command_id: str) -> None:
        """Tell what became of the repeats, in the lane's own stream."""
        traces = tuple(r.command.traceparent for r in self.repeats)
        self.note(BatchNoted(tuple(outcomes), traces if any(traces) else ()), command_id)

    def settle_repeats(self, read: Mapping[tuple[UUID, int], tuple[str, Envelope]]) -> list[Outcome]:
        """The outcome of each repeat: the first one again, or a conflict when the body is another."""
        outcomes = []
        for repeat in self.repeats:
            place = (repeat.stream.id, repeat.first_version)
            own = self._first_of.get(place)
            name, envelope = (own.name, own.envelope) if own is not None else read[place]
            outcomes.append(_settle(repeat, name, envelope))
            self.tally.outcomes[(outcomes[-1].outcome, outcomes[-1].duplicate)] += 1
        return outcomes

    def note(
        self, event: Event, command_id: str, traceparent: str | None = None, tracestate: str | None = None
    ) -> Recorded:
        """Append an event to the lane's own stream."""
        self.position += 1
        self.lane_version += 1
        envelope = Envelope(
            self._lane.text, LANE_SOURCE, command_id, "", self.now_ms, event,
            traceparent=traceparent, tracestate=tracestate,
        )  # fmt: skip
        stored = self._codec.encode(envelope, self._keys.key_for_writing)
        recorded = Recorded(self.position, self._lane.id, self.lane_version, event.NAME, envelope, stored)
        self.events.append(recorded)
        return recorded


def _failed(error: Exception) -> Undecidable:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f" at {PurePath(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace else ""
    return Undecidable("decider_failed", f"{type(error).__name__}{place}", str(error))


def _check_timers(event: Event) -> None:
    """What the timers' table and its index hold. Raises ValueError."""
    for name, due_ms in timers_of(event).items():
        if not name or "\x00" in name or len(name.encode()) > _TIMER_NAME_MAX_BYTES:
            raise ValueError(f"a timer's name has 1 to {_TIMER_NAME_MAX_BYTES} bytes and no NUL")
        if due_ms is not None and not 0 <= due_ms < _YEAR_10000_MS:
            raise ValueError("a timer is due between 1970 and 9999, in milliseconds")


def _settle(repeat: Repeat, name: str, first: Envelope) -> Outcome:
    command = repeat.command
    if (first.source, first.id) != (
        command.source,
        command.id,
    ):  # two keys of one 64-bit hash: refused, never mixed up
        return Outcome(
            "rejected",
            command.source,
            command.id,
            repeat.stream.text,
            repeat.first_version,
            reason="key_collision",
        )
    if not command.made_by_engine and first.digest != repeat.digest:
        return Outcome(
            "rejected",
            command.source,
            command.id,
            repeat.stream.text,
            repeat.first_version,
            reason="idempotency_conflict",
        )
    return outcome_of(name, first, repeat.first_version, duplicate=True)


def outcome_of(name: str, first: Envelope, version: int, *, duplicate: bool = False) -> Outcome:
    """What a command's first event says became of it."""
    event = first.data
    kind: OutcomeKind = "applied"
    reason, detail = None, None
    if name == CommandRejected.NAME:
        kind, reason, detail = "rejected", event.rule, event.inputs or None
    elif name == CommandIgnored.NAME:
        kind, reason = "ignored", event.reason
    return Outcome(
        kind,
        first.source,
        first.id,
        first.stream,
        version + first.count - 1,
        duplicate,
        reason,
        detail,
    )
