r"""Publish one command and wait for its outcome, with confluent-kafka (librdkafka).

KAFKA_BOOTSTRAP_SERVERS=localhost:9094 python publish.py [--source NAME] [--timeout-s 30] \
    ORGANIZATION CUSTOMER JOURNEY TYPE ID [DATA]

JOURNEY reads kind:definition, such as lifecycle:shop. Prints the outcome as one line of JSON.
Exit codes: 0 an outcome came, 1 none came in time, 2 wrong usage.
"""

import argparse
import json
import os
import sys
import time
from typing import Any
from urllib.parse import quote

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

COMMANDS = os.environ.get("COMMANDS_TOPIC", "journeys.commands")
OUTCOMES = os.environ.get("OUTCOMES_TOPIC", "journeys.outcomes")
SERVERS = os.environ.get("KAFKA_BOOTSTRAP_SERVERS", "localhost:9094")


def owner_of(organization: str, customer: str) -> str:
    """The record's key: each segment percent-encoded, all but letters, digits and `-._~`."""
    return f"{quote(organization, safe='')}/c/{quote(customer, safe='')}"


def outcomes_from_now(timeout_s: float) -> Consumer:
    """A consumer of every outcome written from this moment on. A service that runs for long joins a group instead."""
    consumer = Consumer(
        {
            "bootstrap.servers": SERVERS,
            "log_level": 2,
            "group.id": "unused: partitions are assigned by hand and nothing is committed",
            "enable.auto.commit": False,
            "auto.offset.reset": "error",
        }
    )
    topic = consumer.list_topics(OUTCOMES, timeout=timeout_s).topics[OUTCOMES]
    if topic.error is not None:
        raise KafkaException(topic.error)
    ends = []
    for partition in topic.partitions:
        _, end = consumer.get_watermark_offsets(TopicPartition(OUTCOMES, partition), timeout=timeout_s)
        ends.append(TopicPartition(OUTCOMES, partition, end))
    consumer.assign(ends)
    return consumer


def publish(command: argparse.Namespace) -> None:
    """Send the command and wait until the broker has it. Repeating it after a failure is safe: its id is its key."""
    failures: list[KafkaError] = []

    def delivered(error: KafkaError | None, _: Message) -> None:
        if error is not None:
            failures.append(error)

    producer = Producer(
        {
            "bootstrap.servers": SERVERS,
            "log_level": 2,
            # The lane is Kafka's own hash of the key. librdkafka's default hashes with CRC32 and would miss it.
            "partitioner": "murmur2_random",
            "enable.idempotence": True,
            "delivery.timeout.ms": int(command.timeout_s * 1000),
        }
    )
    owner = owner_of(command.organization, command.customer)
    producer.produce(
        COMMANDS,
        key=owner,
        value=json.dumps(command.data),
        headers={
            "ce_specversion": "1.0",
            "ce_id": command.id,
            "ce_source": command.source,
            "ce_type": command.type,
            "ce_subject": f"{owner}/{command.journey}",
            "content-type": "application/json",
        },
        on_delivery=delivered,
    )
    waiting = producer.flush(command.timeout_s)
    if failures or waiting:
        raise KafkaException(*failures)


def wait_for_outcome(consumer: Consumer, command: argparse.Namespace, until: float) -> dict[str, Any] | None:
    """The outcome of (source, id) or None when it doesn't come in time."""
    while (left := until - time.monotonic()) > 0:
        message = consumer.poll(min(left, 1.0))
        if message is None:
            continue
        if (error := message.error()) is not None:
            raise KafkaException(error)
        outcome: dict[str, Any] = json.loads(message.value() or b"{}")
        if (outcome.get("source"), outcome.get("id")) == (command.source, command.id):
            return outcome
    return None


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("organization")
    parser.add_argument("customer", help="an opaque id, no e-mail address")
    parser.add_argument("journey", help="kind:definition, such as lifecycle:shop")
    parser.add_argument("type", help="the command's type")
    parser.add_argument("id", help="the command's idempotency key, unique in its source")
    parser.add_argument("data", type=json.loads, nargs="?", default={}, help="a JSON object")
    parser.add_argument("--source", default="example-client")
    parser.add_argument("--timeout-s", type=float, default=30.0)
    command = parser.parse_args()

    until = time.monotonic() + command.timeout_s
    try:
        consumer = outcomes_from_now(
            command.timeout_s
        )  # before publishing, so that a quick outcome isn't missed
        try:
            publish(command)
            outcome = wait_for_outcome(consumer, command, until)
        finally:
            consumer.close()
    except KafkaException as failure:
        print(f"no outcome of {command.source} {command.id} from {SERVERS}: {failure}", file=sys.stderr)
        return 1
    if outcome is None:
        print(f"no outcome of {command.source} {command.id} within {command.timeout_s} s", file=sys.stderr)
        return 1
    print(json.dumps(outcome))
    return 0


if __name__ == "__main__":
    sys.exit(main())
