"""Contender b: a pipeline without domain logic, as quick as these libraries allow.

Consume, count per key in memory, one binary insert and the position in one transaction, publish. In two sizes: `small`
keeps and publishes some 60 bytes a command. `full` does the engine's input and output: an event of the engine's size in
a table of the engine's shape, and on Kafka the event, the outcome, and a snapshot of every key a batch touched.
"""

import asyncio
import gc
import os
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from struct import Struct
from typing import Any, NamedTuple
from uuid import NAMESPACE_URL, UUID, uuid5

import msgspec
import psycopg
import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_TRAILER = b"\xff\xff"
_SMALL_ROW = Struct("!hiqi")  # 2 fields; the sequence; the length of the state
_FULL_ROW = Struct("!hi16siqi5siqi")  # 5 fields; stream, version, name, sequence; the length of the state
_TABLES = """
CREATE TABLE IF NOT EXISTS small_{lane} (seq bigint PRIMARY KEY, state bytea NOT NULL);
CREATE TABLE IF NOT EXISTS full_{lane} (
    stream_id uuid NOT NULL, version bigint NOT NULL, name text, seq bigint, state bytea, PRIMARY KEY (stream_id, version)
);
CREATE UNIQUE INDEX IF NOT EXISTS full_seq_{lane} ON full_{lane} (seq);
CREATE TABLE IF NOT EXISTS position_{lane} (at bigint NOT NULL, one boolean PRIMARY KEY DEFAULT true CHECK (one));
"""
_encode = msgspec.json.Encoder().encode
Headers = list[tuple[str, bytes]]


class Event(msgspec.Struct):
    """What the pipeline reads of a command."""

    type: str
    idempotencyKey: str  # noqa: N815  its name on the wire
    sessionId: str  # noqa: N815
    timestamp: int
    payload: dict[str, Any]


class Out(NamedTuple):
    """A record to send."""

    key: bytes
    value: bytes
    headers: Headers


class Counted:
    """A key's state: how often it came, of each type."""

    __slots__ = ("count", "last_ms", "stream", "types")

    def __init__(self, key: bytes) -> None:
        self.stream: UUID = uuid5(NAMESPACE_URL, key.decode())
        self.count = 0
        self.last_ms = 0
        self.types: dict[str, int] = {}


class BareLane:
    """One partition."""

    def __init__(self, lane: int, dsn: str, *, full: bool) -> None:
        self._connection = psycopg.connect(dsn, autocommit=True)
        for statement in _TABLES.format(lane=lane).split(";"):
            if statement.strip():
                self._connection.execute(statement)  # type: ignore[call-overload]
        self._connection.execute(f"INSERT INTO position_{lane} VALUES (-1) ON CONFLICT DO NOTHING")  # type: ignore[call-overload]
        row = self._connection.execute(f"SELECT at FROM position_{lane}").fetchone()  # type: ignore[call-overload]
        assert row is not None
        self.lane, self.at = lane, int(row[0])
        self.decide = self._full if full else self._small
        columns = (
            f"full_{lane} (stream_id, version, name, seq, state)" if full else f"small_{lane} (seq, state)"
        )
        self._copy = f"COPY {columns} FROM STDIN (FORMAT BINARY)"
        self._move = f"UPDATE position_{lane} SET at = %s WHERE at = %s"
        self._keys: dict[bytes, Counted] = {}
        self._decode = msgspec.json.Decoder(Event).decode

    def _small(self, records: list[Any]) -> tuple[bytes, dict[str, list[Out]]]:
        """Rows for COPY and records by topic."""
        rows, outs = bytearray(_HEADER), []
        for record in records:
            event = self._decode(record.value)
            key = self._key(record.key)
            key.count += 1
            stored = _encode({"type": event.type, "id": event.idempotencyKey, "count": key.count})
            rows += _SMALL_ROW.pack(2, 8, record.offset, len(stored))
            rows += stored
            outs.append(Out(record.key, stored, [("ce_id", event.idempotencyKey.encode())]))
        rows += _TRAILER
        return bytes(rows), {"outcomes": outs}

    def _full(self, records: list[Any]) -> tuple[bytes, dict[str, list[Out]]]:
        """Rows for COPY and records by topic, each as large as the engine's."""
        rows = bytearray(_HEADER)
        outcomes: list[Out] = []
        events: list[Out] = []
        touched: dict[bytes, Counted] = {}
        for record in records:
            event = self._decode(record.value)
            name, text = record.key, record.key.decode()
            key = touched[name] = self._key(name)
            key.count += 1
            key.last_ms = event.timestamp
            key.types[event.type] = key.types.get(event.type, 0) + 1
            event_id = f"{text}/{key.count}"
            data = {
                "type": event.type,
                "count": key.count,
                "payload": event.payload,
                "session": event.sessionId,
            }
            stored = _encode(
                {
                    "stream": text, "source": "user-interactions", "id": event.idempotencyKey, "at_ms": record.timestamp,
                    "occurred_ms": event.timestamp, "type": event.type, "data": data,
                }
            )  # fmt: skip
            rows += _FULL_ROW.pack(
                5, 16, key.stream.bytes, 8, record.offset, 5, b"event", 8, record.offset, len(stored)
            )
            rows += stored
            made = _headers(event_id, b"outcome", name)
            outcome = {
                "outcome": "applied", "source": "user-interactions", "id": event.idempotencyKey, "stream": text,
                "revision": key.count, "duplicate": False,
            }  # fmt: skip
            outcomes.append(Out(name, _encode(outcome), made))
            caused = [("ce_causesource", b"user-interactions"), ("ce_causeid", event.idempotencyKey.encode())]
            events.append(Out(name, _encode(data), _headers(event_id, b"event", name) + caused))
        rows += _TRAILER
        snapshots = [
            Out(
                name,
                _encode(
                    {
                        "stream": name.decode(),
                        "revision": key.count,
                        "updatedMs": key.last_ms,
                        "view": key.types,
                    }
                ),
                _headers(f"{name.decode()}/{key.count}", b"snapshot", name),
            )
            for name, key in touched.items()
        ]
        return bytes(rows), {"outcomes": outcomes, "events": events, "snapshots": snapshots}

    def _key(self, name: bytes) -> Counted:
        key = self._keys.get(name)
        if key is None:
            key = self._keys[name] = Counted(name)
        return key

    def commit(self, rows: bytes, to: int) -> None:
        with self._connection.transaction(), self._connection.cursor() as cursor:
            moved = cursor.execute(self._move, (to, self.at)).rowcount  # type: ignore[call-overload]
            if moved != 1:
                raise RuntimeError("fenced")
            with cursor.copy(self._copy) as copy:  # type: ignore[call-overload]
                copy.write(rows)
        self.at = to


def _headers(event_id: str, kind: bytes, subject: bytes) -> Headers:
    return [
        ("ce_specversion", b"1.0"), ("ce_id", event_id.encode()), ("ce_source", b"bare"), ("ce_type", kind),
        ("ce_subject", subject), ("content-type", b"application/json"),
    ]  # fmt: skip


async def run(bootstrap: str, dsn: str, topics: Mapping[str, str], lanes: range, *, full: bool) -> None:
    """Until ended."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        enable_auto_commit=False,
        max_partition_fetch_bytes=2 << 20,
        fetch_max_wait_ms=200,
    )
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap, acks="all", enable_idempotence=True, max_batch_size=1 << 20
    )
    await consumer.start()
    await producer.start()
    partitions = [TopicPartition(topics["raw"], n) for n in lanes]
    consumer.assign(partitions)
    pool = ThreadPoolExecutor(max_workers=len(lanes))
    for partition in partitions:
        consumer.seek(partition, 0)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asyncio.gather(
        *(
            _lane(BareLane(p.partition, dsn, full=full), p, consumer, producer, topics, pool)
            for p in partitions
        )
    )


async def _lane(
    lane: BareLane,
    partition: TopicPartition,
    consumer: AIOKafkaConsumer,
    producer: AIOKafkaProducer,
    topics: Mapping[str, str],
    pool: ThreadPoolExecutor,
) -> None:
    loop = asyncio.get_running_loop()
    consumer.seek(partition, lane.at + 1)
    while True:
        got = await consumer.getmany(partition, timeout_ms=200, max_records=1_000)
        for records in got.values():
            rows, outs = lane.decide(records)
            await loop.run_in_executor(pool, lane.commit, rows, records[-1].offset)
            await asyncio.gather(*(_send(producer, topics[n], lane.lane, o) for n, o in outs.items()))


async def _send(producer: AIOKafkaProducer, topic: str, partition: int, outs: list[Out]) -> None:
    batch = producer.create_batch()
    for key, value, headers in outs:
        if batch.append(timestamp=None, key=key, value=value, headers=headers) is None:
            await producer.send_batch(batch, topic, partition=partition)
            batch = producer.create_batch()
            batch.append(timestamp=None, key=key, value=value, headers=headers)
    await (await producer.send_batch(batch, topic, partition=partition))


if __name__ == "__main__":
    gc.freeze()
    gc.set_threshold(50_000, 50, 100)  # as the engine's worker does
    _share, _, _shares = os.environ["BENCH_SHARE"].partition("/")
    uvloop.run(
        run(
            os.environ["KAFKA_BOOTSTRAP_SERVERS"],
            os.environ["DATABASE_URL"],
            {
                name: os.environ[f"BENCH_{name.upper()}"]
                for name in ("raw", "events", "outcomes", "snapshots")
            },
            range(int(_share), int(os.environ["ORCHESTRATOR_LANES"]), int(_shares)),
            full=os.environ["BENCH_OUTPUT"] == "full",
        )
    )
