"""Dead letters: the lane's own stream against their read model, in the order of that stream."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import msgspec

from orchestrator.core.addresses import lane_stream
from orchestrator.core.lane_events import DeadLetterDiscarded, DeadLettered, DeadLetterRetried
from orchestrator.engine.batch import TIMERS
from orchestrator.engine.codec import Codec
from orchestrator.engine.envelope import Envelope
from orchestrator.replay.reading import LaneSnapshot
from orchestrator.replay.report import Findings

_LOOK_UP_AT_ONCE = 1_000
_OPEN = ("open", "")


def letter_row(version: int, event: DeadLettered, at_ms: int) -> tuple[Any, ...]:
    """The read model's row of a dead letter, status and note left out."""
    return (
        event.id, version, event.topic, event.reason, event.error.replace("\x00", "�"),
        event.source, event.command_id, event.command_type, event.subject, at_ms,
    )  # fmt: skip


def settlement(event: Any) -> tuple[str, str, str] | None:
    """Id, status and note when an event settles a dead letter."""
    if isinstance(event, DeadLetterRetried):
        return event.id, "retried", ""
    if isinstance(event, DeadLetterDiscarded):
        return event.id, "discarded", event.reason
    return None


def timer_letter_id(stream: UUID, timer: str, armed_at: int) -> str:
    """The dead letter of a timer that couldn't be decided."""
    return f"timer-{stream}-{timer}-{armed_at}"


def given_up_timers(snapshot: LaneSnapshot, lane: int, codec: Codec) -> set[str]:
    """Dead letters of timers that were not armed again since: these timers have no row, and shall have none."""
    found: set[str] = set()
    names = (DeadLettered.NAME, DeadLetterRetried.NAME)
    for rows in snapshot.stream_events(lane_stream(lane).id.bytes, names):
        for name, stored in rows:
            try:
                event = codec.decode(name, stored, _sealed).data
            except msgspec.MsgspecError:
                continue  # the fold reports it
            if isinstance(event, DeadLetterRetried):
                found.discard(event.id)
            elif event.topic == TIMERS:
                found.add(event.id)
    return found


def _sealed(subject: str) -> bytes:
    raise KeyError(subject)


class ComparingLetters:
    """Notes the differences of one lane. Memory: the settled ones, which operators made one by one."""

    def __init__(self, snapshot: LaneSnapshot, lane: int, position: int, findings: Findings) -> None:
        self._snapshot = snapshot
        self._lane = lane
        self._position = position  # up to here the read model follows the log, exactly
        self._findings = findings
        self._rows = _flat(snapshot.dead_letters())
        self._next: Any = next(self._rows, None)
        self._settled: dict[str, tuple[str, str]] = {}
        self._settled_rows: dict[str, tuple[str, str]] = {}
        self._not_here: list[str] = []

    def event(self, version: int, position: int, envelope: Envelope) -> None:
        """An event of the lane's own stream, in order."""
        if position > self._position:
            return
        event = envelope.data
        if isinstance(event, DeadLettered):
            self._findings.dead_letters += 1
            self._letter(version, event, envelope.at_ms)
        elif (settled := settlement(event)) is not None:
            self._settled[settled[0]] = settled[1:]

    def give_up(self) -> None:
        """The lane's own stream is damaged: what is missing in it would look like rows too many."""
        self._rows, self._next = iter(()), None
        self._settled.clear()
        self._settled_rows.clear()
        self._not_here.clear()

    def ended(self) -> None:
        """Rows that are left, statuses, and letters that had no row at their place."""
        while self._next is not None:
            self._take(extra=True)
        self._look_up()
        for letter in self._settled.keys() | self._settled_rows.keys():
            wanted, found = self._settled.get(letter, _OPEN), self._settled_rows.get(letter, _OPEN)
            if wanted != found:
                self._add("dead_letters.status", letter, f"its row says {found[0]}, the log {wanted[0]}")

    def _letter(self, version: int, event: DeadLettered, at_ms: int) -> None:
        while self._next is not None and self._next[0] < version:
            self._take(extra=True)
        here = False
        while self._next is not None and self._next[0] == version:
            row = self._next
            mine = row[1] == event.id
            self._take(extra=not mine)
            if mine:
                here = True
                if (row[1], row[0], *row[2:10]) != letter_row(version, event, at_ms):
                    self._add("dead_letters.wrong", event.id, "its row says something else than the log")
        if not here:  # read a second time, after a rebase: then the first one's row is the row
            self._not_here.append(event.id)
            if len(self._not_here) >= _LOOK_UP_AT_ONCE:
                self._look_up()

    def _take(self, *, extra: bool) -> None:
        row = self._next
        self._next = next(self._rows, None)
        if extra:
            self._add(
                "dead_letters.extra",
                row[1],
                f"has a row, and no event at version {row[0]} of the lane's stream",
            )
        elif (row[10], row[11]) != _OPEN:
            self._settled_rows[row[1]] = (row[10], row[11])

    def _look_up(self) -> None:
        if self._not_here:
            there = self._snapshot.dead_letter_ids(self._not_here)
            for letter in dict.fromkeys(self._not_here):
                if letter not in there:
                    self._add("dead_letters.missing", letter, "was dead-lettered and has no row")
            self._not_here.clear()

    def _add(self, code: str, place: str, found: str) -> None:
        self._findings.add(self._lane, code, f"dead letter {place}", found)


def _flat(chunks: Iterator[Any]) -> Iterator[Any]:
    return (row for chunk in chunks for row in chunk)
