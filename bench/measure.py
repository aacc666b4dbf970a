"""What broker and database saw: append times of commands and outcomes, how far followers are."""

import time
from typing import NamedTuple

import orjson
import psycopg
from confluent_kafka import Consumer, TopicPartition
from psycopg import sql

_IDLE_S = 60.0
_POLL_S = 0.1


class Rates(NamedTuple):
    """Throughput of a burst, by the broker's clock on the outcomes."""

    per_second: float
    seconds: float


class Latencies(NamedTuple):
    """Append of the command to append of its outcome, in milliseconds."""

    p50_ms: float
    p99_ms: float
    worst_ms: float


class Watcher:
    """Reads a topic from now on; the append time (ms) of each record by the id in its JSON."""

    def __init__(self, bootstrap: str, topic: str, partitions: int, field: str) -> None:
        self._field = field
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": f"bench-{topic}",
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "fetch.wait.max.ms": 20,
                "log_level": 0,
            }
        )
        self._from = [
            TopicPartition(
                topic, n, self._consumer.get_watermark_offsets(TopicPartition(topic, n), timeout=10)[1]
            )
            for n in range(partitions)
        ]
        self._consumer.assign(self._from)
        self._consumer.pause(self._from)  # nothing is fetched before `take`

    def await_records(self, count: int) -> None:
        """Wait until the topic grew by `count` records, asking for its ends alone: reading would cost the contender CPU.

        Raises TimeoutError when it doesn't grow for a minute.
        """
        grown, last = -1, time.monotonic()
        while True:
            now = sum(
                self._consumer.get_watermark_offsets(TopicPartition(p.topic, p.partition), timeout=10)[1]
                - p.offset
                for p in self._from
            )
            if now >= count:
                return
            if now > grown:
                grown, last = now, time.monotonic()
            elif time.monotonic() - last > _IDLE_S:
                raise TimeoutError(f"{now} of {count} records came, then none for {_IDLE_S:.0f} s")
            time.sleep(_POLL_S)

    def take(self, count: int, tag: str) -> dict[str, int]:
        """Read until `count` records whose id begins with the tag came: timers and effects have outcomes too.

        Raises TimeoutError when nothing comes for a minute.
        """
        self._consumer.resume(self._from)
        seen: dict[str, int] = {}
        last = time.monotonic()
        while len(seen) < count:
            messages = self._consumer.consume(num_messages=5_000, timeout=1.0)
            for message in messages:
                if message.error() is None:
                    name = orjson.loads(message.value() or b"{}")[self._field]
                    if name.startswith(tag):
                        seen[name] = message.timestamp()[1]
            if messages:
                last = time.monotonic()
            elif time.monotonic() - last > _IDLE_S:
                raise TimeoutError(f"{len(seen)} of {count} records came, then none for {_IDLE_S:.0f} s")
        return seen

    def close(self) -> None:
        self._consumer.close()


def rates(outcomes: dict[str, int]) -> Rates:
    """Over the middle nine tenths, so that neither start-up nor the last straggler counts."""
    times = sorted(outcomes.values())
    low, high = times[len(times) // 20], times[-(len(times) // 20) - 1]
    seconds = max(0.001, (high - low) / 1000)
    return Rates(len(times) * 0.9 / seconds, seconds)


def rate_between(outcomes: dict[str, int], from_ms: int, to_ms: int) -> float:
    """Outcomes a second that the broker got between two instants."""
    return sum(from_ms <= at_ms < to_ms for at_ms in outcomes.values()) / ((to_ms - from_ms) / 1000)


def latencies(commands: dict[str, int], outcomes: dict[str, int]) -> Latencies:
    """Percentiles over all commands of a steady load, its first second left out as warm-up."""
    begun = min(commands.values()) + 1_000
    spans = sorted(outcomes[i] - t for i, t in commands.items() if t >= begun)
    return Latencies(spans[len(spans) // 2], spans[int(len(spans) * 0.99)], spans[-1])


def followed(dsn: str, lanes: int) -> bool:
    """Whether everything in the logs was published and saved: what comes then can be measured alone."""
    query = (
        "SELECT bool_and(f.at >= l.at) FROM {0}.positions f, {0}.positions l WHERE l.name = 'log'"
        " AND f.name IN ('out:publisher', 'out:exactly_once', 'out:journeys')"
    )
    with psycopg.connect(dsn) as connection:
        rows = [
            connection.execute(sql.SQL(query).format(sql.Identifier(f"lane_{lane:03d}"))).fetchone()
            for lane in range(lanes)
        ]
    return all(row and row[0] for row in rows)
