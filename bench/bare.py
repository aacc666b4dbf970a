"""Contender b: a pipeline without domain logic, as quick as these libraries allow.

Consume, count per key in memory, one binary insert and the position in one transaction, publish an outcome each.
"""

import asyncio
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from struct import Struct
from typing import Any

import msgspec
import orjson
import psycopg
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_ROW = Struct("!hiqi")  # 2 fields; the sequence; the length of the state
_TABLES = """
CREATE TABLE IF NOT EXISTS bare_{lane} (seq bigint PRIMARY KEY, state bytea NOT NULL);
CREATE TABLE IF NOT EXISTS bare_position (lane integer PRIMARY KEY, at bigint NOT NULL);
"""


class Event(msgspec.Struct):
    """What the pipeline reads of a command."""

    type: str
    idempotencyKey: str  # noqa: N815  its name on the wire


class BareLane:
    """One partition."""

    def __init__(self, lane: int, dsn: str) -> None:
        self._connection = psycopg.connect(dsn, autocommit=True)
        for statement in _TABLES.format(lane=lane).split(";"):
            if statement.strip():
                self._connection.execute(statement)  # type: ignore[call-overload]
        self._connection.execute("INSERT INTO bare_position VALUES (%s, -1) ON CONFLICT DO NOTHING", (lane,))
        row = self._connection.execute("SELECT at FROM bare_position WHERE lane = %s", (lane,)).fetchone()
        assert row is not None
        self.lane, self.at = lane, int(row[0])
        self._state: dict[bytes, int] = {}

    def decide(
        self, records: list[Any]
    ) -> tuple[bytearray, list[tuple[bytes, bytes, list[tuple[str, bytes]]]]]:
        """Rows for COPY and outcomes for the topic."""
        rows, outs = bytearray(_HEADER), []
        decode, state = msgspec.json.Decoder(Event).decode, self._state
        for record in records:
            event = decode(record.value)
            count = state[record.key] = state.get(record.key, 0) + 1
            stored = orjson.dumps({"type": event.type, "id": event.idempotencyKey, "count": count})
            rows += _ROW.pack(2, 8, record.offset, len(stored))
            rows += stored
            outs.append((record.key, stored, [("ce_id", event.idempotencyKey.encode())]))
        rows += b"\xff\xff"
        return rows, outs

    def commit(self, rows: bytearray, to: int) -> None:
        with self._connection.transaction(), self._connection.cursor() as cursor:
            moved = cursor.execute(
                "UPDATE bare_position SET at = %s WHERE lane = %s AND at = %s", (to, self.lane, self.at)
            ).rowcount
            if moved != 1:
                raise RuntimeError("fenced")
            with cursor.copy(f"COPY bare_{self.lane} (seq, state) FROM STDIN (FORMAT BINARY)") as copy:  # type: ignore[arg-type]
                copy.write(bytes(rows))
        self.at = to


async def run(bootstrap: str, dsn: str, topic: str, out: str, lanes: int) -> None:
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
    partitions = [TopicPartition(topic, n) for n in range(lanes)]
    consumer.assign(partitions)
    pool = ThreadPoolExecutor(max_workers=lanes)
    for partition in partitions:
        consumer.seek(partition, 0)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asyncio.gather(
        *(_lane(BareLane(p.partition, dsn), p, consumer, producer, out, pool) for p in partitions)
    )


async def _lane(
    lane: BareLane,
    partition: TopicPartition,
    consumer: AIOKafkaConsumer,
    producer: AIOKafkaProducer,
    out: str,
    pool: ThreadPoolExecutor,
) -> None:
    loop = asyncio.get_running_loop()
    consumer.seek(partition, lane.at + 1)
    while True:
        got = await consumer.getmany(partition, timeout_ms=200, max_records=2_000)
        for records in got.values():
            rows, outs = lane.decide(records)
            await loop.run_in_executor(pool, lane.commit, rows, records[-1].offset)
            batch = producer.create_batch()
            for key, value, headers in outs:
                if batch.append(timestamp=None, key=key, value=value, headers=headers) is None:
                    await producer.send_batch(batch, out, partition=partition.partition)
                    batch = producer.create_batch()
                    batch.append(timestamp=None, key=key, value=value, headers=headers)
            await (await producer.send_batch(batch, out, partition=partition.partition))


if __name__ == "__main__":
    asyncio.run(
        run(
            os.environ["KAFKA_BOOTSTRAP_SERVERS"],
            os.environ["DATABASE_URL"],
            os.environ["BENCH_TOPIC"],
            os.environ["BENCH_OUT"],
            int(os.environ["ORCHESTRATOR_LANES"]),
        )
    )
