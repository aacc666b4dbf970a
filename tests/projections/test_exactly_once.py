"""Which state of a journey becomes its snapshot on the topic."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import orjson

from orchestrator.core.addresses import Stream
from orchestrator.engine.frame import Frame
from orchestrator.engine.lane import Capture, Committed, Lane
from projections.exactly_once import ExactlyOnce
from tests.support.memory import NOW_MS, STREAM
from tests.support.toy import TOY, State

TOPICS = {name: name for name in ("effects", "commands", "snapshots")}


def captured(version: int) -> Capture:
    return Capture(Frame(STREAM, TOY), version, State(), 1, {}, NOW_MS)


class Log:
    """A lane whose log has the journey at version 9."""

    number = 0
    position = 9
    asked = 0

    async def committed_captures(self, streams: Sequence[Stream]) -> list[Capture]:
        self.asked += len(streams)
        return [captured(9) for _ in streams]


async def revisions(follower: ExactlyOnce, version: int) -> list[Any]:
    outs = await follower._snapshots({STREAM.text: version})
    return [orjson.loads(out.value or b"{}")["revision"] for out in outs]


def follower_of(log: Log, *fed: int) -> ExactlyOnce:
    made = ExactlyOnce(cast("Lane", log), {}, TOPICS)
    made._feed = cast("Any", SimpleNamespace(feed=lambda _: None))
    for version in fed:
        made.feed(Committed((), (captured(version),), ()))
    return made


async def test_a_capture_older_than_the_log_is_no_snapshot() -> None:
    """Where the log was read before its last commit was fed, the state is loaded: a stale one would stay on the topic."""
    log = Log()
    assert await revisions(follower_of(log, 4), 9) == [9]
    assert log.asked == 1


async def test_a_capture_as_new_as_the_log_needs_no_look() -> None:
    """In ordinary times snapshots come from memory, and a newer state than asked for is kept for its own turn."""
    log = Log()
    follower = follower_of(log, 7, 9)
    assert await revisions(follower, 8) == [9]
    assert await revisions(follower, 9) == [9]
    assert log.asked == 0
