"""What reaches running workers: operators' pauses, new definitions, producers' transactions, other workers."""

from typing import Any

import orjson
import pytest
from aiokafka import AIOKafkaProducer

from consumers.commands import consumer
from orchestrator import embedded
from orchestrator.settings import Settings
from tests.support.world import World


async def _total(one: World, customer: str) -> int:
    journey = one.journey(customer)
    return 0 if journey is None else int(journey["snapshot"]["state"]["total"])


async def test_a_paused_lane_waits_over_restarts_until_it_is_resumed(one: World) -> None:
    """Pausing one lane stops its commands and timers, survives restarts, and leaves the others alone."""
    await one.start()
    paused, other = one.customers(0, 1)[0], one.customers(1, 1)[0]
    assert await one.ask(0, "pause", reason="moving house") == "paused"
    assert await one.ask(0, "pause") == "was paused already"
    await one.send(paused)
    await one.send(other)
    await one.until(lambda: one.journey(other), "the other lane decides")
    await one.restart()
    assert one.readiness()["lanes"]["000"]["state"] == "paused"
    await one.send(other, id="again")
    await one.until(lambda: (one.journey(other) or {"version": 0})["version"] == 3, "the other lane decides")
    assert one.journey(paused) is None
    assert await one.ask(0, "resume") == "resumed"
    await one.settled()
    assert await _total(one, paused) == 1
    assert await one.ask(0, "resume") == "was resumed already"


async def test_a_definition_published_later_reaches_running_workers(one: World) -> None:
    """A command for a definition published a moment ago is decided, without a restart or a wait."""
    await one.start()
    one.publish("later")
    await one.send("cus-1", stream="toy:later")
    await one.settled()
    assert one.journey("cus-1", "toy:later") is not None
    assert one.dead_letters() == []


async def test_running_journeys_keep_their_version_and_new_ones_take_the_newest(one: World) -> None:
    """A new version reaches running workers; journeys begun before keep the version they were begun with."""
    await one.start()
    old, new = one.customers(0, 2)
    await one.send(old)
    await one.settled()
    one.publish("t", 2, {"events": ["view", "login"]})

    async def taken() -> bool:
        probe = one.customers(0, 1, f"probe-{one._ids}")[0]
        await one.send(probe)
        await one.settled()
        journey = one.journey(probe)
        assert journey is not None
        return bool(journey["definition_version"] == 2)

    await one.until(taken, "version 2 in use")
    await one.send(old, id="again")
    await one.raw(new, "login", 2, "i-1")
    await one.restart()
    await one.send(old, id="after")
    await one.settled()
    versions = {c: (one.journey(c) or {}).get("definition_version") for c in (old, new)}
    assert versions == {old: 1, new: 2}
    assert (await _total(one, old), await _total(one, new)) == (3, 2)


async def test_a_producers_transactions_delay_no_timer_and_look_like_no_stall(
    one: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end of a producer's transaction takes an offset that no reader gets: timers fire, and nobody waits for it."""
    monkeypatch.setattr(consumer, "_STALL_S", 0.5)
    monkeypatch.setattr(consumer, "_HEALTH_EVERY_S", 0.2)
    await one.start()
    begun = one.runners
    [customer] = one.customers(0, 1)
    producer = AIOKafkaProducer(
        **one.settings.kafka(), transactional_id=f"{one.settings.topic_prefix}upstream"
    )
    await producer.start()
    try:
        headers = list(one.headers(customer, "arm", "k-1").items())
        async with producer.transaction():
            await producer.send_and_wait(
                one.settings.topic("commands"), orjson.dumps({"timer": "a", "delay_ms": 300}),
                key=one.owner(customer).encode(), headers=headers, partition=0,
            )  # fmt: skip
        await one.until(lambda: (one.journey(customer) or {"version": 0})["version"] == 3, "fired")
        seen: list[Any] = []
        watched = consumer.CommandConsumer._look_for_stalls

        def looking(*arguments: Any) -> None:
            seen.append(1)
            watched(*arguments)

        monkeypatch.setattr(consumer.CommandConsumer, "_look_for_stalls", looking)
        await one.until(lambda: len(seen) > 8, "looked for stalls")
        assert one.runners == begun
    finally:
        await producer.stop()


async def test_workers_of_one_group_share_the_lanes_and_take_over(
    one: World, servers: embedded.Servers
) -> None:
    """Two workers divide the lanes; when one leaves, the other has them all."""
    await one.start()
    other = World(one.settings, one._kinds)
    other.begin()
    try:
        await one.until(
            lambda: len(one.runners) == len(other.runners) == 1 and other.readiness()["ready"], "shared"
        )
    finally:
        await other.stop()
    await one.until(lambda: len(one.runners) == 2 and one.readiness()["ready"], "all taken over")


def test_settings_tell_no_secret() -> None:
    """Printing the settings prints no password."""
    made = Settings(database_url="postgresql://u:canary@h/d", kafka_sasl_password="canary")
    assert "canary" not in repr(made)
