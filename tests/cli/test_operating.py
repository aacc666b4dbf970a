import asyncio
import json
import secrets
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from orchestrator.core.addresses import lane_of
from tests.cli.calling import SHOP, call
from tests.cli.conftest import Shop
from tests.cli.test_commands import command

pytestmark = pytest.mark.xdist_group("cli-shop")  # one installation for all


def letters(shop: Shop, source_id: str, *arguments: str) -> list[dict[str, Any]]:
    return [
        row
        for row in shop.ask("dlq", "list", "--limit", "1000", *arguments)
        if row["command_id"] == source_id
    ]


def test_a_dead_letter_is_shown_and_retried_once_its_definition_is_there(
    shop: Shop, customer: str, tmp_path, until
) -> None:
    """Publishing what was missing and retrying applies the command once."""
    name, key = f"late{secrets.token_hex(4)}", f"{customer}-1"
    line = command(customer, "event", key, {"type": "PRODUCT_VIEWED"}, name)
    (lost,) = shop.publish(line)
    assert (lost["outcome"], lost["reason"]) == ("dead_lettered", "unknown_definition")
    until(lambda: letters(shop, key))
    (row,) = letters(shop, key)

    shown = shop.ask("dlq", "show", row["id"])["message"]
    assert json.loads(shown["value"]["text"]) == {"type": "PRODUCT_VIEWED"}
    assert {h["name"]: h["text"] for h in shown["headers"]}["ce_id"] == key
    assert row["id"] in shop.call("dlq", "show", row["id"]).out

    document = tmp_path / "late.yaml"
    document.write_text(SHOP.read_text().replace("id: shop", f"id: {name}"))
    shop.ask("definitions", "publish", document)
    assert [answer["answer"] for answer in shop.ask("dlq", "retry", row["id"])] == ["sent again"]
    until(lambda: shop.call("journeys", "show", f"default/c/{customer}/lifecycle:{name}").code == 0)
    assert shop.ask("journeys", "show", f"default/c/{customer}/lifecycle:{name}")["view"]["views"] == 1
    assert [answer["answer"] for answer in shop.ask("dlq", "retry", row["id"])] == ["was retried already"]
    (again,) = shop.publish(line)
    assert (again["outcome"], again["duplicate"]) == ("applied", True)


def test_dead_letters_are_discarded_with_a_reason(shop: Shop, customer: str, until) -> None:
    """Giving up needs a reason and a yes, keeps the letter, and takes it from the open ones."""
    reason = "content_type"
    key = f"{customer}-1"
    asyncio.run(
        _send(
            shop,
            customer,
            [("content-type", b"text/plain"), ("ce_source", b"tests"), ("ce_id", key.encode())],
        )
    )
    until(lambda: letters(shop, key, "--reason-is", reason))
    (row,) = letters(shop, key, "--reason-is", reason)
    assert shop.call("dlq", "discard", row["id"]).code == 2
    refused = shop.call("dlq", "discard", "--all", "--reason-is", reason, "--reason", "a test", stdin="n\n")
    assert refused.code == 1
    assert letters(shop, key)
    shop.ask("dlq", "discard", "--all", "--reason-is", reason, "--reason", "a test", "--yes")
    until(lambda: not letters(shop, key))
    (row,) = letters(shop, key, "--status", "discarded")
    assert row["note"] == "a test"
    assert shop.call("dlq", "show", "no-such-letter").code == 1


def test_bytes_of_a_dead_letter_cannot_steer_the_terminal(shop: Shop, customer: str, until) -> None:
    """Escapes in headers and values are shown, not obeyed."""
    key = f"{customer}-\x1b[31m"
    asyncio.run(
        _send(
            shop,
            customer,
            [("content-type", b"text/\x1b]0;x\x07"), ("ce_source", b"tests"), ("ce_id", key.encode())],
            b"\x1b[2J\xff",
        )
    )
    until(lambda: letters(shop, key))
    (row,) = letters(shop, key)
    for ended in (shop.call("dlq", "show", row["id"]), shop.call("dlq", "list")):
        assert "\x1b" not in ended.out
        assert "\\x1b" in ended.out


def test_a_paused_lane_decides_nothing_until_resumed(shop: Shop, customer: str, until) -> None:
    """Pausing holds the lane's commands back and resuming decides them; both are answered by the lane's owner."""
    lane = str(lane_of(f"default/c/{customer}", 3))
    assert shop.ask("lanes", "pause", lane, "--reason", "a test") == [{"lane": int(lane), "answer": "paused"}]
    try:
        subject = f"default/c/{customer}/lifecycle:shop"
        shop.ask("commands", "publish", subject, "event", '{"type": "PRODUCT_VIEWED"}', "--id", "held")
        row = shop.ask("lanes", "list")[int(lane)]
        assert row["state"] == "paused"
        assert row["lag"] >= 1
        assert shop.call("journeys", "show", subject).code == 1
    finally:
        assert shop.ask("lanes", "resume", lane)[0]["answer"] == "resumed"
    until(lambda: shop.call("journeys", "show", subject).code == 0)
    assert shop.ask("lanes", "list")[int(lane)]["state"] == "owned"


def test_a_rebased_lane_reads_again_and_decides_nothing_twice(shop: Shop, customer: str) -> None:
    """Reading a topic again from its start is safe: every key is known."""
    subject = f"default/c/{customer}/lifecycle:shop"
    lane = lane_of(f"default/c/{customer}", 3)
    publish = (
        "commands",
        "publish",
        subject,
        "event",
        '{"type": "PRODUCT_VIEWED"}',
        "--id",
        "read-twice",
        "--wait",
    )
    before = shop.ask(*publish)
    topic = f"{shop.env['ORCHESTRATOR_TOPIC_PREFIX']}journeys.commands"
    assert shop.ask("lanes", "rebase", str(lane), "--topic", topic)[0]["answer"] == "rebased"
    assert shop.ask(*publish)["revision"] == before["revision"]
    assert shop.call("lanes", "rebase", str(lane), "--topic", topic, "--to", "999999999").code == 1
    assert shop.call("lanes", "rebase", "99", "--topic", topic).code == 1


def test_lanes_tell_where_they_are(shop: Shop) -> None:
    """Every lane has an owner, a position and the lag of each follower."""
    rows = shop.ask("lanes", "list")
    assert [row["lane"] for row in rows] == [0, 1, 2]
    assert all(row["owner"] for row in rows)
    assert all({"publisher", "exactly_once", "journeys"} <= set(row["followers"]) for row in rows)


def test_the_doctor_finds_nothing_to_fail(shop: Shop) -> None:
    """A working installation passes every check."""
    found = shop.ask("doctor")
    assert [finding for finding in found if finding["status"] == "fail"] == []
    assert {"Kafka", "PostgreSQL", "clocks", "topics", "lanes", "producers", "definitions"} <= {
        f["what"] for f in found
    }
    assert "ok" in shop.call("doctor").out


def test_the_doctor_names_a_source_with_a_wrong_partitioner(shop: Shop, customer: str) -> None:
    """A producer whose keys land in other lanes is named, with the cure."""
    source = f"stray-{customer}"
    wrong = (lane_of(f"default/c/{customer}", 3) + 1) % 3
    headers = [
        ("ce_id", b"1"), ("ce_source", source.encode()), ("ce_type", b"event"),
        ("ce_subject", f"default/c/{customer}/lifecycle:shop".encode()),
    ]  # fmt: skip
    asyncio.run(_send(shop, customer, headers, b'{"type": "PRODUCT_VIEWED"}', partition=wrong))
    (finding,) = [f for f in shop.ask("doctor") if f["what"] == "producers" and source in f["message"]]
    assert finding["status"] == "warn"
    assert "murmur2" in finding["cure"]


def test_the_doctor_ends_with_1_when_something_fails(shop: Shop) -> None:
    """Missing topics are a failure with a cure."""
    ended = call("doctor", env={**shop.env, "ORCHESTRATOR_TOPIC_PREFIX": f"nothing{secrets.token_hex(4)}."})
    assert ended.code == 1
    assert "orchestrator init" in ended.out


def test_a_request_without_a_worker_is_taken_back(servers, database, topic_prefix) -> None:
    """With nobody to answer, asking ends with 1 in bounded time and leaves no request behind for later."""
    import psycopg

    from tests.cli.calling import environment

    env = environment(
        KAFKA_BOOTSTRAP_SERVERS=servers.bootstrap,
        DATABASE_URL=database,
        ORCHESTRATOR_TOPIC_PREFIX=topic_prefix,
        ORCHESTRATOR_LANES="1",
    )
    assert call("init", env=env).code == 0
    ended = call("lanes", "pause", "0", "--reason", "a test", env=env)
    assert ended.code == 1
    assert "orchestrator worker" in ended.err
    with psycopg.connect(database) as connection:
        assert connection.execute("SELECT count(*) FROM lane_000.controls").fetchone() == (0,)


async def _send(
    shop: Shop, customer: str, headers, value: bytes = b"{}", partition: int | None = None
) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=shop.env["KAFKA_BOOTSTRAP_SERVERS"])
    await producer.start()
    try:
        topic = f"{shop.env['ORCHESTRATOR_TOPIC_PREFIX']}journeys.commands"
        await producer.send_and_wait(
            topic, value, key=f"default/c/{customer}".encode(), headers=headers, partition=partition
        )
    finally:
        await producer.stop()
