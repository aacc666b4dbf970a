"""Commands for the contenders: raw shop events of many customers, published as a burst or at a steady rate."""

import random
import time
from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate
from typing import Any, NamedTuple

import orjson
from confluent_kafka import Producer

_TYPES = (
    ("PRODUCT_VIEWED",) * 12
    + ("ITEM_ADDED_TO_CART",) * 4
    + ("CHECKOUT_STARTED",) * 2
    + ("PAYMENT_STARTED", "EMAIL_OPENED")
)
_ZIPF_EXPONENT = 1.1


class Keys(NamedTuple):
    """How commands spread over journeys."""

    distribution: str  # uniform or zipf
    journeys: int


def events(keys: Keys, commands: int, seed: int, tag: str) -> Iterator[tuple[str, bytes, bytes]]:
    """(id, Kafka key, raw event in JSON), all of this minute: older ones would find inactivity timers due already."""
    rng = random.Random(seed)
    begun_ms = int(time.time() * 1000)
    draw = _drawer(keys, rng)
    for n in range(commands):
        event_type = _TYPES[rng.randrange(len(_TYPES))]
        yield _event(f"{tag}-{n}", f"customer-{draw()}", event_type, begun_ms + n // 100, n)


def newcomers(first: int, count: int) -> Iterator[tuple[str, bytes, bytes]]:
    """One event each of customers nobody has seen before."""
    begun_ms = int(time.time() * 1000)
    for n in range(first, first + count):
        yield _event(f"newcomer-{n}", f"newcomer-{n}", _TYPES[0], begun_ms, n)


def _event(event_id: str, customer: str, event_type: str, at_ms: int, n: int) -> tuple[str, bytes, bytes]:
    event = {
        "eventId": event_id,
        "userId": customer,
        "sessionId": f"s-{n % 1000}",
        "type": event_type,
        "payload": {"sku": f"sku-{n % 997}", "price": n % 100},
        "timestamp": at_ms,
        "idempotencyKey": event_id,
    }
    return event_id, f"default/c/{customer}".encode(), orjson.dumps(event)


def _drawer(keys: Keys, rng: random.Random) -> Any:
    if keys.distribution == "uniform":
        return lambda: rng.randrange(keys.journeys)
    weights = list(accumulate(1 / (rank**_ZIPF_EXPONENT) for rank in range(1, keys.journeys + 1)))
    return lambda: bisect_left(weights, rng.random() * weights[-1])


def producer(bootstrap: str) -> Producer:
    """A quick C producer with Kafka's own partitioner."""
    return Producer(
        {
            "bootstrap.servers": bootstrap,
            "partitioner": "murmur2_random",
            "linger.ms": 2,
            "queue.buffering.max.messages": 1_000_000,
            "batch.num.messages": 5_000,
            "enable.idempotence": True,
        }
    )


def burst(bootstrap: str, topic: str, made: list[tuple[str, bytes, bytes]]) -> None:
    """Publish everything as fast as the broker takes it, and wait for it."""
    out = producer(bootstrap)
    for _, key, value in made:
        while True:
            try:
                out.produce(topic, value, key)
                break
            except BufferError:
                out.poll(0.05)
    if out.flush(120):
        raise TimeoutError("the broker did not take the burst in 120 s")


def steady(bootstrap: str, topic: str, made: list[tuple[str, bytes, bytes]], rate: float) -> None:
    """Publish at `rate` a second, in ticks of 5 ms, from when the broker answers: else the load begins with a burst."""
    out = producer(bootstrap)
    _, key, value = made[0]
    out.produce(topic, value, key)
    if out.flush(30):
        raise TimeoutError("the broker did not take the first of the load in 30 s")
    begun, sent = time.perf_counter(), 1
    while sent < len(made):
        due = min(len(made), int((time.perf_counter() - begun) * rate) + 1)
        for _, key, value in made[sent:due]:
            out.produce(topic, value, key)
        sent = due
        out.poll(0)
        time.sleep(0.005)
    if out.flush(120):
        raise TimeoutError("the broker did not take the load in 120 s")
