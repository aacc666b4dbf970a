"""What follows the log: topics, read models, timers. In order, with an id each, and nothing personal."""

import asyncio
import re
import urllib.request
from collections import defaultdict
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import psycopg
import pytest
from psycopg import sql

from orchestrator import embedded
from orchestrator.engine import keyring, lane
from projections.exactly_once import ExactlyOnce
from projections.journeys import Journeys
from projections.sending import send
from tests.support.worker_process import WorkerProcess, environment_of
from tests.support.world import Read, World, world

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TOPICS = ("events", "outcomes", "snapshots", "effects", "dead_letters", "raw_dead_letters")


@pytest.fixture
async def one(servers: embedded.Servers, database: str, topic_prefix: str) -> AsyncIterator[World]:
    async with world(servers.bootstrap, database, topic_prefix) as made:
        made.publish()
        yield made


def _log(one: World) -> dict[str, list[tuple[int, str]]]:
    """Version and name of every event, by stream, from the tables."""
    found: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for number in range(one.settings.lanes):
        query = f"SELECT originator_version AS v, topic, state FROM lane_{number:03d}.stored_events ORDER BY notification_id"
        for row in one.rows(query):
            found[orjson.loads(bytes(row["state"]))["stream"]].append((row["v"], row["topic"]))
    return found


def _by_subject(records: list[Read]) -> dict[str, list[Read]]:
    found: dict[str, list[Read]] = defaultdict(list)
    for record in records:
        found[record.header("ce_subject")].append(record)
    return found


async def _traffic(one: World, customers: int = 12, rounds: int = 5) -> None:
    for n in range(rounds):
        for c in range(customers):
            kind = ("add", "ask", "add", "add", "arm")[(n + c) % 5]
            data = {"timer": "a", "delay_ms": 3_600_000} if kind == "arm" else None
            await one.send(f"cus-{c}", kind, data, id=f"{c}-{n}")


# ------------------------------------------------------------------ topics


async def test_events_are_published_in_order_each_under_its_own_id(one: World) -> None:
    """Every event of every journey is published once, in the order of its stream, and so is each command's outcome."""
    await one.start()
    await _traffic(one)
    await one.settled()
    log = {s: events for s, events in _log(one).items() if not s.startswith("/")}
    events = _by_subject(await one.read("events"))
    assert {
        s: [(int(r.header("ce_id").rsplit("/", 1)[1]), r.header("ce_type")) for r in e]
        for s, e in events.items()
    } == log
    assert all(r.header("ce_id").startswith(f"{s}/") for s, records in events.items() for r in records)
    outcomes = await one.read("outcomes")
    assert len({r.header("ce_id") for r in outcomes}) == len(outcomes) == 60
    assert {(r.json["source"], r.json["id"]) for r in outcomes} == {
        ("tests", f"{c}-{n}") for c in range(12) for n in range(5)
    }
    for stream, told in _by_subject(outcomes).items():
        assert [r.json["revision"] for r in told] == sorted(r.json["revision"] for r in told)
        assert told[-1].json["revision"] == log[stream][-1][0]
    assert all(r.key == r.header("ce_subject").rsplit("/", 1)[0].encode() for r in outcomes)


async def test_the_last_snapshot_of_each_journey_is_its_state(one: World) -> None:
    """What compaction leaves of the snapshots' topic is every journey as it stands, with its revision."""
    await one.start()
    await _traffic(one)
    await one.settled()
    last = {(r.key or b"").decode(): r.json for r in await one.read("snapshots")}
    rows = {
        r["stream"]: r
        for n in range(one.settings.lanes)
        for r in one.rows(
            f"SELECT stream, version, label, definition_version, snapshot FROM lane_{n:03d}.journeys"
        )
    }
    assert set(last) == set(rows)
    for stream, snapshot in last.items():
        row = rows[stream]
        assert (snapshot["revision"], snapshot["state"], snapshot["definitionVersion"]) == (
            row["version"], row["label"], row["definition_version"],
        )  # fmt: skip
        assert snapshot["view"] == {"total": orjson.loads(bytes(row["snapshot"]))["state"]["total"]}


async def test_a_trace_is_carried_to_whatever_follows(one: World) -> None:
    """A command's trace context reaches its events, outcome and effect; a repeat's and a dead letter's outcome too."""
    await one.start()
    traced = {"traceparent": TRACE, "tracestate": "shop=1"}
    await one.send("cus-1", "ask", id="first", headers=traced)
    await one.settled()
    await one.send("cus-1", "ask", id="first", headers={"traceparent": TRACE.replace("-01", "-00")})
    await one.send("cus-1", "misbehave", {"how": "raise"}, id="bad", headers=traced)
    await one.settled()
    events = await one.read("events")
    effects = await one.read("effects")
    assert len(events) == 2
    assert len(effects) == 1
    for record in [*events, *effects]:
        assert (record.header("traceparent"), record.header("tracestate")) == (TRACE, "shop=1")
    told = [
        (r.json["outcome"], r.json.get("duplicate", False), r.header("traceparent"))
        for r in await one.read("outcomes")
    ]
    assert told == [
        ("applied", False, TRACE), ("applied", True, TRACE.replace("-01", "-00")), ("dead_lettered", False, TRACE),
    ]  # fmt: skip


# ------------------------------------------------------------------ crashes of followers


class Crash(RuntimeError):
    """What a follower dies of here."""


async def test_effects_are_sent_exactly_once_over_a_crash_between_sending_and_committing(
    one: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A follower that dies after sending and before committing its transaction leaves nothing behind: sent again, once."""
    crashes = 0

    async def crashing(*arguments: Any, **options: Any) -> None:
        nonlocal crashes
        await send(*arguments, **options)
        if crashes < 3:
            crashes += 1
            raise Crash

    monkeypatch.setattr("projections.exactly_once.send", crashing)
    await one.start()
    for n in range(20):
        await one.send(f"cus-{n % 4}", "ask", id=f"k-{n}")
    await one.until(lambda: crashes == 3, "crashed")
    await one.settled()
    effects = await one.read("effects")
    assert len(effects) == len({r.header("ce_id") for r in effects}) == 20


async def test_effects_are_sent_exactly_once_over_a_crash_right_after_committing(
    one: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A follower that dies once its transaction is committed, before it knows, goes on after it."""
    crashed = 0
    transact = ExactlyOnce._transact

    async def crashing(self: Any, *arguments: Any) -> None:
        nonlocal crashed
        await transact(self, *arguments)
        if crashed < 3:
            crashed += 1
            raise Crash

    monkeypatch.setattr(ExactlyOnce, "_transact", crashing)
    await one.start()
    for n in range(20):
        await one.send(f"cus-{n % 4}", "ask", id=f"k-{n}")
    await one.until(lambda: crashed == 3, "crashed")
    await one.settled()
    effects = await one.read("effects")
    assert len(effects) == len({r.header("ce_id") for r in effects}) == 20


async def test_a_crash_of_the_publisher_repeats_but_skips_nothing(
    one: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A publisher that dies anywhere publishes again from where it had saved: every id is there, first copies in order."""
    calls = 0

    async def crashing(producer: Any, outs: Any, *arguments: Any, **options: Any) -> None:
        nonlocal calls
        calls += 1
        if calls in {1, 3, 4}:
            await send(producer, outs[: len(outs) // 2], *arguments, **options)
            raise Crash
        await send(producer, outs, *arguments, **options)

    monkeypatch.setattr("projections.publisher.send", crashing)
    await one.start()
    await _traffic(one, customers=4)
    await one.until(lambda: calls > 4, "crashed")
    await one.settled()
    log = {s: events for s, events in _log(one).items() if not s.startswith("/")}
    for stream, records in _by_subject(await one.read("events")).items():
        first = list(dict.fromkeys(int(r.header("ce_id").rsplit("/", 1)[1]) for r in records))
        assert first == [version for version, _ in log[stream]]
    assert len({r.header("ce_id") for r in await one.read("outcomes")}) == 20


def _write_no_rows(one: World) -> None:
    """Journeys' rows stay as they are until somebody else owns the lanes."""
    for runner in one.runners:
        for follower in runner.followers:
            if isinstance(follower, Journeys):
                follower._quiet_s = 3600.0


async def _handled(one: World) -> None:
    """Wait until every message was handled, whatever the followers do."""
    ends = await one.ends(one.settings.topic("commands"), one.settings.topic("raw"))
    await one.until(lambda: one._handled(ends), "handled")


async def test_a_row_written_late_is_caught_up_after_a_crash(one: World) -> None:
    """Journeys changed but not yet written when a worker dies are written by the next owner, keys included."""
    await one.start()
    _write_no_rows(one)
    await _traffic(one, customers=6)
    await _handled(one)
    await one.stop()
    await one.start()
    await _traffic(one, customers=6)
    await one.settled()
    assert await _duplicates(one) == 30
    await one.restart()
    await _traffic(one, customers=6)
    await one.settled()
    assert await _duplicates(one) == 60


async def _duplicates(one: World) -> int:
    """Outcomes told as duplicates; a publisher that was stopped may tell some of them again, under the same id."""
    return len({r.header("ce_id") for r in await one.read("outcomes") if r.json.get("duplicate")})


# ------------------------------------------------------------------ privacy

CANARY = "canary-5f1c"


async def test_personal_data_is_nowhere_in_clear(
    one: World, servers: embedded.Servers, tmp_path: Path
) -> None:
    """What private fields held is in no topic the product writes, in no table in clear, in no log line and in no metric."""
    environment = environment_of(
        servers,
        topic_prefix=one.settings.topic_prefix,
        DATABASE_URL=one.settings.database_url,
        ORCHESTRATOR_CONSUMER_GROUP=one.settings.consumer_group,
        ORCHESTRATOR_SNAPSHOT_QUIET_MS="100",
        LOG_LEVEL="DEBUG",
    )
    for n in range(6):
        await one.send(f"cus-{n}", "add", {"n": 1, "private": {"email": CANARY, "phone": [CANARY]}}, id="k")
        await one.send(f"cus-{n}", "add", {"n": 1, "private": {"email": CANARY, "phone": [CANARY]}}, id="k")
        await one.send(f"cus-{n}", "add", {"n": 2, "private": {"email": CANARY}}, id="k")  # a conflict
        await one.send(f"cus-{n}", "add", {"n": -1, "private": {"email": CANARY}})
        await one.send(
            f"cus-{n}", "add", {"n": 1, "private": CANARY}
        )  # a decider that quotes it when it fails
    with WorkerProcess(environment, tmp_path / "worker.log") as worker:
        worker.start()
        await asyncio.to_thread(worker.wait_ready)

        async def written() -> bool:
            done = sum(
                len(one.rows(f"SELECT 1 FROM lane_{n:03d}.journeys WHERE version >= 2")) for n in range(2)
            )
            return done == 6 and len(one.dead_letters()) == 6 and len(await one.read("outcomes")) == 30

        await one.until(written, "written")
        port = worker._port()
        page = await asyncio.to_thread(_get, f"http://127.0.0.1:{port}/metrics")
        assert CANARY not in page
        assert worker.terminate() == 0
    assert CANARY not in worker.log_path.read_text()
    for topic in TOPICS:
        if topic == "dead_letters":  # the message itself, as it came
            continue
        for record in await one.read(topic):
            assert CANARY.encode() not in (record.value or b""), topic
            assert CANARY.encode() not in b"".join(record.headers.values()), topic
    letters = await one.read("dead_letters")
    assert len(letters) == 6
    assert all(CANARY.encode() in (r.value or b"") for r in letters)
    assert _tables_with(one, CANARY) == []
    again = await one.read("snapshots")
    assert again
    await one.start()  # and whoever has the keys still reads it
    await one.settled()
    frames = await one.runner(one.lane("cus-0")).lane._read_frames(
        {s.text: s for s in [_stream(one, "cus-0")]}
    )
    assert frames[0].state.private == {"email": CANARY, "phone": [CANARY]}


def _stream(one: World, customer: str) -> Any:
    from orchestrator.core.addresses import parse_stream

    return parse_stream(f"{one.owner(customer)}/toy:t")


def _get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return str(answer.read().decode())


def _tables_with(one: World, word: str) -> list[str]:
    """Tables of which some row, as text or as bytes, contains a word."""
    found = []
    with psycopg.connect(one.settings.database_url) as connection:
        tables = connection.execute(
            "SELECT schemaname, tablename FROM pg_tables WHERE schemaname LIKE 'lane%%' OR schemaname = 'orchestrator'"
        ).fetchall()
        for schema, table in tables:
            query = sql.SQL(
                "SELECT count(*) FROM {t} AS row WHERE row::text LIKE %s OR row::text LIKE %s"
            ).format(t=sql.Identifier(schema, table))
            row = connection.execute(query, (f"%{word}%", f"%{word.encode().hex()}%")).fetchone()
            assert row is not None
            if row[0]:
                found.append(f"{schema}.{table}")
    assert len(tables) > 10
    return found


async def test_private_fields_survive_more_customers_than_keys_are_kept_in_memory(
    servers: embedded.Servers, database: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many customers a lane has, their personal data stays readable after eviction, snapshots and restarts."""
    monkeypatch.setattr(keyring, "_CACHE_SUBJECTS", 3)
    async with world(servers.bootstrap, database, topic_prefix, batch_commands=2) as one:
        one.publish()
        await one.start()
        await _private_fields_survive(one)


async def _private_fields_survive(one: World) -> None:
    customers = [f"cus-{n}" for n in range(12)]
    for n, customer in enumerate([*customers, *customers]):
        await one.send(customer, "add", {"n": 1, "private": {f"k{n // 12}": customer}})
    await one.settled()
    _write_no_rows(one)
    for customer in customers:
        await one.send(customer)
    await _handled(one)
    await one.restart()
    for customer in customers:
        await one.send(customer, "add", {"n": 1, "private": {"k2": customer}})
    await one.settled()
    for customer in customers:
        owned = one.runner(one.lane(customer)).lane
        [frame] = await owned._read_frames({"": _stream(one, customer)})
        assert frame.state.private == dict.fromkeys(("k0", "k1", "k2"), customer)
        assert frame.state.total == 4


# ------------------------------------------------------------------ metrics


async def test_metrics_have_no_label_for_a_journey_or_a_customer(
    servers: embedded.Servers, database: str, topic_prefix: str
) -> None:
    """The number of series doesn't grow with customers, commands or producers."""
    async with world(servers.bootstrap, database, topic_prefix, metrics_port=0) as one:
        one.publish()
        await one.start()
        assert one.worker is not None
        url = f"http://127.0.0.1:{one.worker.probes.port}/metrics"
        await _traffic(one, customers=5)
        await one.send("cus-1", partition=1 - one.lane("cus-1"), headers={"ce_source": "astray"})
        await one.settled()
        before = await asyncio.to_thread(_get, url)
        for n in range(150):
            await one.send(f"other-{n}", id=f"id-of-{n}")
            stray = 1 - one.lane(f"other-{n}")
            await one.send(f"other-{n}", partition=stray, headers={"ce_source": f"producer-{n}"})
        await one.settled()
        after = await asyncio.to_thread(_get, url)
    for word in ("cus-1", "other-", "id-of", "acme/c", "k-1"):
        assert word not in after
    assert len(re.findall(r'^journey_forwarded_total\{source="', after, re.MULTILINE)) <= 101
    series = [
        len([s for s in page.splitlines() if not s.startswith(("#", "journey_forwarded"))])
        for page in (before, after)
    ]
    assert series[1] - series[0] < 40
    assert 'journey_commands_total{duplicate="false",outcome="applied"}' in after


# ------------------------------------------------------------------ timers


async def _fired(one: World, customer: str) -> list[dict[str, Any]]:
    """Envelopes of what timers of a customer's journey did, in order."""
    number, stream = one.lane(customer), f"{one.owner(customer)}/toy:t"
    rows = one.rows(f"SELECT state FROM lane_{number:03d}.stored_events ORDER BY notification_id")
    found = [orjson.loads(bytes(r["state"])) for r in rows]
    return [e for e in found if e["stream"] == stream and e["source"] == "engine/timers"]


async def test_a_timer_fires_once_and_not_before_its_time(one: World) -> None:
    """A due timer becomes one command of the engine at its time, and its row is gone."""
    await one.start()
    await one.send("cus-1", "arm", {"timer": "a", "delay_ms": 300})
    [fired] = await one.until(lambda: _fired(one, "cus-1"), "fired")
    await one.settled()
    [armed] = [r for r in await one.read("events") if r.header("ce_type") == "journey.timer_armed.v1"]
    assert fired["at_ms"] >= armed.json["due_ms"]
    assert await _fired(one, "cus-1") == [fired]
    assert sum(len(one.rows(f"SELECT 1 FROM lane_{n:03d}.timers")) for n in range(2)) == 0
    outcome = next(o for o in await one.outcomes() if o["source"] == "engine/timers")
    assert outcome["outcome"] == "applied"


async def test_a_moved_timer_fires_at_its_new_time_and_a_cancelled_one_never(one: World) -> None:
    """Re-arming moves a timer, cancelling removes it; a third one marks the time by which both would have fired."""
    await one.start()
    await one.send("moved", "arm", {"timer": "a", "delay_ms": 400})
    await one.send("cancelled", "arm", {"timer": "a", "delay_ms": 400})
    await one.send("moved", "arm", {"timer": "a", "delay_ms": 1500})
    await one.send("cancelled", "disarm", {"timer": "a"})
    await one.until(lambda: _fired(one, "moved"), "the moved one fired")
    await one.settled()
    [fired] = await _fired(one, "moved")
    due = [
        r.json["due_ms"] for r in await one.read("events") if r.header("ce_type") == "journey.timer_armed.v1"
    ]
    assert fired["at_ms"] >= max(due)
    assert await _fired(one, "cancelled") == []


async def test_timers_survive_a_restart(one: World) -> None:
    """Timers are rows: armed by one worker, fired by the next, once."""
    await one.start()
    await one.send("soon", "arm", {"timer": "a", "delay_ms": 1500})
    await one.send("later", "arm", {"timer": "a", "delay_ms": 3_600_000})
    await one.settled()
    await one.restart()
    await one.until(lambda: _fired(one, "soon"), "fired")
    await one.restart()
    await one.settled()
    assert len(await _fired(one, "soon")) == 1
    assert await _fired(one, "later") == []


async def test_what_became_due_in_an_outage_fires_in_order_after_the_backlog(one: World) -> None:
    """After downtime the commands that waited are handled first; then late timers fire, earliest due first, once."""
    await one.start()
    customers = one.customers(0, 6)
    delays_ms = [900, 300, 700, 100, 500]
    for customer, delay_ms in zip(customers, delays_ms, strict=False):
        await one.send(customer, "arm", {"timer": "a", "delay_ms": 2000 + delay_ms})
    await one.send(customers[5], "arm", {"timer": "a", "delay_ms": 2000})
    await one.settled()
    await one.stop()
    armed = one.rows("SELECT stream, due_ms FROM lane_000.timers ORDER BY due_ms")
    assert len(armed) == 6

    def all_due() -> bool:
        query = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS ms"
        return bool(one.rows(query)[0]["ms"] > armed[-1]["due_ms"])

    backlog = [await one.send(c, "disarm", {"timer": "a"}, id="in time") for c in customers[5:]]
    await one.until(all_due, "due")
    assert backlog
    await one.start()

    async def fired() -> bool:
        return all([await _fired(one, c) for c in customers[:5]])

    await one.until(fired, "fired")
    await one.settled()
    rows = one.rows("SELECT state FROM lane_000.stored_events ORDER BY notification_id")
    log = [orjson.loads(bytes(r["state"])) for r in rows]
    order = [e["stream"] for e in log if e["source"] == "engine/timers"]
    assert order == [r["stream"] for r in armed[1:]]
    first = next(i for i, e in enumerate(log) if e["source"] == "engine/timers")
    assert max(i for i, e in enumerate(log) if e["id"] == "in time") < first
    assert await _fired(one, customers[5]) == []


async def test_many_timers_due_at_once_each_fire_once(one: World) -> None:
    """More timers than one batch takes are fired in several, each once, while commands go on."""
    await one.start()
    [busy] = one.customers(0, 1, "busy")
    sent = []
    for n in range(1200):
        headers = list(one.headers(f"cus-{n}", "arm", "k").items())
        value = orjson.dumps({"timer": "a", "delay_ms": 1000})
        key = one.owner(f"cus-{n}").encode()
        sent.append(
            await one.producer.send(
                one.settings.topic("commands"),
                value,
                key=key,
                headers=headers,
                partition=one.lane(f"cus-{n}"),
            )
        )
    await asyncio.gather(*sent)
    await one.send(busy)

    def gone() -> bool:
        return not any(one.rows(f"SELECT 1 FROM lane_{n:03d}.timers LIMIT 1") for n in range(2))

    await one.until(lambda: one.journey(busy), "handled")
    await one.until(gone, "all fired")
    await one.settled()
    names = [o["stream"] for o in await one.outcomes() if o["source"] == "engine/timers"]
    assert len(names) == len(set(names)) == 1200


async def test_history_imported_in_many_batches_fires_its_timers_at_their_time_once_it_is_complete(
    servers: embedded.Servers, database: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However an import is cut into batches, its timers fire where they belong; those left over when no more comes."""
    monkeypatch.setattr(lane, "_HISTORY_QUIET_MS", 3_000)
    async with world(servers.bootstrap, database, topic_prefix, lanes=1, batch_commands=1) as one:
        one.publish()
        await one.start()
        for n in range(4):  # a timer of a minute, renewed each second: only the last one may fire
            moment = {"ce_backfill": "true", "ce_time": f"2020-01-01T00:00:0{n}Z"}
            await one.send("cus-1", "arm", {"timer": "a", "delay_ms": 60_000}, headers=moment)
            await one.settled()
        assert await _fired(one, "cus-1") == []
        [fired] = await one.until(lambda: _fired(one, "cus-1"), "fired when nothing more came")
        await one.settled()
        assert fired["at_ms"] == 1_577_836_863_000
        assert await _fired(one, "cus-1") == [fired]
        assert one.rows("SELECT * FROM lane_000.timers") == []


async def test_backfill_suppresses_effects_and_fires_timers_at_their_time(one: World) -> None:
    """Imported history keeps its own clock: nothing is performed, and what was due in it happens in it."""
    await one.start()
    old = "2020-01-01T00:00:00Z"
    imported = {"ce_backfill": "true", "ce_time": old}
    await one.send("cus-1", "arm", {"timer": "a", "delay_ms": 1000}, headers=imported)
    await one.send("cus-1", "ask", headers=imported | {"ce_time": "2020-01-01T00:00:05Z"})
    await one.settled()
    [fired] = await _fired(one, "cus-1")
    assert fired["at_ms"] == 1_577_836_801_000
    assert await one.read("effects") == []
    [asked] = [r for r in await one.read("events") if r.header("ce_type") == "journey.effect_requested.v1"]
    assert asked.header("ce_time") == "2020-01-01T00:00:05.000Z"
    assert asked.json["suppressed"] is True
