"""The sample clients of docs/publishing.md, each against a real broker and a real worker."""

import json
import re
import subprocess
import time
from uuid import uuid4
from zlib import crc32

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from orchestrator.core.addresses import customer, lane_of
from tests.clients.conftest import ROOT, Installation
from tests.clients.toolchains import SAMPLES

# One process builds the samples and owns the worker; building from empty caches takes a while.
pytestmark = [pytest.mark.xdist_group("clients"), pytest.mark.timeout(480)]

AWKWARD = "cus 1*é~(x)!'+/%"  # each of these is encoded differently by one language or another


def _command(key: str, customer_id: str, event: str = "PROFILE_COMPLETED") -> list[str]:
    data = json.dumps({"type": event})
    return [
        "--source",
        "tests",
        "--timeout-s",
        "90",
        "acme",
        customer_id,
        "lifecycle:shop",
        "event",
        key,
        data,
    ]


def _find(installation: Installation, key: str) -> Message:
    """The record on the commands topic whose ce_id is `key`."""
    consumer = Consumer({"bootstrap.servers": installation.bootstrap, "group.id": "unused"})
    topic = installation.environment["COMMANDS_TOPIC"]
    partitions = consumer.list_topics(topic, timeout=30).topics[topic].partitions
    consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in partitions])
    deadline_s = time.monotonic() + 30
    try:
        while time.monotonic() < deadline_s:
            message = consumer.poll(1.0)
            if message is not None and dict(message.headers() or []).get("ce_id") == key.encode():
                return message
    finally:
        consumer.close()
    pytest.fail(f"no record with ce_id {key}")


def test_a_command_gets_its_outcome(installation: Installation, client: list[str]) -> None:
    """Each client's command is applied and answered; whatever is in the customer's id, it meets its lane directly."""
    admin = AdminClient({"bootstrap.servers": installation.bootstrap})
    topic = installation.environment["COMMANDS_TOPIC"]
    lanes = len(admin.list_topics(topic, timeout=30).topics[topic].partitions)
    # An owner that CRC32, the default of some clients, would put into another lane.
    owners = ((who, customer("acme", who).text) for who in (f"{AWKWARD}{n}" for n in range(1_000)))
    who, owner = next((w, o) for w, o in owners if crc32(o.encode()) % lanes != lane_of(o, lanes))
    key = f"k-{uuid4()}"
    outcome = installation.ask(client, *_command(key, who))
    assert outcome["outcome"] == "applied", outcome
    assert (outcome["source"], outcome["id"]) == ("tests", key)
    assert outcome["stream"] == f"{owner}/lifecycle:shop"
    assert outcome["revision"] >= 1
    message = _find(installation, key)
    assert message.key() == owner.encode()
    assert message.partition() == lane_of(owner, lanes)


def test_a_repeated_command_gets_its_first_outcome(installation: Installation, client: list[str]) -> None:
    """Each client may publish the same again: it is told the first outcome, and another body is refused."""
    key, who = f"k-{uuid4()}", f"c-{uuid4()}"
    first = installation.ask(client, *_command(key, who))
    again = installation.ask(client, *_command(key, who))
    other = installation.ask(client, *_command(key, who, event="EMAIL_OPENED"))
    assert again == {**first, "duplicate": True}
    assert (other["outcome"], other["reason"]) == ("rejected", "idempotency_conflict")


def test_waiting_has_an_end(installation: Installation, client: list[str]) -> None:
    """Without an answer each client gives up after its time limit and says so; no other command's outcome will do."""
    void = f"{installation.prefix}nobody-listens"
    admin = AdminClient({"bootstrap.servers": installation.bootstrap})
    if void not in admin.list_topics(timeout=30).topics:
        admin.create_topics([NewTopic(void, 2, 1)])[void].result(timeout=30)
    key = f"k-{uuid4()}"
    arguments = _command(key, "customer-1")
    arguments[arguments.index("90")] = "6"
    waiting = subprocess.Popen(
        [*client, *arguments],
        env={**installation.environment, "COMMANDS_TOPIC": void},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    producer = Producer({"bootstrap.servers": installation.bootstrap})
    while waiting.poll() is None:
        for source, other in (("tests", f"{key}-other"), ("other", key)):
            outcome = {"outcome": "applied", "source": source, "id": other, "stream": "x", "revision": 1}
            producer.produce(installation.environment["OUTCOMES_TOPIC"], json.dumps(outcome))
        producer.flush(10)
        time.sleep(0.1)
    said, complained = waiting.communicate(timeout=30)
    assert waiting.returncode == 1, said + complained
    assert key in complained
    assert said == ""


def test_wrong_use_is_told_apart(installation: Installation, client: list[str]) -> None:
    """Called without its arguments, each client shows how to call it and ends with 2."""
    ended = installation.call(client, "acme")
    assert ended.returncode == 2
    assert "usage" in ended.stderr.lower()


@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_producers_choose_their_compression(installation: Installation, codec: str) -> None:
    """A batch in any of Kafka's compressions is decided: some clients compress without being asked."""
    key, owner = f"k-{uuid4()}", f"acme/c/c-{uuid4()}"
    consumer = Consumer({"bootstrap.servers": installation.bootstrap, "group.id": "unused"})
    topic = installation.environment["OUTCOMES_TOPIC"]
    partitions = consumer.list_topics(topic, timeout=30).topics[topic].partitions
    consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in partitions])
    producer = Producer(
        {
            "bootstrap.servers": installation.bootstrap,
            "partitioner": "murmur2_random",
            "compression.type": codec,
        }
    )
    headers: dict[str, str | bytes | None] = {
        "ce_specversion": "1.0",
        "ce_id": key,
        "ce_source": "tests",
        "ce_type": "event",
        "ce_subject": f"{owner}/lifecycle:shop",
        "content-type": "application/json",
    }
    data = {"type": "PROFILE_COMPLETED", "payload": {"padding": "x" * 2_000}}
    producer.produce(
        installation.environment["COMMANDS_TOPIC"], key=owner, value=json.dumps(data), headers=headers
    )
    assert producer.flush(30) == 0
    deadline_s = time.monotonic() + 60
    found = None
    while found is None and time.monotonic() < deadline_s:
        message = consumer.poll(1.0)
        if message is not None:
            outcome = json.loads(message.value() or b"{}")
            found = outcome if outcome.get("id") == key else None
    consumer.close()
    assert found is not None, installation.log.read_text()[-4000:]
    assert found["outcome"] == "applied"


def test_the_samples_are_pinned_and_name_no_registry() -> None:
    """Each sample builds from pinned dependencies, wherever its user's registry is."""
    requirement = (SAMPLES / "python/requirements.txt").read_text().strip()
    assert re.search(rf"^{re.escape(requirement)} ", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    lock = (SAMPLES / "node/package-lock.json").read_text()
    assert '"resolved"' not in lock
    assert "integrity" in lock
    assert (SAMPLES / "go/go.sum").read_text()
    pom = (SAMPLES / "java/pom.xml").read_text()
    assert "<repositor" not in pom
    assert len(re.findall("<(?:dependency|plugin)>", pom)) == len(re.findall("<version>", pom)) - 1
