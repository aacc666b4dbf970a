"""A fresh installation on the embedded servers for each contender: own database, own topics."""

import asyncio
import json
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from psycopg import conninfo, sql

from bench import contenders
from bench.contenders import Contender
from orchestrator import definitions
from orchestrator.embedded import Servers
from orchestrator.engine.catalogue import publish
from orchestrator.installation import Databases, init
from orchestrator.settings import Settings

_SHOP = Path(__file__).parent.parent / "examples" / "lifecycle" / "shop.yaml"


class Scene(NamedTuple):
    """Where one contender works."""

    contender: Contender
    bootstrap: str
    commands: str
    outcomes: str
    lanes: int


@contextmanager
def scene(
    servers: Servers,
    name: str,
    run: str,
    lanes: int,
    logs: Path,
    processes: int = 1,
    *,
    environment: Mapping[str, str] | None = None,
    documents: Sequence[Mapping[str, Any]] = (),
) -> Iterator[Scene]:
    """Make database and topics, hand out the contender, stop it and drop the database.

    `documents` are published beside the shop's.
    """
    prefix, database = f"{run}-{name}.", f"bench_{run}_{name}"
    dsn = conninfo.make_conninfo(servers.dsn, dbname=database)
    _admin(servers.dsn, "CREATE DATABASE {}", database)
    settings = Settings(
        kafka_bootstrap_servers=servers.bootstrap, database_url=dsn, lanes=lanes, topic_prefix=prefix,
        consumer_group="group",
    )  # fmt: skip
    asyncio.run(_install(settings, documents))
    surroundings = {
        "KAFKA_BOOTSTRAP_SERVERS": servers.bootstrap,
        "DATABASE_URL": dsn,
        "ORCHESTRATOR_LANES": str(lanes),
        "ORCHESTRATOR_TOPIC_PREFIX": prefix,
        "ORCHESTRATOR_CONSUMER_GROUP": "group",
        **{
            f"BENCH_{topic.upper()}": settings.topic(topic)
            for topic in ("raw", "events", "outcomes", "snapshots")
        },
        **(environment or {}),
    }
    log = logs / f"{run}-{name}.log"
    make = {
        "engine": lambda: contenders.engine(surroundings, log, [_free_port() for _ in range(processes)]),
        "bare": lambda: contenders.bare(surroundings, log, "full", processes),
        "small": lambda: contenders.bare(surroundings, log, "small", processes),
        "plain": lambda: contenders.plain(surroundings, log),
    }[name]
    contender = make()
    try:
        yield Scene(contender, servers.bootstrap, settings.topic("raw"), settings.topic("outcomes"), lanes)
    finally:
        contender.stop()
        _admin(servers.dsn, "DROP DATABASE {} WITH (FORCE)", database)
        _drop_topics(servers.bootstrap, list(settings.topics.values()))


async def _install(settings: Settings, documents: Sequence[Mapping[str, Any]]) -> None:
    databases = Databases(settings)
    try:
        await init(settings, databases)
        document = definitions.load(_SHOP.read_bytes())
        for one in (document, *documents):
            publish(databases.main, one["kind"], one["id"], json.dumps(one))
    finally:
        databases.close()


def _drop_topics(bootstrap: str, topics: list[str]) -> None:
    client = AdminClient({"bootstrap.servers": bootstrap})  # has to live until all have answered
    for answer in client.delete_topics(topics).values():
        with suppress(KafkaException, TimeoutError):  # names are never used again
            answer.result(timeout=30)


def _admin(dsn: str, statement: str, database: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(sql.SQL(statement).format(sql.Identifier(database)))  # type: ignore[arg-type]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
