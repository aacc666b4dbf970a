"""One bad message delays only itself: what can't be decided ends in the dead letters, and its neighbours don't notice."""

import asyncio
import gzip
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.record.util import calc_crc32c

from orchestrator import embedded
from orchestrator.engine import batch
from orchestrator.engine.inbound import MAX_COMMAND_BYTES
from tests.engine.test_inbound import MALFORMED
from tests.support.worker_process import WorkerProcess, environment_of
from tests.support.world import Read, World, world

_RECORDS_AT = 61  # of a batch on the wire
REASON = "__connect.errors.exception.class.name"
ERROR = "__connect.errors.exception.message"


class Bad(NamedTuple):
    """A message that can't be decided, and the word for why."""

    name: str
    reason: str
    value: bytes | None = b"{}"
    headers: dict[str, bytes] = {}
    topic: str = "commands"
    key: bytes | None = b"acme/c/bad"


@pytest.fixture
async def one(servers: embedded.Servers, database: str, topic_prefix: str) -> AsyncIterator[World]:
    async with world(servers.bootstrap, database, topic_prefix, lanes=1) as made:
        made.publish()
        yield made


def _corpus(one: World) -> list[Bad]:
    def command(
        name: str, reason: str, type_: str, value: bytes, stream: str = "toy:t", **more: bytes
    ) -> Bad:
        headers = one.headers("bad", type_, f"bad {name}", stream) | {f"ce_{k}": v for k, v in more.items()}
        return Bad(name, reason, value, headers)

    def raw(name: str, reason: str, value: bytes | None) -> Bad:
        return Bad(f"raw {name}", reason, value, {"ce_organization": b"acme"}, "raw")

    decided = [
        command(f"misbehave {how}", reason, "misbehave", orjson.dumps({"how": how}))
        for how, reason in {
            "raise": "decider_failed",
            "parse": "decider_failed",
            "evolve": "decider_failed",
            "unstorable": "unstorable",
            "unregistered": "unstorable",
            "deep": "unstorable",
            "bloat": "unstorable",
        }.items()
    ]
    return [
        *(Bad(name, reason, message.value, dict(message.headers)) for name, message, reason in MALFORMED),
        *decided,
        command("number for a word", "decider_failed", "add", b'{"n":1,"private":7}'),
        command("word for a number", "malformed", "add", b'{"n":"1"}'),
        command("huge integer", "malformed", "add", b'{"n":123456789012345678901234567890}'),
        command("unknown type", "unknown_type", "no-such", b"{}"),
        command("unknown definition", "unknown_definition", "add", b"{}", "toy:no-such"),
        command("unknown kind", "unknown_kind", "add", b"{}", "no-such:t"),
        command("timer of somebody", "reserved", "timer.fired", b"{}"),
        command("effect result out of shape", "malformed", "effect.succeeded", b'{"effect":1}'),
        command("timer with NUL", "unstorable", "arm", b'{"timer":"a\\u0000b","delay_ms":1}'),
        command("timer beyond time", "unstorable", "arm", b'{"timer":"a","delay_ms":9223372036854775807}'),
        command("one byte too large", "too_large", "add", _sized(MAX_COMMAND_BYTES + 1)),
        command("as large as the topic takes", "too_large", "add", _sized((4 << 20) - 330)),
        raw("no value", "no_value", None),
        raw("truncated", "bad_json", b'{"userId":"a'),
        raw("without a customer", "bad_json", b'{"type":"view","idempotencyKey":"i"}'),
        raw("unknown type", "unknown_type", b'{"userId":"bad","type":"no-such","idempotencyKey":"i"}'),
    ]


def _sized(size: int) -> bytes:
    start = b'{"n":1,"text":"'
    return start + b"x" * (size - len(start) - 2) + b'"}'


def _differences(
    one: World, bad: Bad, place: Any, letters: dict[tuple[str, int], Read], rows: dict[Any, Any]
) -> list[str]:
    """What is wrong with the dead letter of a message."""
    letter = letters.get((place.topic, place.offset))
    if letter is None:
        return ["no dead letter on the topic"]
    omitted = "journey-omitted-bytes" in letter.headers
    row = rows.get((place.topic, letter.header("journey-dead-letter")))
    return [
        problem
        for problem, wrong in {
            f"reason {letter.header(REASON)}": letter.header(REASON) != bad.reason,
            "no words for the error": not letter.headers[ERROR],
            "other bytes": letter.value != (None if omitted else bad.value),
            "bytes left out": omitted and len(bad.value or b"") < 3 << 20,
            "other key": letter.key != bad.key,
            "other headers": not omitted and not bad.headers.items() <= letter.headers.items(),
            "partition": letter.header("__connect.errors.partition") != str(place.partition),
            "no row": row is None,
            f"row {row}": row is not None and (row["reason"], row["status"]) != (bad.reason, "open"),
        }.items()
        if wrong
    ]


async def test_the_corpus_ends_in_dead_letters_and_its_neighbours_are_applied(one: World) -> None:
    """Every kind of broken message becomes a dead letter with its bytes, headers and reason; those around it are applied."""
    corpus = _corpus(one)
    await one.start()
    places = []
    for bad in corpus:
        await one.send("good")
        places.append(await one.put(bad.topic, bad.value, bad.key, list(bad.headers.items())))
    await one.send("good", value=_sized(MAX_COMMAND_BYTES))  # the largest allowed
    await one.settled()
    read = [*await one.read("dead_letters"), *await one.read("raw_dead_letters")]
    letters = {
        (r.header("__connect.errors.topic"), int(r.header("__connect.errors.offset"))): r for r in read
    }
    rows = {(r["topic"], r["id"]): r for r in one.dead_letters()}
    wrong = {
        bad.name: _differences(one, bad, p, letters, rows) for bad, p in zip(corpus, places, strict=True)
    }
    assert {name: found for name, found in wrong.items() if found} == {}
    assert len(read) == len(rows) == len(corpus)
    outcomes = await one.outcomes()
    applied = [o for o in outcomes if o["outcome"] == "applied"]
    assert len(applied) == len(corpus) + 1
    answered = [o for o in outcomes if o["outcome"] == "dead_lettered"]
    named = [
        bad.headers["ce_id"].decode() for bad in corpus if bad.headers.get("ce_id", b"").startswith(b"bad ")
    ]
    assert {o["id"] for o in answered} >= set(named)
    assert len({o["detail"]["deadLetter"] for o in answered}) == len(answered)
    journey = one.journey("good")
    assert journey is not None
    assert journey["snapshot"]["state"]["total"] == len(corpus) + 1
    assert one.journey("bad") is None
    assert one.runner(0).state == "ready"


async def test_bytes_of_dead_letters_are_sealed_in_the_log(one: World) -> None:
    """What a broken message held can't be read in the tables without its day's key."""
    await one.start()
    await one.put(
        "commands", b'{"canary-in-a-broken-message', b"k", [("ce_id", b"x"), ("h", b"canary-in-a-header")]
    )
    await one.settled()
    [letter] = one.dead_letters()
    [stored] = one.rows("SELECT state FROM lane_000.stored_events")
    assert b"canary" not in bytes(stored["state"])
    assert "canary" not in str(letter)
    assert one.rows("SELECT subject FROM lane_000.subject_keys WHERE subject LIKE 'day/%%'")


async def test_what_only_the_database_refuses_is_found_among_its_neighbours(
    one: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A value that passes every check but the database's is found by halving its batch and dead-lettered alone."""
    monkeypatch.setattr(batch, "_check_timers", lambda _event: None)
    for n in range(40):
        nul = n in {11, 30}
        await one.send(
            f"cus-{n % 7}", "arm" if nul else "add", {"timer": "a\x00b", "delay_ms": 1} if nul else {"n": 1}
        )
    await one.start()
    await one.settled()
    assert [r["reason"] for r in one.dead_letters()] == ["storage_refused"] * 2
    assert sum(o["outcome"] == "applied" for o in await one.outcomes()) == 38


async def test_a_retry_after_the_missing_definition_was_published_applies_the_command_once(
    one: World,
) -> None:
    """Publishing what was missing and retrying, even twice, applies the dead letter exactly once."""
    await one.start()
    await one.send("late", "add", {"n": 5}, id="early", stream="toy:later")
    await one.settled()
    [letter] = one.dead_letters()
    assert letter["reason"] == "unknown_definition"
    one.publish("later")
    answers = await asyncio.gather(*(one.ask(0, "retry", id=letter["id"]) for _ in range(2)))
    assert "sent again" in answers
    await one.settled()
    assert await one.ask(0, "retry", id=letter["id"]) == "was retried already"
    await one.settled()
    journey = one.journey("late", "toy:later")
    assert journey is not None
    assert journey["snapshot"]["state"]["total"] == 5
    told = [(o["outcome"], o.get("duplicate", False)) for o in await one.outcomes()]
    assert told[0] == ("dead_lettered", False)
    assert told.count(("applied", False)) == 1
    assert [r["status"] for r in one.dead_letters()] == ["retried"]


def _at_total(one: World, customer: str, total: int) -> dict[str, Any] | None:
    journey = one.journey(customer)
    return journey if journey is not None and journey["snapshot"]["state"]["total"] == total else None


async def test_a_journey_whose_version_is_missing_waits_in_the_dead_letters(one: World) -> None:
    """A journey pinned to a version that isn't there isn't decided by another one: its commands wait to be retried."""
    await one.start()
    await one.send("cus-1")
    await one.settled()
    await one.stop()
    one.execute("DELETE FROM orchestrator.definitions")
    one.publish("t", 2)
    await one.start()
    await one.send("cus-1", data={"n": 7})
    await one.settled()
    [letter] = one.dead_letters()
    assert letter["reason"] == "unknown_definition"
    one.publish("t", 1)
    assert await one.ask(0, "retry", id=letter["id"]) == "sent again"
    await one.settled()
    journey = await one.until(lambda: _at_total(one, "cus-1", 8), "the retried command applied")
    assert journey["definition_version"] == 1


async def test_a_raw_dead_letter_can_be_retried(one: World) -> None:
    """A raw event that nobody listened to is decided after a definition that lists it was published."""
    await one.start()
    await one.raw("late", "login", 4, "i-1")
    await one.settled()
    [letter] = one.dead_letters()
    one.publish("later", document={"events": ["login"]})
    assert await one.ask(0, "retry", id=letter["id"]) == "sent again"
    await one.settled()
    journey = one.journey("late", "toy:later")
    assert journey is not None
    assert journey["snapshot"]["state"]["total"] == 4


async def test_a_retry_of_what_is_still_broken_is_a_dead_letter_again(one: World) -> None:
    """Retrying changes nothing about the message: what is still wrong with it is told again, under a new name."""
    await one.start()
    await one.send("late", "misbehave", {"how": "raise"})
    await one.settled()
    [letter] = one.dead_letters()
    await one.ask(0, "retry", id=letter["id"])
    await one.settled()
    assert [(r["reason"], r["status"]) for r in one.dead_letters()] == [
        ("decider_failed", "retried"), ("decider_failed", "open"),
    ]  # fmt: skip


async def test_a_discarded_dead_letter_keeps_who_gave_it_up_and_why(one: World) -> None:
    """Discarding needs a reason, keeps it, and ends retries."""
    await one.start()
    await one.send("late", "misbehave", {"how": "raise"})
    await one.settled()
    [letter] = one.dead_letters()
    assert (await one.ask(0, "discard", id=letter["id"])).startswith("refused")
    assert await one.ask(0, "discard", id=letter["id"], reason="the shop is closed") == "discarded"
    await one.settled()
    [settled] = one.dead_letters()
    assert (settled["status"], settled["note"]) == ("discarded", "the shop is closed")
    assert await one.ask(0, "retry", id=letter["id"]) == "was discarded already"


async def test_a_request_nobody_understands_is_refused_and_stops_nothing(one: World) -> None:
    """An operator's request out of shape gets an answer; the lane goes on."""
    await one.start()
    for control, text in [("retry", "{}"), ("retry", "no json"), ("dance", "{}"), ("rebase", '{"topic":"x"}'),
                          ("discard", "[]"), ("retry", '{"id":"no-such"}')]:  # fmt: skip
        assert (await one.ask_raw(0, control, text)).startswith("refused")
    await one.send("good")
    await one.settled()
    assert one.runner(0).state == "ready"


async def test_a_failing_definition_costs_the_customers_other_journeys_nothing(one: World) -> None:
    """A raw event that one journey can't decide is decided for the others, and once only after a retry."""
    one.publish("aaa", document={"events": ["broken"], "misbehave": "raise"})
    one.publish("bbb", document={"events": ["broken"]})
    await one.start()
    await one.raw("cus-1", "broken", 3, "i-1")
    await one.settled()
    [letter] = one.dead_letters()
    assert letter["reason"] == "decider_failed"
    await one.ask(0, "retry", id=letter["id"])
    await one.settled()
    journey = one.journey("cus-1", "toy:bbb")
    assert journey is not None
    assert journey["snapshot"]["state"]["total"] == 3


async def test_a_timer_that_cannot_be_decided_becomes_a_dead_letter_and_its_neighbours_fire(
    one: World,
) -> None:
    """A timer whose decision fails doesn't stop the lane: it is kept as a dead letter and can be armed again."""
    await one.start()
    await one.send("cus-1", "arm", {"timer": "explode", "delay_ms": 1})
    await one.send("cus-2", "arm", {"timer": "fine", "delay_ms": 1})
    await one.until(lambda: len(one.dead_letters()) == 1, "given up")
    await one.until(lambda: (one.journey("cus-2") or {"version": 0})["version"] == 3, "fired")
    [letter] = one.dead_letters()
    assert (letter["reason"], letter["command_type"], letter["subject"]) == (
        "decider_failed", "timer.fired", "acme/c/cus-1/toy:t",
    )  # fmt: skip
    assert one.rows("SELECT * FROM lane_000.timers") == []
    assert await one.ask(0, "retry", id=letter["id"]) == "armed again"
    await one.settled()
    assert one.runner(0).state == "ready"


@pytest.mark.parametrize("how", ["kill", "hang"])
async def test_what_ends_its_worker_again_and_again_is_dead_lettered(
    one: World, servers: embedded.Servers, tmp_path: Path, how: str
) -> None:
    """A message that kills or hangs every worker that tries it ends in the dead letters; its neighbours are applied."""
    environment = environment_of(
        servers,
        topic_prefix=one.settings.topic_prefix,
        DATABASE_URL=one.settings.database_url,
        ORCHESTRATOR_CONSUMER_GROUP=one.settings.consumer_group,
        ORCHESTRATOR_STALL_TIMEOUT_S="2",
        ORCHESTRATOR_SESSION_TIMEOUT_MS="2000",
        ORCHESTRATOR_HEARTBEAT_INTERVAL_MS="300",
        ORCHESTRATOR_SNAPSHOT_QUIET_MS="100",
    )
    for n in range(20):
        await one.send(f"good-{n}")
    await one.send("bad", "misbehave", {"how": how})
    await one.raw("good-0", "view", 1, "i-1")
    for n in range(20):
        await one.send(f"good-{n}")
    lives = 0
    with WorkerProcess(environment, tmp_path / "worker.log") as worker:

        def supervised() -> bool:
            nonlocal lives
            if not worker.running:
                lives += 1
                worker.start()
            done = one.rows("SELECT at FROM lane_000.positions WHERE name LIKE 'in:%%' ORDER BY at")
            return [r["at"] for r in done] == [0, 40] and bool(one.dead_letters())

        await one.until(supervised, "past the message", 120)
    assert lives >= 3
    assert [r["reason"] for r in one.dead_letters()] == ["killed_owners"]
    journeys = one.rows("SELECT count(*) AS n FROM lane_000.stored_events WHERE topic = 'toy.added.v1'")
    assert journeys[0]["n"] == 41


async def test_a_header_name_that_is_no_text_costs_its_own_message_only(one: World) -> None:
    """Bytes that clients choke on before the engine sees them are dead-lettered like any others."""
    await one.start()
    await one.raw("good", "view", 1, "i-1")
    await one.send("good")
    await _put_with_broken_header_name(one)
    await one.send("good")
    await _put_with_broken_header_name(one, compressed=True)
    await one.raw("good", "view", 1, "i-2")
    await one.settled()
    letters = [r for r in await one.read("dead_letters") if r.headers.get("other") == b"w"]
    assert len(letters) == len(one.dead_letters()) == 4
    await one.restart()
    await one.send("good")
    await one.settled()
    applied = {(o["source"], o["id"]) for o in await one.outcomes() if o["outcome"] == "applied"}
    assert len(applied) == 5  # by key: a restart may tell an outcome again
    assert len(one.dead_letters()) == 4


async def _put_with_broken_header_name(one: World, *, compressed: bool = False) -> None:
    """Two records in one batch, the first's header name broken; clients only take text, so its bytes are changed after."""
    producer = AIOKafkaProducer(**one.settings.kafka())
    await producer.start()
    try:
        made = producer.create_batch()
        for name in ("broken-name", "fine"):
            made.append(timestamp=None, key=b"k", value=b"{}", headers=[(name, b"v"), ("other", b"w")])
        build = made._build

        def broken() -> bytearray:
            buffer = bytearray(build()).replace(b"broken-name", b"broken\xff\xfe\xfdme")
            if compressed:
                buffer[_RECORDS_AT:] = gzip.compress(bytes(buffer[_RECORDS_AT:]))
                buffer[8:12] = (len(buffer) - 12).to_bytes(4, "big")
                buffer[21:23] = (1).to_bytes(2, "big")
            buffer[17:21] = calc_crc32c(memoryview(bytes(buffer))[21:]).to_bytes(4, "big")
            return buffer

        made._build = broken
        made.close()
        await (await producer.send_batch(made, one.settings.topic("commands"), partition=0))
    finally:
        await producer.stop()
