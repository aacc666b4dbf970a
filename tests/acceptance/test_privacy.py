"""Nothing personal leaves but towards who needs it, and nothing grows with the number of customers."""

import asyncio
import re
import urllib.request
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from orchestrator import embedded
from orchestrator.core.addresses import parse_stream
from orchestrator.engine import keyring
from tests.support.worker_process import WorkerProcess, environment_of
from tests.support.world import World, world

TOPICS = ("events", "outcomes", "snapshots", "effects", "dead_letters", "raw_dead_letters")
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
            if done < 6 or len(one.dead_letters()) < 6:
                return False
            return len(await one.read("outcomes")) == 30 and len(await one.read("snapshots")) >= 6

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
    frames = await one.runner(one.lane("cus-0")).lane._frames.read([_stream(one, "cus-0")])
    assert frames[0].state.private == {"email": CANARY, "phone": [CANARY]}


def _stream(one: World, customer: str) -> Any:
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
    one.write_no_rows()
    for customer in customers:
        await one.send(customer)
    await one.handled()
    await one.restart()
    for customer in customers:
        await one.send(customer, "add", {"n": 1, "private": {"k2": customer}})
    await one.settled()
    for customer in customers:
        owned = one.runner(one.lane(customer)).lane
        [frame] = await owned._frames.read([_stream(one, customer)])
        assert frame.state.private == dict.fromkeys(("k0", "k1", "k2"), customer)
        assert frame.state.total == 4


async def test_metrics_have_no_label_for_a_journey_or_a_customer(
    servers: embedded.Servers, database: str, topic_prefix: str
) -> None:
    """The number of series doesn't grow with customers, commands or producers."""
    async with world(servers.bootstrap, database, topic_prefix, metrics_port=0) as one:
        one.publish()
        await one.start()
        assert one.worker is not None
        url = f"http://127.0.0.1:{one.worker.probes.port}/metrics"
        await one.traffic(customers=5)
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
