"""`python -m bench.queue`: what a queue of a million costs by itself: decisions and state alone, in processor time."""

import argparse
import json
import sys
from collections.abc import Iterator
from statistics import median
from time import process_time
from types import SimpleNamespace
from typing import Any

import msgspec

from orchestrator.core.decider import Definition, Facts, TimerFired
from orchestrator.core.events import Event
from orchestrator.core.messages import TELLING_SOURCE
from orchestrator.distributions.base import distribution_stream
from orchestrator.distributions.queue import QUEUE, now_serving, position
from orchestrator.distributions.queue.events import QueueOpened
from orchestrator.distributions.queue.state import QueueState

_NOW_MS = 1_800_000_000_000
_SECRET = "5a" * 32
_PART = {"admission": {"valid": "10m"}, "capacity": 10_000_000}
_PRE_QUEUE = {"opens_at": "2100-01-01T00:00:00Z", "pre_queue": {"secret": _SECRET}}


class Bench:
    """One queue and its log."""

    def __init__(self, part: dict[str, Any]) -> None:
        self.stream = distribution_stream("acme", "shoes", "main", "queue")
        config = SimpleNamespace(mechanism="queue", config=QUEUE.compile_config(part))
        compiled = SimpleNamespace(distributions={"main": config})
        self.definition = Definition("experience", "shoes", 1, {}, compiled, frozenset())
        self.state: Any = None
        self.version = 0
        self.now_ms = _NOW_MS

    def decide(self, command: Any, teller: str = "") -> list[Event]:
        """Decide and evolve one command, as the engine does."""
        source = TELLING_SOURCE if teller else "operators"
        facts = Facts(
            self.now_ms, self.now_ms, self.stream, self.definition, self.version,
            source=source, command_id=f"{teller}/1/0",
        )  # fmt: skip
        events = list(QUEUE.decide(self.state, command, facts))
        for event in events:
            self.state = QUEUE.evolve(self.state, event)
        self.version += len(events)
        return events

    def enter(self, participant: str) -> list[Event]:
        return self.decide(QUEUE.parse("enter", {}), f"acme/c/{participant}/experience:shoes")


def _names(count: int) -> Iterator[str]:
    return (f"customer-{number:012d}" for number in range(count))


def _resident_bytes() -> int:
    with open("/proc/self/statm", encoding="ascii") as statm:  # noqa: PTH123
        return int(statm.read().split()[1]) * 4_096


def _seconds(work: Any) -> float:
    start = process_time()
    work()
    return process_time() - start


def run(people: int) -> dict[str, float]:
    """All figures of a queue of so many people."""
    figures: dict[str, float] = {}
    bench = Bench(_PART)
    bench.enter("first")
    start = process_time()
    for name in _names(people // 10):
        bench.enter(name)
    figures["enters_per_second"] = people / 10 / (process_time() - start)

    ids = list(_names(people))
    log = [msgspec.json.encode(event) for event in _log(ids)]
    decoders = [msgspec.json.Decoder(type(event)) for event in _log(ids[:1])]
    before = _resident_bytes()
    start = process_time()
    state: Any = None
    for index, stored in enumerate(log):
        state = QUEUE.evolve(state, decoders[min(index, 1)].decode(stored))
    figures["rebuild_s"] = process_time() - start
    id_bytes = sys.getsizeof(ids[0])  # each decoded event brings its id's text anew
    figures["bytes_each_beyond_id"] = (_resident_bytes() - before) / people - id_bytes
    del log

    figures["opening_s"] = _seconds(lambda: state.evolve(QueueOpened(state.room, _NOW_MS, _SECRET)))
    bench = Bench(_PART | _PRE_QUEUE)
    bench.enter("first")
    bench.state, bench.now_ms = state, _NOW_MS + 60_000
    figures["positions_us"] = _seconds(lambda: _positions(state, ids)) / 10_000 * 1e6
    figures["now_serving_ms"] = _seconds(lambda: now_serving(state)) * 1e3
    figures["now_serving_bytes"] = len(msgspec.json.encode(now_serving(state)))
    admissions = []
    for _ in range(10):
        admissions.append(_seconds(lambda: bench.decide(TimerFired("tick", bench.now_ms))) * 1e3)
        bench.now_ms += 1_000
    assert len(state.admissions.live) == 10_000
    figures["admit_1000_ms"] = median(admissions)
    figures["admit_1000_worst_ms"] = max(admissions)
    return figures


def _log(ids: list[str]) -> Iterator[Event]:
    """The events of a pre-queue that all of these enter."""
    bench = Bench(_PART | _PRE_QUEUE)
    prepared = bench.enter(ids[0])
    yield from (event for event in prepared if event.NAME == "queue.prepared.v1")
    entered = next(event for event in prepared if event.NAME == "queue.entered.v1")
    yield from (
        msgspec.structs.replace(entered, participant=participant, ticket=index + 1)
        for index, participant in enumerate(ids)
    )


def _positions(state: QueueState, ids: list[str]) -> None:
    step = max(1, len(ids) // 10_000)
    for participant in ids[::step][:10_000]:
        assert position(state, participant) is not None


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=1_000_000)
    print(
        json.dumps({name: round(seen, 3) for name, seen in run(parser.parse_args().people).items()}, indent=2)
    )
