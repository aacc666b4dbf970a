"""Contender c: a plain application of the event sourcing library, one command a transaction, then its outcome."""

import asyncio
import os
import sys
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from eventsourcing.application import AggregateNotFoundError, Application
from eventsourcing.domain import Aggregate, event
from psycopg import conninfo


class Journey(Aggregate):  # type: ignore[misc]
    """The same counters as the shop's journey."""

    def __init__(self, customer: str) -> None:
        self.customer = customer
        self.counts: dict[str, int] = {}
        self.keys: list[str] = []

    @staticmethod
    def create_id(customer: str) -> UUID:
        return uuid5(NAMESPACE_URL, customer)

    @event("Happened")
    def happen(self, type: str, key: str) -> None:
        self.counts[type] = self.counts.get(type, 0) + 1
        self.keys.append(key)


class Journeys(Application[UUID]):
    """Decide one raw event."""

    def handle(self, raw: dict[str, Any]) -> int:
        try:
            journey: Journey = self.repository.get(Journey.create_id(raw["userId"]))
        except AggregateNotFoundError:
            journey = Journey(raw["userId"])
        if raw["idempotencyKey"] not in journey.keys:
            journey.happen(raw["type"], raw["idempotencyKey"])
            self.save(journey)
        return int(journey.version)


async def run(bootstrap: str, dsn: str, topic: str, out: str, lanes: int) -> None:
    """Until ended."""
    parts = conninfo.conninfo_to_dict(dsn)
    journeys = Journeys(
        env={
            "PERSISTENCE_MODULE": "eventsourcing.postgres",
            "POSTGRES_DBNAME": str(parts["dbname"]),
            "POSTGRES_HOST": str(parts["host"]),
            "POSTGRES_PORT": str(parts["port"]),
            "POSTGRES_USER": str(parts["user"]),
            "POSTGRES_PASSWORD": str(parts.get("password", "")),
            "AGGREGATE_CACHE_MAXSIZE": "100000",
        }
    )
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False)
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", enable_idempotence=True)
    await consumer.start()
    await producer.start()
    partitions = [TopicPartition(topic, n) for n in range(lanes)]
    consumer.assign(partitions)
    await consumer.seek_to_beginning()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while True:
        got = await consumer.getmany(timeout_ms=200, max_records=200)
        for partition, records in got.items():
            for record in records:
                raw = orjson.loads(record.value)
                version = await asyncio.to_thread(journeys.handle, raw)
                value = orjson.dumps({"id": raw["idempotencyKey"], "revision": version})
                await producer.send(out, value, key=record.key, partition=partition.partition)


if __name__ == "__main__":
    asyncio.run(
        run(
            os.environ["KAFKA_BOOTSTRAP_SERVERS"],
            os.environ["DATABASE_URL"],
            os.environ["BENCH_RAW"],
            os.environ["BENCH_OUTCOMES"],
            int(os.environ["ORCHESTRATOR_LANES"]),
        )
    )
