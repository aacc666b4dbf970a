"""The counts of flows: what the log adds up to against their table, and what is open of each stream."""

from uuid import UUID

from orchestrator.core.events import Event
from orchestrator.replay.reading import LaneSnapshot, Merged
from orchestrator.replay.report import Findings
from projections.flow_analytics.counting import Cell, encode
from projections.flow_analytics.recount import Recount, differences


class ComparingFlows:
    """Notes the differences of one lane. Memory: the counts themselves, and one stream."""

    def __init__(self, snapshot: LaneSnapshot, lane: int, until: int, findings: Findings) -> None:
        self._recount = Recount(until)
        self._snapshot = snapshot
        self._lane = lane
        self._findings = findings
        self._damage = findings.in_log
        self._rows = Merged(snapshot.flow_open())
        self._stream_id = b""

    def begin(self, stream_id: bytes) -> None:
        """The one before has ended; rows of streams in between have no events."""
        self._end()
        for row in self._rows.before(stream_id):
            self._add("flow_open.extra", row[0], "has a row and no event")
        self._stream_id = stream_id

    def event(self, position: int, stream: str, event: Event) -> None:
        """One of the stream's events, in order."""
        self._recount.event(position, stream, event)

    def ended(self) -> None:
        """Compare the counts; a damaged log's would differ for that alone."""
        self._end()
        for row in self._rows.rest():
            self._add("flow_open.extra", row[0], "has a row and no event")
        if self._findings.in_log > self._damage:
            return
        found = ((Cell(*row[:6]), row[6]) for chunk in self._snapshot.flow_counts() for row in chunk)
        for cell, n, wanted in differences(self._recount.counts, found):
            place = " ".join(str(part) for part in cell if part != "")
            self._findings.add(self._lane, "flow_counts.wrong", place, f"its row says {n}, the log {wanted}")

    def _end(self) -> None:
        if not self._stream_id:
            return
        open, rows = self._recount.end(), self._rows.of(self._stream_id)
        wanted = encode(open) if open else None
        if wanted != (bytes(rows[0][1]) if rows else None):
            self._add("flow_open.wrong", self._stream_id, "what its row has open isn't what the log has")

    def _add(self, code: str, stream_id: bytes, found: str) -> None:
        self._findings.add(self._lane, code, f"stream {UUID(bytes=stream_id)}", found)
