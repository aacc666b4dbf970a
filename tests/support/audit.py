"""The auditor: what the log, the tables and the topics hold, compared with the books and with each other.

Everything is read from the outside, with other clients than the engine's and its own fold of the toy's events.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import orjson
import psycopg
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Message, TopicPartition
from psycopg import sql

from orchestrator.core.addresses import lane_of
from tests.support.ledger import Entry, Ledger

_READ_TIMEOUT_S = 60.0
_SHOWN = 5
_LANE_PREFIX = "/lane/"


class Stored(NamedTuple):
    """One event of a lane's log, as stored."""

    lane: int
    position: int
    version: int
    name: str
    body: dict[str, Any]

    @property
    def stream(self) -> str:
        return str(self.body["stream"])

    @property
    def key(self) -> tuple[str, str]:
        return self.body["source"], self.body["id"]

    @property
    def nth(self) -> int:
        return int(self.body.get("index", 0))

    @property
    def out_of(self) -> int:
        return int(self.body.get("count", 1))


class Record(NamedTuple):
    """One record of a topic."""

    partition: int
    offset: int
    key: str
    headers: dict[str, str]
    value: dict[str, Any]

    @property
    def ce_id(self) -> str:
        return self.headers["ce_id"]


class Findings(list[str]):
    """What is wrong; empty is good."""

    def expect(self, wrong: Sequence[Any], what: str) -> None:
        """Each element of `wrong` is a case of `what`."""
        if wrong:
            shown = ", ".join(str(w) for w in wrong[:_SHOWN])
            self.append(f"{len(wrong)} × {what}: {shown}")


class Audit:
    """Reads once, then `findings` compares."""

    def __init__(self, ledger: Ledger, bootstrap: str, dsn: str, *, topic_prefix: str, lanes: int) -> None:
        self._ledger = ledger
        self._bootstrap = bootstrap
        self._prefix = topic_prefix
        self.entries: dict[tuple[str, str], Entry] = {(e.source, e.id): e for e in ledger.entries}
        with psycopg.connect(dsn) as connection:
            self.log = [stored for lane in range(lanes) for stored in _log(connection, lane)]
            self.positions = {lane: _positions(connection, lane) for lane in range(lanes)}
            self.journeys = {j[0]: j for lane in range(lanes) for j in _journeys(connection, lane)}
        self.domain = [s for s in self.log if not s.stream.startswith(_LANE_PREFIX)]

    def findings(self) -> Findings:
        """Everything that breaks a promise."""
        found = Findings()
        self._check_log(found)
        self._check_keys(found)
        self._check_outcomes(found)
        self._check_effects(found)
        self._check_events_topic(found)
        self._check_states(found)
        return found

    def topic(self, name: str) -> list[Record]:
        """Every committed record of a topic, in order within its partitions."""
        return list(read_topic(self._bootstrap, self._prefix + name))

    def _check_log(self, found: Findings) -> None:
        """Versions contiguous per stream, positions gap-free per lane, each command's events together."""
        versions: dict[str, int] = defaultdict(int)
        positions: dict[int, int] = defaultdict(int)
        gaps, holes, torn, homes = [], [], [], defaultdict(set)
        before: Stored | None = None
        for s in self.log:
            positions[s.lane] += 1
            if s.position != positions[s.lane]:
                holes.append((s.lane, positions[s.lane], s.position))
                positions[s.lane] = s.position
            versions[s.stream] += 1
            if s.version != versions[s.stream]:
                gaps.append((s.stream, versions[s.stream], s.version))
                versions[s.stream] = s.version
            if s.nth and (
                before is None or before[:1] + before.key != s[:1] + s.key or before.nth + 1 != s.nth
            ):
                torn.append((s.stream, s.version))
            before = s
            homes[s.stream].add(s.lane)
        found.expect(gaps, "stream versions not contiguous (stream, expected, found)")
        found.expect(holes, "log positions not gap-free (lane, expected, found)")
        found.expect(torn, "a command's events apart from each other")
        found.expect([h for h in homes.items() if len(h[1]) > 1], "streams in two lanes")
        ends = [
            (lane, p["log"], positions[lane])
            for lane, p in self.positions.items()
            if p["log"] != positions[lane]
        ]
        found.expect(ends, "log position and last event differ (lane, position, event)")

    def _check_keys(self, found: Findings) -> None:
        """Each key of the books decided once, with the events it must leave; nothing decided that isn't in them."""
        groups: dict[tuple[str, str], list[list[Stored]]] = defaultdict(list)
        for s in self.domain:
            if s.nth == 0:
                groups[s.key].append([])
            groups[s.key][-1].append(s)
        found.expect([k for k in self.entries if k not in groups], "keys never decided: lost")
        found.expect([k for k in groups if k not in self.entries], "keys decided that nobody published")
        found.expect([k for k, g in groups.items() if len(g) > 1], "keys decided more than once: doubled")
        starts = Counter(s.stream for s in self.domain if s.name == "journey.started.v1")
        found.expect([s for s, n in starts.items() if n > 1], "journeys started twice")
        wrong = []
        for key, entry in self.entries.items():
            names = [
                s.name for group in groups.get(key, ())[:1] for s in group if s.name != "journey.started.v1"
            ]
            if names and (names != [_left_by(entry)] or groups[key][0][0].stream != entry.stream):
                wrong.append((key, names))
        found.expect(wrong, "keys that left other events than theirs")
        found.expect(
            [s.stream for s in self.domain if s.nth + 1 > s.out_of], "events beyond their command's count"
        )
        found.expect(
            [s.body["data"]["id"] for s in self.log if s.name == "lane.dead_lettered.v1"], "dead letters"
        )

    def _check_outcomes(self, found: Findings) -> None:
        """One decided outcome a key, and one flagged duplicate for every further copy on the topics."""
        records = self.topic("journeys.outcomes")
        first: dict[str, Record] = {}
        found.expect(
            [r.ce_id for r in records if first.setdefault(r.ce_id, r).value != r.value],
            "outcome ids with two meanings",
        )
        decided: Counter[tuple[str, str]] = Counter()
        repeats: Counter[tuple[str, str]] = Counter()
        conflicts: Counter[tuple[str, str]] = Counter()
        order: dict[str, int] = defaultdict(int)
        wrong, disorder = [], []
        for r in first.values():
            key = (r.value["source"], r.value["id"])
            if r.value.get("reason") == "idempotency_conflict":
                conflicts[key] += 1
            elif r.value.get("duplicate"):
                repeats[key] += 1
            else:
                decided[key] += 1
                version = int(r.ce_id.rsplit("/", 1)[1])
                if version <= order[r.value["stream"]]:
                    disorder.append(r.ce_id)
                order[r.value["stream"]] = version
            entry = self.entries.get(key)
            if (
                entry
                and r.value.get("reason") != "idempotency_conflict"
                and r.value["outcome"] != entry.outcome
            ):
                wrong.append((r.ce_id, r.value["outcome"], entry.outcome))
        copies = self._copies()
        found.expect([k for k in self.entries if decided[k] != 1], "keys without exactly one decided outcome")
        found.expect([k for k in decided if k not in self.entries], "outcomes of unknown keys")
        found.expect(wrong, "outcomes of another kind (id, found, expected)")
        found.expect(disorder, "first copies out of the log's order")
        found.expect(
            [(k, conflicts[k], n) for k, n in self._ledger.conflicts.items() if conflicts[k] < n],
            "conflicts not refused (key, found, at least)",
        )
        off = [(k, n, decided[k] + repeats[k] + conflicts[k]) for k, n in copies.items()]
        found.expect([o for o in off if o[1] != o[2]], "outcomes not one a message (key, messages, outcomes)")

    def _copies(self) -> Counter[tuple[str, str]]:
        """How often each key stands on its own lane's partition of the topics: strays count where they were sent on to."""
        lanes = len(self.positions)
        copies: Counter[tuple[str, str]] = Counter()
        for topic in ("journeys.commands", "user-interactions"):
            for r in self.topic(topic):
                if lane_of(r.key, lanes) == r.partition:
                    copies[_key_of(r)] += 1
        return copies

    def _check_effects(self, found: Findings) -> None:
        """Exactly one committed request for each effect of the log."""
        asked = {
            f"{s.stream}/{s.body['data']['effect']}/{s.body['data'].get('attempt', 1)}"
            for s in self._named("journey.effect_requested.v1")
        }
        records = Counter(r.ce_id for r in self.topic("journeys.effects"))
        found.expect([e for e in asked if records[e] == 0], "effects never requested")
        found.expect([(e, n) for e, n in records.items() if n > 1], "effects requested more than once")
        found.expect([e for e in records if e not in asked], "effects of nobody")

    def _check_events_topic(self, found: Findings) -> None:
        """Every event reached its topic, the first copies in the log's order."""
        first = list(dict.fromkeys((r.partition, r.ce_id) for r in self.topic("journeys.events")))
        told = [
            (s.lane, f"{s.stream}/{s.version}")
            for s in self.log
            if not s.name.startswith("lane.") or s.name not in _UNTOLD
        ]
        there = set(first)
        found.expect([t for t in told if t not in there], "events not published")
        by_lane: dict[int, list[str]] = defaultdict(list)
        for lane, event_id in first:
            by_lane[lane].append(event_id)
        for lane, ids in by_lane.items():
            if ids != [e for at, e in told if at == lane]:
                found.append(f"lane {lane}: first copies of events are not the log in its order")

    def _check_states(self, found: Findings) -> None:
        """The fold of the log, the live table, the compacted topic and the books agree on every journey."""
        folded: dict[str, tuple[int, int | None]] = {}
        for s in self.domain:
            total = folded.get(s.stream, (0, None))[1]
            if s.name not in _STATELESS:
                total = (total or 0) + (s.body["data"]["n"] if s.name == "toy.added.v1" else 0)
            folded[s.stream] = (s.version, total)
        booked: Counter[str] = Counter()
        for entry in self.entries.values():
            booked[entry.stream] += entry.n if entry.outcome == "applied" else 0
        live = {
            text: (version, _total(orjson.loads(snapshot)))
            for text, version, snapshot in self.journeys.values()
        }
        topic = {r.key: _shown(r) for r in self.topic("journeys.snapshots")}
        found.expect(
            [(s, f[1], booked[s]) for s, f in folded.items() if (f[1] or 0) != booked[s]],
            "sums unlike the books",
        )
        found.expect([s for s in booked if s not in folded], "journeys missing")
        for name, other in (("table", live), ("snapshots topic", topic)):
            unlike = [(s, f, other.get(s)) for s, f in folded.items() if other.get(s) != f]
            found.expect(unlike, f"journeys whose {name} isn't the replayed state (stream, replayed, {name})")
            found.expect([s for s in other if s not in folded], f"journeys of nobody in the {name}")

    def _named(self, name: str) -> Iterator[Stored]:
        return (s for s in self.log if s.name == name)


_STATELESS = ("journey.command_rejected.v1", "journey.command_ignored.v1")
_UNTOLD = ("lane.batch_noted.v1", "lane.dead_lettered.v1", "lane.forwarded.v1")


def _total(snapshot: dict[str, Any]) -> int | None:
    return snapshot["state"]["total"] if snapshot["state"] is not None else None


def _shown(snapshot: Record) -> tuple[int, int | None]:
    """Version and total of a record of the snapshots topic; a journey without a state is a tombstone."""
    version = int(snapshot.ce_id.rsplit("/", 1)[1])
    return (version, snapshot.value["view"]["total"]) if snapshot.value else (version, None)


def _left_by(entry: Entry) -> str:
    if entry.type == "ask":
        return "journey.effect_requested.v1"
    return "toy.added.v1" if entry.outcome == "applied" else "journey.command_rejected.v1"


def _key_of(record: Record) -> tuple[str, str]:
    if "idempotencyKey" in record.value:
        return "user-interactions", record.value["idempotencyKey"]
    return record.headers["ce_source"], record.headers["ce_id"]


def _lane(statement: str, lane: int) -> sql.Composed:
    return sql.SQL(statement).format(lane=sql.Identifier(f"lane_{lane:03d}"))  # type: ignore[arg-type]


def _log(connection: psycopg.Connection, lane: int) -> Iterator[Stored]:
    rows = connection.execute(
        _lane(
            "SELECT notification_id, originator_version, topic, state FROM {lane}.stored_events ORDER BY 1",
            lane,
        )
    )
    return (
        Stored(lane, position, version, name, orjson.loads(stored))
        for position, version, name, stored in rows
    )


def _positions(connection: psycopg.Connection, lane: int) -> dict[str, int]:
    return dict(connection.execute(_lane("SELECT name, at FROM {lane}.positions", lane)).fetchall())


def _journeys(connection: psycopg.Connection, lane: int) -> list[tuple[str, int, bytes]]:
    return connection.execute(_lane("SELECT stream, version, snapshot FROM {lane}.journeys", lane)).fetchall()


def read_topic(bootstrap: str, topic: str) -> Iterator[Record]:
    """All records of a topic up to its end, by a read-committed reader without a group."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "audit",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "log_level": 0,
        }
    )
    try:
        partitions = sorted(consumer.list_topics(topic, timeout=30).topics[topic].partitions)
        consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in partitions])
        open_ends = set(partitions)
        deadline_s = time.monotonic() + _READ_TIMEOUT_S
        while open_ends:
            messages = consumer.consume(1_000, timeout=0.1)
            assert messages or time.monotonic() < deadline_s, f"{topic} can't be read to its end"
            for message in messages:
                error = message.error()
                if error is None:
                    yield _record(message)
                elif error.code() == KafkaError._PARTITION_EOF:
                    open_ends.discard(message.partition())
    finally:
        consumer.close()


def _bytes(value: str | bytes | None) -> bytes:
    return value.encode() if isinstance(value, str) else value or b""


def _record(message: Message) -> Record:
    headers = {str(header[0]): _bytes(header[1]).decode() for header in message.headers() or []}
    key, value = _bytes(message.key()), _bytes(message.value()) or b"{}"
    return Record(
        int(message.partition() or 0), int(message.offset() or 0), key.decode(), headers, orjson.loads(value)
    )


def waiting(dsn: str, bootstrap: str, *, topic_prefix: str, lanes: int) -> list[str]:
    """What isn't dealt with yet: lanes behind their topics, followers behind their log. Empty when all is done."""
    behind = []
    reader = Consumer({"bootstrap.servers": bootstrap, "group.id": "audit", "log_level": 0})
    try:
        with psycopg.connect(dsn) as connection:
            for lane in range(lanes):
                at = _positions(connection, lane)
                for topic in ("journeys.commands", "user-interactions"):
                    _, end = reader.get_watermark_offsets(
                        TopicPartition(topic_prefix + topic, lane), timeout=30
                    )
                    if at[f"in:{topic_prefix}{topic}"] + 1 < end:
                        behind.append(f"lane {lane} {topic}: {at[f'in:{topic_prefix}{topic}'] + 1} of {end}")
                behind += [
                    f"lane {lane} {follower}: {at[f'out:{follower}']} of {at['log']}"
                    for follower in ("publisher", "exactly_once", "journeys")
                    if at[f"out:{follower}"] < at["log"]
                ]
    finally:
        reader.close()
    return behind
