"""Where a lane reads on: its own position and the record there decide, and nothing is skipped or doubled silently."""

from typing import Any

import orjson
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.records_to_delete import RecordsToDelete
from aiokafka.errors import KafkaError
from prometheus_client import REGISTRY

from orchestrator import embedded
from orchestrator.installation import Databases, init
from tests.support.world import World, world


async def _total(one: World, customer: str) -> int:
    journey = one.journey(customer)
    return 0 if journey is None else int(journey["snapshot"]["state"]["total"])


async def _recreate(one: World, topic: str) -> None:
    """Delete a topic and make it anew, empty."""
    name = one.settings.topic(topic)
    admin = AIOKafkaAdminClient(**one.settings.kafka())
    await admin.start()
    try:
        await admin.delete_topics([name])

        async def made() -> bool:
            config = {"message.timestamp.type": "LogAppendTime", "max.message.bytes": str(4 << 20)}
            answer = await admin.create_topics([NewTopic(name, one.settings.lanes, 1, topic_configs=config)])
            return all(code == 0 for _, code, *_ in answer.topic_errors)

        await one.until(made, "recreated")
    finally:
        await admin.close()
    assert one._producer is not None
    await one._producer.stop()  # it knows the old topic's leader and sequence
    one._producer = AIOKafkaProducer(**one.settings.kafka(), acks="all", enable_idempotence=True)
    await one._producer.start()


async def _truncate(one: World, topic: str, lane: int, before: int) -> None:
    """Do what retention does: delete the records below an offset."""
    admin = AIOKafkaAdminClient(**one.settings.kafka())
    await admin.start()
    try:
        await admin.delete_records(
            {TopicPartition(one.settings.topic(topic), lane): RecordsToDelete(before_offset=before)}
        )
    finally:
        await admin.close()


def _rebased(one: World, lane: int) -> list[Any]:
    rows = one.rows(
        f"SELECT state FROM lane_{lane:03d}.stored_events WHERE topic = 'lane.rebased.v1' ORDER BY 1"
    )
    return [orjson.loads(bytes(r["state"]))["data"] for r in rows]


def _at(one: World, lane: int, name: str) -> int:
    return int(one.rows(f"SELECT at FROM lane_{lane:03d}.positions WHERE name = %s", name)[0]["at"])


# ------------------------------------------------------------------ strays


async def test_a_stray_is_forwarded_once_and_decided_in_its_own_lane(one: World) -> None:
    """A producer with another partitioner puts a key into the wrong lane: it is sent on, decided once, and counted."""
    await one.start()
    before = REGISTRY.get_sample_value("journey_forwarded_total", {"source": "tests"}) or 0.0
    [customer] = one.customers(0, 1)
    await one.send(customer, data={"n": 5}, id="astray", partition=1)
    await one.settled()
    assert await _total(one, customer) == 5
    assert [r["topic"] for r in one.rows("SELECT topic FROM lane_001.stored_events")] == ["lane.forwarded.v1"]
    sent = [r for r in await one.read("commands") if "journey-hops" in r.headers]
    assert [(r.partition, r.header("journey-hops"), r.key) for r in sent] == [
        (0, "1", one.owner(customer).encode())
    ]
    assert REGISTRY.get_sample_value("journey_forwarded_total", {"source": "tests"}) == before + 1
    await one.send(customer, data={"n": 5}, id="astray")
    await one.settled()
    assert await _total(one, customer) == 5


async def test_a_stray_raw_event_is_forwarded_as_one(one: World) -> None:
    """A raw event in the wrong lane keeps its shape on its way to the right one."""
    await one.start()
    [customer] = one.customers(0, 1)
    event = {"userId": customer, "type": "view", "payload": {"n": 3}, "idempotencyKey": "i-1"}
    await one.put("raw", orjson.dumps(event), customer.encode(), [("ce_organization", b"acme")], 1)
    await one.settled()
    assert await _total(one, customer) == 3
    assert one.dead_letters() == []


async def test_a_second_hop_is_a_dead_letter(one: World) -> None:
    """What was forwarded and still comes to the wrong lane would circle: it is dead-lettered instead."""
    await one.start()
    [customer] = one.customers(0, 1)
    await one.send(customer, partition=1, headers={"journey-hops": "1"})
    await one.settled()
    [letter] = one.dead_letters()
    assert (letter["reason"], letter["lane"]) == ("stray_twice", 1)
    assert await one.ask(1, "retry", id=letter["id"]) == "sent again"
    await one.settled()
    assert await _total(one, customer) == 1


# ------------------------------------------------------------------ the log isn't the one it was


async def test_a_recreated_topic_is_read_from_its_beginning(one: World) -> None:
    """A topic that was deleted and made anew is noticed, recorded, and read from its start: nothing of it is skipped."""
    await one.start()
    [customer] = one.customers(0, 1)
    for n in range(5):
        await one.send(customer, id=f"old-{n}")
    await one.settled()
    await one.stop()
    await _recreate(one, "commands")
    await one.send(customer, id="old-3")  # sent again by a producer that was unsure
    await one.send(customer, id="new")
    await one.start()
    await one.settled()
    assert await _total(one, customer) == 6
    [rebased] = _rebased(one, 0)
    assert (rebased["was_at"], rebased["resumes_after"]) == (4, -1)
    assert "before the position 4" in rebased["reason"]


async def test_a_recreated_topic_that_has_grown_past_the_position_is_noticed(one: World) -> None:
    """An offset alone proves nothing: the record at the position must be the one remembered."""
    await one.start()
    [customer] = one.customers(0, 1)
    for n in range(3):
        await one.send(customer, id=f"old-{n}")
    await one.settled()
    await one.stop()
    await _recreate(one, "commands")
    for n in range(6):
        await one.send(customer, id=f"new-{n}")
    await one.start()
    await one.settled()
    assert await _total(one, customer) == 9
    [rebased] = _rebased(one, 0)
    assert "another one" in rebased["reason"]


async def test_a_topic_recreated_under_a_running_worker_is_read_from_its_beginning(one: World) -> None:
    """Deleting and remaking a topic while a worker reads it loses nothing of the new one."""
    await one.start()
    [customer] = one.customers(0, 1)
    for n in range(5):
        await one.send(customer, id=f"old-{n}")
    await one.settled()
    await _recreate(one, "commands")
    for n in range(2):
        await one.send(customer, id=f"new-{n}")
    await one.until(lambda: _rebased(one, 0), "rebased")
    await one.until(lambda: len(one.runners) == 2, "owned again")
    await one.settled()
    assert await _total(one, customer) == 7


async def test_a_log_whose_tail_was_lost_is_read_again(one: World) -> None:
    """When Kafka lost what a lane had handled, the lane reads what is left again and decides nothing twice."""
    await one.start()
    [customer] = one.customers(0, 1)
    for n in range(5):
        await one.send(customer, id=f"k-{n}")
    await one.settled()
    await one.stop()
    await _recreate(one, "commands")
    for n in range(3):  # the log as it was, without its last two records
        await one.send(customer, id=f"k-{n}")
    await one.start()
    await one.settled()
    assert await _total(one, customer) == 5
    assert len(_rebased(one, 0)) == 1
    duplicates = [o for o in await one.outcomes() if o.get("duplicate")]
    assert [o["id"] for o in duplicates] == ["k-0", "k-1", "k-2"]


async def test_retention_beyond_the_position_stops_the_lane_until_an_operator_accepts_the_gap(
    one: World,
) -> None:
    """Messages deleted unread are never skipped silently: the lane stops, unready, naming the gap and the cure."""
    await one.start()
    mine, others = one.customers(0, 1)[0], one.customers(1, 1)[0]
    for n in range(3):
        await one.send(mine, id=f"before-{n}")
    await one.settled()
    await one.stop()
    for n in range(4):
        await one.send(mine, id=f"lost-{n}")
    await one.send(mine, id="kept")
    await _truncate(one, "commands", 0, 7)
    one.begin()
    await one.until(lambda: one.readiness()["lanes"].get("000", {}).get("state") == "stopped", "stopped")
    state = one.readiness()
    assert not state["ready"]
    reason = state["lanes"]["000"]["reason"]
    assert "messages 3 to 6 were deleted unread" in reason
    assert f"orchestrator lanes rebase 0 --topic {one.settings.topic('commands')}" in reason
    await one.send(others)
    await one.until(lambda: one.journey(others), "the other lane moves")
    assert await _total(one, mine) == 3
    topic = one.settings.topic("commands")
    assert await one.ask(0, "rebase", topic=topic, resumes_after=6, reason="the shop accepts it") == "rebased"
    await one.until(lambda: one.readiness()["ready"], "ready again")
    await one.settled()
    assert await _total(one, mine) == 4
    [rebased] = _rebased(one, 0)
    assert (rebased["was_at"], rebased["resumes_after"], rebased["reason"]) == (2, 6, "the shop accepts it")


async def test_retention_of_what_was_handled_stops_nobody(one: World) -> None:
    """A log that begins right after the position has lost nothing of the lane's."""
    await one.start()
    [customer] = one.customers(0, 1)
    for n in range(3):
        await one.send(customer, id=f"k-{n}")
    await one.settled()
    await one.stop()
    await _truncate(one, "commands", 0, 3)
    await one.start()
    await one.send(customer, id="next")
    await one.settled()
    assert await _total(one, customer) == 4
    assert _rebased(one, 0) == []


async def test_a_running_lane_can_be_sent_back(one: World) -> None:
    """An operator's rebase takes effect at once; what is read again is known and decided no second time."""
    await one.start()
    [customer] = one.customers(0, 1)
    for n in range(4):
        await one.send(customer, id=f"k-{n}")
    await one.settled()
    assert await one.ask(0, "rebase", topic=one.settings.topic("commands"), resumes_after=-1) == "rebased"
    await one.until(lambda: _at(one, 0, "in:" + one.settings.topic("commands")) == 3, "read again")
    await one.settled()
    assert await _total(one, customer) == 4
    assert sum(o.get("duplicate", False) for o in await one.outcomes()) == 4


# ------------------------------------------------------------------ beginnings


async def test_a_new_installation_begins_where_its_topics_begin(
    servers: embedded.Servers, database: str, topic_prefix: str
) -> None:
    """Topics older than the database may have lost their first records: the first start begins at what there is."""
    async with world(servers.bootstrap, database, topic_prefix) as old:
        [customer] = old.customers(0, 1)
        for n in range(5):
            await old.send(customer, id=f"k-{n}")
        await _truncate(old, "commands", 0, 2)
        for lane in ("lane_000", "lane_001", "orchestrator"):
            old.execute(f"DROP SCHEMA {lane} CASCADE")
        databases = Databases(old.settings)
        try:
            await init(old.settings, databases)
        finally:
            databases.close()
        old.publish()
        await old.start()
        await old.settled()
        assert await _total(old, customer) == 3
        assert _rebased(old, 0) == []


async def test_effects_of_a_new_database_are_sent_though_kafka_remembers_an_older_one(one: World) -> None:
    """Kafka's memory of a log that is no more must not swallow the effects and snapshots of the new one."""
    await one.start()
    [customer] = one.customers(0, 1)
    for n in range(5):
        await one.send(customer, "ask", id=f"k-{n}")
    await one.settled()
    await one.stop()
    for lane in ("lane_000", "lane_001", "orchestrator"):
        one.execute(f"DROP SCHEMA {lane} CASCADE")
    databases = Databases(one.settings)
    try:
        await init(one.settings, databases)
    finally:
        databases.close()
    one.publish()
    before = len(await one.read("effects"))
    await one.start()
    await one.until(lambda: _at(one, 0, "out:exactly_once") >= 6, "followed")
    await one.settled()
    assert len(await one.read("effects")) == before + 5


async def test_a_restart_reads_on_after_the_position_whatever_kafkas_group_says(one: World) -> None:
    """Kafka's committed offset is advice: set to the end or the beginning, it skips nothing and repeats nothing."""
    await one.start()
    [customer] = one.customers(0, 1)
    await one.send(customer, id="k-0")
    await one.settled()
    await one.stop()
    for n in range(1, 4):
        await one.send(customer, id=f"k-{n}")
    partition = TopicPartition(one.settings.topic("commands"), 0)
    for lie in (4, 0):
        await _commit_for_the_group(one, {partition: lie})
        await one.restart()
        await one.settled()
        assert await _total(one, customer) == 4
        assert not any(o.get("duplicate") for o in await one.outcomes())
        await one.stop()


async def _commit_for_the_group(one: World, offsets: dict[TopicPartition, int]) -> None:
    from aiokafka import AIOKafkaConsumer

    reader = AIOKafkaConsumer(**one.settings.kafka(), group_id=one.settings.group, enable_auto_commit=False)
    await reader.start()
    try:
        reader.assign(list(offsets))

        async def committed() -> bool:
            try:
                await reader.commit(offsets)
            except KafkaError:  # while the stopped member is still known
                return False
            return True

        await one.until(committed, "committed")
    finally:
        await reader.stop()


async def test_positions_never_go_back_over_restarts(one: World) -> None:
    """However often a worker restarts, positions of the log and of every follower only rise, up to the log's end."""
    [customer] = one.customers(0, 1)
    followers = ("publisher", "exactly_once", "journeys")
    last: dict[str, int] = {}
    for n in range(3):
        await one.start()
        await one.send(customer, "ask", id=f"k-{n}")
        await one.settled()
        await one.until(
            lambda: {_at(one, 0, f"out:{name}") for name in followers} == {_at(one, 0, "log")}, "saved"
        )
        await one.stop()
        now = {r["name"]: int(r["at"]) for r in one.rows("SELECT name, at FROM lane_000.positions")}
        assert all(now[name] >= at for name, at in last.items() if name != "suspect")
        last = now
    assert {last[f"out:{name}"] for name in followers} == {last["log"]}
    assert len(await one.read("effects")) == 3
    assert len({r.header("ce_id") for r in await one.read("outcomes")}) == len(await one.read("outcomes"))
