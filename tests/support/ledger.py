"""A producer that keeps books: commands with known keys, published through whatever happens to the broker."""

import logging
import random
import threading
from collections import Counter
from typing import Any, NamedTuple, Self

import orjson
import psycopg
from confluent_kafka import KafkaError, Message, Producer

from orchestrator.core.addresses import lane_of

SOURCE = "ledger"
RAW_SOURCE = "user-interactions"
RAW_TYPE = "view"
DEFINITION = {"events": [RAW_TYPE]}
_REPEATED, _FAR, _CONFLICTING, _STRAY = 0.2, 0.5, 0.005, 0.005
_RECENT = 50
_IN_FLIGHT = 5_000
_SLICE = 10
SILENT = logging.getLogger("ledger")
SILENT.disabled = True
_FLUSH_S = 240.0


Headers = dict[str, str | bytes | None]


class Entry(NamedTuple):
    """One key of the books. `source` and `id` are its key; the stream is the owner's toy journey."""

    source: str
    id: str
    owner: str
    type: str  # add | ask | view (a raw event)
    n: int

    @property
    def stream(self) -> str:
        return f"{self.owner}/toy:t"

    @property
    def outcome(self) -> str:
        return "rejected" if self.type == "add" and self.n < 0 else "applied"


class Ledger:
    """`publish` sends; `entries` and `conflicts` are what the audit compares with. Reproducible by its seed."""

    def __init__(self, bootstrap: str, *, topic_prefix: str, lanes: int, owners: int, seed: int) -> None:
        self.entries: list[Entry] = []
        self.conflicts: Counter[tuple[str, str]] = Counter()
        self.published = 0
        self._strays: set[str] = set()
        self._random = random.Random(seed)
        self._lanes = lanes
        self._owners = [f"org-{i % 3}/c/cus-{i}" for i in range(owners)]
        self._commands = f"{topic_prefix}journeys.commands"
        self._raw = f"{topic_prefix}user-interactions"
        self._failures: list[KafkaError] = []
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "enable.idempotence": True,
                "partitioner": "murmur2_random",
                "message.timeout.ms": int(_FLUSH_S * 1000),  # librdkafka tries again, in order, until then
                "linger.ms": 5,
                "reconnect.backoff.max.ms": 1_000,
            },
            logger=SILENT,  # brokers come and go here
        )

    def publish(self, count: int) -> None:
        """Send `count` messages and wait for the broker to have them all. Raises when it never took one."""
        goal = self.published + count
        while self.published < goal:
            self.send()
        self.flush()

    def publish_for(self, owner: str, count: int) -> None:
        """The same for one owner: plain additions."""
        for _ in range(count):
            entry = Entry(SOURCE, f"add-{len(self.entries)}", owner, "add", 1)
            self.entries.append(entry)
            self._send(entry)
        self.flush()

    def send(self) -> None:
        """One more message, soon; waits while many are unacknowledged."""
        self._send_next()
        self._producer.poll(0)
        while len(self._producer) > _IN_FLIGHT:
            self._producer.poll(0.05)

    def flush(self) -> None:
        """Until the broker has everything. Raises AssertionError when it refused or never took something."""
        left = self._producer.flush(_FLUSH_S)
        assert left == 0, f"{left} messages were never acknowledged"
        assert not self._failures, f"the broker refused {len(self._failures)} messages: {self._failures[0]}"

    def _send_next(self) -> None:
        chance = self._random.random()
        if self.entries and chance < _REPEATED:
            self._send(self._repeated())
        elif self.entries and chance < _REPEATED + _CONFLICTING:
            self._send_conflict()
        else:
            entry = self._new()
            self.entries.append(entry)
            stray = self._random.random() < _STRAY
            if stray:
                self._strays.add(entry.id)
            self._send(entry, stray=stray)

    def _new(self) -> Entry:
        owner = self._random.choice(self._owners)
        number = len(self.entries)
        chance = self._random.random()
        if chance < 0.1:
            return Entry(RAW_SOURCE, f"raw-{number}", owner, RAW_TYPE, self._random.randint(1, 9))
        if chance < 0.15:
            return Entry(SOURCE, f"ask-{number}", owner, "ask", 0)
        sign = -1 if chance < 0.18 else 1
        return Entry(SOURCE, f"add-{number}", owner, "add", sign * self._random.randint(1, 9))

    def _repeated(self) -> Entry:
        if self._random.random() < _FAR:
            return self._random.choice(self.entries)
        return self._random.choice(self.entries[-_RECENT:])

    def _send_conflict(self) -> None:
        """The key of an earlier command with another body; behind it, unless that one went astray."""
        entry = self._random.choice(self.entries)
        if entry.type == "add" and entry.id not in self._strays:
            self.conflicts[(entry.source, entry.id)] += 1
            self._send(entry._replace(n=1_000_000))

    def _send(self, entry: Entry, *, stray: bool = False) -> None:
        key = entry.owner.encode()
        partition = lane_of(entry.owner, self._lanes)
        if stray:
            partition = (partition + 1) % self._lanes
        if entry.type == RAW_TYPE:
            topic, value = self._raw, _raw_event(entry)
            headers: Headers = {"ce_organization": entry.owner.split("/")[0]}
        else:
            topic, value, headers = self._commands, _body(entry), _command_headers(entry)
        # The partition is named only for a stray: the client's own partitioner is part of what is tested.
        where: dict[str, Any] = {"partition": partition} if stray else {}
        self._producer.produce(topic, value, key, headers=headers, on_delivery=self._delivered, **where)
        self.published += 1

    def _delivered(self, error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            self._failures.append(error)


class Traffic:
    """A ledger's publishing in a thread at a steady rate, for faults to hit it; leaving the block ends it."""

    def __init__(self, ledger: Ledger, *, per_second: float) -> None:
        self._ledger = ledger
        self._pause_s = _SLICE / per_second
        self._stop = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="ledger")

    def _run(self) -> None:
        try:
            while not self._stop.wait(self._pause_s):
                for _ in range(_SLICE):
                    self._ledger.send()
        except BaseException as error:  # noqa: BLE001  raised again by `finish`
            self._error = error

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def finish(self, at_least: int) -> None:
        """End the steady flow, top up to `at_least` messages in one go, and see all acknowledged."""
        self._stop.set()
        self._thread.join()
        if self._error is not None:
            raise self._error
        self._ledger.publish(max(0, at_least - self._ledger.published))

    def __exit__(self, *_error: object) -> None:
        self._stop.set()
        self._thread.join()


def publish_definition(dsn: str) -> None:
    """Make the toy definition known to workers."""
    with psycopg.connect(dsn) as connection:
        connection.execute(
            "INSERT INTO orchestrator.definitions (kind, id, version, document, digest) VALUES ('toy', 't', 1, %s, 'x')",
            (orjson.dumps(DEFINITION).decode(),),
        )


def _command_headers(entry: Entry) -> Headers:
    return {
        "ce_specversion": "1.0",
        "ce_id": entry.id,
        "ce_source": entry.source,
        "ce_type": entry.type,
        "ce_subject": entry.stream,
        "content-type": "application/json",
    }


def _body(entry: Entry) -> bytes:
    return orjson.dumps({"n": entry.n} if entry.type == "add" else {})


def _raw_event(entry: Entry) -> bytes:
    return orjson.dumps(
        {
            "eventId": entry.id,
            "userId": entry.owner.split("/")[2],
            "type": RAW_TYPE,
            "payload": {"n": entry.n},
            "idempotencyKey": entry.id,
        }
    )
