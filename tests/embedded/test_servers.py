"""What both servers promise while they run, on one private pair."""

import json
import threading
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import psutil
import psycopg
import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from orchestrator import embedded
from tests.embedded.callers import listening_on
from tests.support.servers import make_folder, private_pairs, remove_folder

WITHIN_S = 60.0


@pytest.fixture(scope="module")
def seen() -> set[str]:
    """Every command line that named the pair's folder while the pair started."""
    return set()


@pytest.fixture(scope="module")
def pair(seen: set[str]) -> Iterator[embedded.Servers]:
    over = threading.Event()
    folder = make_folder()
    watcher = threading.Thread(target=watch, args=(str(folder), seen, over))
    watcher.start()
    with private_pairs() as start:
        try:
            running = start(folder / "data")
        finally:
            over.set()
            watcher.join()
        yield running
    remove_folder(folder)


def watch(folder: str, seen: set[str], over: threading.Event) -> None:
    """Collect the command lines that name a folder, until told to stop."""
    while not over.wait(0.02):
        for process in psutil.process_iter(["cmdline"]):
            line = " ".join(process.info["cmdline"] or [])
            if folder in line:
                seen.add(line)


def test_acknowledged_data_survives_a_kill_of_both(pair: embedded.Servers) -> None:
    """What either server acknowledged is there after SIGKILL, on the same ports, under new process ids."""
    make_topic(pair.bootstrap, "kill")
    produce(pair.bootstrap, "kill", b"kept")
    with psycopg.connect(pair.dsn) as connection:
        connection.execute("CREATE TABLE kill (word text)")
        connection.execute("INSERT INTO kill VALUES ('kept')")
    before = set(pids(pair))
    pair.kafka.kill()
    pair.postgres.kill()
    assert pids(pair) == (None, None)
    pair.postgres.start()
    with psycopg.connect(pair.dsn) as connection:  # at once: started means that it answers
        assert connection.execute("SELECT word FROM kill").fetchall() == [("kept",)]
    pair.kafka.start()
    assert consume(pair.bootstrap, "kill") == b"kept"
    assert not set(pids(pair)) & {None, *before}


@pytest.mark.parametrize("name", ["kafka", "postgres"])
def test_a_stopped_server_stays_down_and_its_neighbour_up(pair: embedded.Servers, name: str) -> None:
    """One server can be stopped and started alone, any number of times."""
    server, neighbour = (pair.kafka, pair.postgres) if name == "kafka" else (pair.postgres, pair.kafka)
    untouched = neighbour.pid
    server.stop()
    server.stop()
    assert not server.pid
    server.start()
    started = server.pid
    server.start()
    assert server.pid == started is not None
    assert neighbour.pid == untouched


def test_a_port_taken_during_a_stop_is_named(pair: embedded.Servers) -> None:
    """A server that must come back on its own port says which port is taken, and comes back once it is free."""
    port = urlsplit(pair.dsn).port
    pair.postgres.stop()
    taken = pytest.raises(embedded.EmbeddedError, match=f"127.0.0.1:{port} is taken")
    with listening_on(f"127.0.0.1:{port}"), taken:
        pair.postgres.start()
    pair.postgres.start()
    assert pair.postgres.pid


def test_the_database_is_durable_utf8_and_utc(pair: embedded.Servers) -> None:
    """The database flushes what it commits, speaks UTF-8 in byte order, and keeps time in UTC."""
    wanted = {
        "fsync": "on",
        "synchronous_commit": "on",
        "full_page_writes": "on",
        "data_checksums": "on",
        "server_encoding": "UTF8",
        "TimeZone": "UTC",
        "listen_addresses": "127.0.0.1",
        "password_encryption": "scram-sha-256",
        "server_version_num": "18",
    }
    with psycopg.connect(pair.dsn) as connection:
        found = {
            name: connection.execute("SELECT current_setting(%s)", (name,)).fetchone() for name in wanted
        }
        order = connection.execute(
            "SELECT string_agg(w, '' ORDER BY w) FROM unnest('{é,a,Z}'::text[]) w"
        ).fetchone()
    settings = {name: str(row[0]) for name, row in found.items() if row}
    assert settings | {"server_version_num": settings["server_version_num"][:2]} == wanted
    assert order == ("Zaé",)


def test_the_database_asks_for_its_password(pair: embedded.Servers) -> None:
    """Other users of the machine can reach the port, but not the data."""
    url = urlsplit(pair.dsn)
    wrong = url._replace(netloc=f"{url.username}:wrong@{url.hostname}:{url.port}").geturl()
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(wrong)


def test_failed_statements_leave_no_values_in_the_log(pair: embedded.Servers) -> None:
    """A refused value reaches neither the database's log nor Kafka's."""
    with psycopg.connect(pair.dsn, autocommit=True) as connection:
        connection.execute("CREATE TABLE once (word text PRIMARY KEY)")
        connection.execute("INSERT INTO once VALUES ('canary-7f3')")
        for statement in ("INSERT INTO once VALUES ('canary-7f3')", "SELECT 'canary-7f3'::integer"):
            with pytest.raises(psycopg.Error):
                connection.execute(statement)
    logs = "".join(path.read_text(errors="replace") for path in (pair.data_dir / "logs").iterdir())
    assert "duplicate key" in logs
    assert "INSERT" not in logs
    assert "Key (word)" not in logs


def test_no_secret_is_on_a_command_line_or_readable_by_others(pair: embedded.Servers, seen: set[str]) -> None:
    """Generated passwords appear in no process list, not even during the set-up, and in no file open to others."""
    memory = json.loads((pair.data_dir / "embedded.json").read_text())
    passwords = (memory["database_password"], memory["scram_password"])
    assert any("StorageTool" in line for line in seen)
    assert any("initdb" in line for line in seen)
    assert not [line for line in seen for password in passwords if password in line]
    visible = [path for path in pair.data_dir.rglob("*") if path.is_file() and path.stat().st_mode & 0o077]
    assert not [path for path in visible for password in passwords if password.encode() in path.read_bytes()]


def test_kafka_takes_large_messages_and_makes_no_topic_by_itself(pair: embedded.Servers) -> None:
    """A message of 4 MiB passes, and a mistyped topic is an error instead of a new topic."""
    make_topic(pair.bootstrap, "large")
    body = bytes(4 * 1024 * 1024)
    produce(pair.bootstrap, "large", body)
    assert consume(pair.bootstrap, "large") == body
    with pytest.raises(KafkaException, match=r"UNKNOWN_TOPIC|Unknown topic"):
        produce(pair.bootstrap, "mistyped", b"x")


def test_kafka_serves_groups_and_transactions(pair: embedded.Servers) -> None:
    """Consumer groups with short sessions, and transactional producers, work on the single node."""
    make_topic(pair.bootstrap, "exact")
    producer = Producer({"bootstrap.servers": pair.bootstrap, "transactional.id": "embedded-test"})
    producer.init_transactions(WITHIN_S)
    for commit, body in ((False, b"aborted"), (True, b"committed")):
        producer.begin_transaction()
        producer.produce("exact", body)
        producer.commit_transaction(WITHIN_S) if commit else producer.abort_transaction(WITHIN_S)
    group = {"group.id": "g", "session.timeout.ms": 1500, "isolation.level": "read_committed"}
    consumer = Consumer({"bootstrap.servers": pair.bootstrap, "auto.offset.reset": "earliest", **group})
    consumer.subscribe(["exact"])
    message = poll(consumer)
    consumer.commit(asynchronous=False)
    consumer.close()
    assert message == b"committed"


def pids(pair: embedded.Servers) -> tuple[int | None, int | None]:
    return pair.kafka.pid, pair.postgres.pid


def make_topic(bootstrap: str, topic: str) -> None:
    """A topic of one partition."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(WITHIN_S)


def produce(bootstrap: str, topic: str, body: bytes) -> None:
    """Send one message and wait for its acknowledgement."""
    options = {"message.max.bytes": 5_000_000, "acks": "all", "topic.metadata.propagation.max.ms": 1000}
    producer = Producer({"bootstrap.servers": bootstrap, **options})
    errors: list[object] = []
    producer.produce(topic, body, on_delivery=lambda error, _message: errors.append(error))
    assert producer.flush(WITHIN_S) == 0
    if errors[0] is not None:
        raise KafkaException(errors[0])


def consume(bootstrap: str, topic: str) -> bytes:
    """The first message of a topic."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "unused", "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic, 0, 0)])
    body = poll(consumer)
    consumer.close()
    return body


def poll(consumer: Consumer) -> bytes:
    """The next message, within a bounded time."""
    deadline_s = time.monotonic() + WITHIN_S
    while time.monotonic() < deadline_s:
        message = consumer.poll(1.0)
        if message is not None and message.error() is None:
            return message.value() or b""
    raise AssertionError("no message came")
