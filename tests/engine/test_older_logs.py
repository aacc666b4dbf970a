"""Logs of older releases read as they did; lanes of newer ones are left alone."""

from typing import Any

import msgspec
import pytest

from orchestrator.core.errors import LaneStopped
from orchestrator.core.events import Event, JourneyStarted, TimerArmed, TimerCancelled
from orchestrator.engine.codec import Codec
from orchestrator.engine.envelope import Envelope
from orchestrator.engine.frame import Frame
from orchestrator.engine.lane import READER
from orchestrator.engine.positions import LOG, encode, log_detail
from orchestrator.engine.store import Move
from orchestrator.journeys.experience import EXPERIENCE
from orchestrator.journeys.experience.events import Began, Noted
from orchestrator.journeys.flow import FLOW
from orchestrator.journeys.flow.events import FlowIdle
from tests.support.lanes import Installation, Request
from tests.support.memory import NOW_MS, SECRET, STREAM


def folded(kind: Any, *events: tuple[str, dict[str, Any]]) -> Frame:
    """A frame from stored JSON, as a log has it: names and data."""
    codec, frame = Codec(kind.events), Frame(STREAM, kind)
    for name, data in events:
        envelope = Envelope(
            STREAM.text, "tests", f"k{frame.version}", "", NOW_MS, msgspec.Raw(msgspec.json.encode(data))
        )
        frame.apply(codec.decode(name, msgspec.json.encode(envelope), {}.__getitem__), SECRET)
    return frame


def named(event: type[Event], **data: Any) -> tuple[str, dict[str, Any]]:
    return event.NAME, data


STARTED = named(JourneyStarted, definition_version=3, at_ms=NOW_MS, context={"experience": "drop"})


def test_an_idle_flow_of_an_older_log_is_unpinned() -> None:
    """The end of the pin was an event of its own: the next run takes the newest version, as it did then."""
    before, after = folded(FLOW, STARTED), folded(FLOW, STARTED, named(FlowIdle))
    assert (before.definition_version, after.definition_version) == (3, 0)
    assert (before.state.version, after.state.version) == (3, 0)


def test_timers_and_notes_of_an_older_log_are_kept() -> None:
    """Timers and notes were events of their own: frame and state stand where they stood."""
    note = {
        "id": "4",
        "at_ms": NOW_MS,
        "kind": "info",
        "severity": "info",
        "audience": "user",
        "message": "Hello.",
    }
    frame = folded(
        EXPERIENCE,
        STARTED,
        named(Began, at_ms=NOW_MS, revision=2),
        named(TimerArmed, timer="answer", due_ms=NOW_MS + 5),
        named(Noted, **note),
        named(TimerArmed, timer="window", due_ms=NOW_MS + 9),
        named(TimerCancelled, timer="answer"),
    )
    assert {name: timer.armed_at for name, timer in frame.timers.items()} == {"window": 5}
    assert dict(frame.state.timers) == {"window": NOW_MS + 9}
    assert [(n.id, n.ts, n.message) for n in frame.state.notes] == [("4", NOW_MS, "Hello.")]
    assert frame.state.revision == frame.version == 6


async def test_a_lane_says_what_its_readers_have_to_know(database: str) -> None:
    """The first commit raises the lane's format; a release that knows less refuses it instead of misreading it."""
    installation = Installation(database)
    try:
        harness = await installation.lane()
        assert harness.lane.log.min_reader < READER
        await harness.handle(Request("cus", "add", {"n": 1}))
        stored = log_detail(harness.lane.store.positions()[LOG].detail)
        assert stored.min_reader == READER
        newer = encode(msgspec.structs.replace(stored, min_reader=READER + 1))
        harness.lane.store.move([Move(LOG, harness.lane.position, harness.lane.position, newer)])
        with pytest.raises(LaneStopped, match="upgrade this worker"):
            await installation.lane()
    finally:
        installation.close()
