"""The runner on a real Kafka: every effect answered, in its stream's order, offsets behind the answers."""

import asyncio
from collections import Counter
from typing import Any, ClassVar

import orjson
import pytest
from aiohttp import web
from aiokafka import AIOKafkaProducer
from prometheus_client import CollectorRegistry

from consumers.actions.base import Context, EffectRequest, Ending
from consumers.effects import EffectMetrics, EffectRunner, EffectRunnerStalled
from consumers.effects.group import Group
from orchestrator.core.addresses import lane_of, parse_stream
from tests.effects.bus import PARTITIONS, Bus, ce, data, effect, stream_of
from tests.effects.gate import AnyParams, Gate, options
from tests.effects.receiver import receiver, status
from tests.effects.wire import headers


async def test_every_effect_is_answered_on_its_owners_lane(bus: Bus) -> None:
    """Each request gets one answer, by key and partition its owner's; then its offset is committed."""
    async with receiver(status(200, b'{"ok": true}')) as shop:
        requests = [
            effect(
                c,
                n,
                kind=("webhook", "log", "publish")[n],
                params=({"url": shop.url()}, {}, {"topic": bus.out})[n],
            )
            for c in range(20)
            for n in range(3)
        ]
        await bus.request(*requests)
        registry = CollectorRegistry()
        async with bus.running(metrics=EffectMetrics(registry)):
            answers = await bus.answers(60)
        published = await bus.read(bus.out, lambda found: len(found) >= 20)
    assert Counter(ce(a)["ce_id"] for a in answers) == Counter(
        f"{r['stream']}/{r['effect']}/1" for r in requests
    )
    for answer in answers:
        owner = parse_stream(ce(answer)["ce_subject"]).owner.text
        assert answer.key == owner.encode()
        assert answer.partition == lane_of(owner, PARTITIONS)
        assert ce(answer)["ce_type"] == "effect.succeeded"
        assert ce(answer)["ce_source"] == "engine/effects"
    assert {ce(p)["ce_id"] for p in published} == {
        r["idempotency_key"] for r in requests if r["type"] == "publish"
    }
    assert await bus.committed() == await bus.ends()
    count = registry.get_sample_value(
        "journey_effects_performed_total", {"type": "webhook", "result": "succeeded"}
    )
    assert count == 20


async def test_a_streams_effects_keep_their_order(bus: Bus) -> None:
    """Within one stream the second call begins after the first is answered; other streams don't wait."""
    gate = Gate()
    await bus.request(
        *[effect(1, n, kind="gate") for n in range(3)], effect(2, 0, kind="gate", params={"quick": True})
    )
    async with bus.running(**options(gate)):
        answers = await bus.answers(1)
        assert ce(answers[0])["ce_subject"] == stream_of(2)
        assert [r.effect for r in gate.calls if r.stream.text == stream_of(1)] == ["0-0"]
        gate.opened.set()
        await bus.answers(4)
    assert [r.effect for r in gate.calls if r.stream.text == stream_of(1)] == ["0-0", "1-0", "2-0"]


async def test_offsets_wait_for_the_slowest(bus: Bus) -> None:
    """While the first effect of a partition is unanswered, nothing of that partition is committed past it."""
    gate = Gate()
    slow, quick = (
        effect(1, kind="gate"),
        effect(1, 1, stream=f"{stream_of(1)}2", kind="gate", params={"quick": True}),
    )
    await bus.request(slow)
    await bus.request(quick)
    partition = lane_of("acme/c/cus-1", PARTITIONS)
    async with bus.running(**options(gate)):
        await bus.answers(1)
        assert (await bus.committed())[partition] == 0
        gate.opened.set()
        await bus.answers(2)
    assert (await bus.committed())[partition] == 2


async def test_work_under_way_is_bounded(bus: Bus) -> None:
    """No more calls than `concurrency`, no more records taken than the partition's bound, and all get done."""
    gate = Gate()
    await bus.request(*[effect(c, kind="gate") for c in range(30)])
    settings = bus.settings(concurrency=3, pending_per_partition=2)
    registry = CollectorRegistry()
    async with bus.running(settings, metrics=EffectMetrics(registry), **options(gate)):
        await gate.called.wait()
        while gate.under_way < 3:
            await asyncio.sleep(0.01)
        assert (registry.get_sample_value("journey_effects_pending") or 0) <= 2 * PARTITIONS
        gate.opened.set()
        await bus.answers(30)
    assert gate.most_under_way == 3


async def test_unreadable_records_delay_nobody(bus: Bus) -> None:
    """A broken request is answered or dead-lettered, counted, and its neighbours are performed."""
    async with receiver(status(200)) as shop:
        good = [effect(1, n, params={"url": shop.url()}) for n in (0, 2)]
        unknown_type = effect(1, 3, kind="pigeon")
        bad_params = effect(1, 4, params={"uri": "x"})
        await bus.request(good[0])
        await bus.write(
            bus.topics.effects,
            [
                (b"acme/c/cus-1", b"{broken", headers("1-0", stream_of(1))),
                (b"acme/c/cus-1", b"\xff\x00garbage", [("x", b"y")]),
                (b"acme/c/cus-1", None, []),
                (None, b"[]", []),
            ],
        )
        await bus.request(good[1], unknown_type, bad_params)
        registry = CollectorRegistry()
        async with bus.running(metrics=EffectMetrics(registry)):
            answers = await bus.answers(5)
            dead = await bus.read(bus.topics.dead_letters, lambda found: len(found) >= 3)
    told = {data(a)["effect"]: (ce(a)["ce_type"], data(a).get("error", "")) for a in answers}
    assert told == {
        "0-0": ("effect.succeeded", ""),
        "1-0": ("effect.failed", "malformed"),
        "2-0": ("effect.succeeded", ""),
        "3-0": ("effect.failed", "unknown_type"),
        "4-0": ("effect.failed", "invalid_params"),
    }
    assert sorted((d.value or b"") for d in dead) == [b"", b"[]", b"\xff\x00garbage"]
    assert all(ce(d)["__connect.errors.topic"] == bus.topics.effects for d in dead)
    assert (
        registry.get_sample_value("journey_effect_records_unreadable_total", {"ending": "dead_lettered"}) == 3
    )
    assert await bus.committed() == await bus.ends()


async def test_a_provider_that_breaks_is_answered(bus: Bus) -> None:
    """A provider's bug becomes a retryable answer without data; other effects go on."""

    class Broken:
        name: ClassVar[str] = "broken"
        idempotent: ClassVar[bool] = True
        params: ClassVar[type[AnyParams]] = AnyParams

        async def perform(self, request: EffectRequest, params: AnyParams, context: Context) -> Ending:
            raise RuntimeError("ada@example.test")

    await bus.request(effect(1, kind="broken"))
    async with bus.running(providers=(Broken(),)):
        answer = (await bus.answers(1))[0]
    assert data(answer) | {"detail": ""} == {
        "effect": "0-0",
        "attempt": 1,
        "error": "provider_error",
        "detail": "",
        "retryable": True,
        "retry_after_ms": None,
    }
    assert b"ada@" not in answer.value


async def test_aborted_requests_are_never_performed(bus: Bus) -> None:
    """Only what was published in a committed transaction is performed, once."""
    gate = Gate()
    producer = AIOKafkaProducer(**bus.kafka, transactional_id=f"{bus.group}-tx")
    await producer.start()
    for customer, committed in ((1, True), (2, False), (3, True)):
        await producer.begin_transaction()
        for partition in range(PARTITIONS):
            one = effect(customer, partition, kind="gate", params={"quick": True})
            await bus_send(producer, bus, one, partition)
        await (producer.commit_transaction() if committed else producer.abort_transaction())
    await producer.stop()
    async with bus.running(**options(gate)):
        await bus.answers(6)
    assert Counter(r.stream.text for r in gate.calls) == {stream_of(1): 3, stream_of(3): 3}
    failures: list[BaseException] = []
    group = Group(
        bus.kafka, bus.topics.effects, bus.settings(), EffectMetrics(CollectorRegistry()), failures.append
    )
    await group.start()
    async with asyncio.timeout(60):
        # The markers behind the last record are no backlog for the watchdog.
        while not group.lanes or await group.behind():
            assert await group.poll() == []
    await group.close()
    assert not failures


async def test_a_late_commit_never_goes_back(bus: Bus) -> None:
    """A commit that was overtaken by one for a call that must not repeat doesn't bring its record back."""
    errors: list[BaseException] = []
    group = Group(
        bus.kafka, bus.topics.effects, bus.settings(), EffectMetrics(CollectorRegistry()), errors.append
    )
    await group.start()
    async with asyncio.timeout(60):
        while not group.lanes:
            await group.poll()
    lane = next(iter(group.lanes.values()))
    for offset in range(3):
        lane.take(offset)
    assert await group.commit_at(lane, 3)
    lane.finish(0)
    assert await group.commit([lane])
    assert (await bus.committed())[lane.partition.partition] == 3
    lane.close()
    assert not await group.commit_at(lane, 4)
    await group.close()
    assert not errors


async def bus_send(producer: AIOKafkaProducer, bus: Bus, one: dict[str, Any], partition: int) -> None:
    await producer.send_and_wait(bus.topics.effects, orjson.dumps(one), partition=partition)


async def test_a_stop_lets_calls_end(bus: Bus) -> None:
    """A stop starts nothing new, but what is under way is answered and committed."""
    gate = Gate()
    await bus.request(effect(1, kind="gate"))
    async with bus.running(**options(gate)) as runner:
        await gate.called.wait()
        runner.request_stop()
        await bus.request(effect(1, 1, kind="gate"))
        gate.opened.set()
        await bus.answers(1)
    assert len(gate.calls) == 1
    assert sum((await bus.committed()).values()) == 1


async def test_a_stalled_runner_ends_with_an_error(bus: Bus) -> None:
    """When Kafka is there but no answer gets through, the runner gives up loudly instead of hanging."""
    gate = Gate()
    gate.opened.set()
    await bus.request(effect(1, kind="gate"))
    topics = type(bus.topics)(effects=bus.topics.effects, commands=f"{bus.out}.missing")
    runner = EffectRunner(
        kafka=bus.kafka,
        topics=topics,
        settings=bus.settings(stall_timeout_s=1.0, max_timeout_ms=100, produce_timeout_s=0.5),
        providers=(gate,),
    )
    with pytest.raises(EffectRunnerStalled, match="1 effects pending"):
        await asyncio.wait_for(runner.run(), 60)
    assert sum((await bus.committed()).values()) == 0


async def test_a_cancelled_runner_leaves_its_calls_to_the_group(bus: Bus) -> None:
    """Cancelled in the middle of a call, the runner commits nothing; the next one calls again with the same key."""
    gate = Gate()
    await bus.request(effect(1, kind="gate"))
    runner = EffectRunner(kafka=bus.kafka, topics=bus.topics, settings=bus.settings(), providers=(gate,))
    task = asyncio.create_task(runner.run())
    await gate.called.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    gate.opened.set()
    async with bus.running(**options(gate)):
        await bus.answers(1)
    assert [r.idempotency_key for r in gate.calls] == [f"{stream_of(1)}/0-0"] * 2


async def test_a_slow_receiver_ends_at_the_effects_timeout(bus: Bus) -> None:
    """`timeout_ms` of the request bounds its call, whatever the receiver does."""

    async def hang(_request: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    async with receiver(hang) as shop:
        await bus.request(effect(1, params={"url": shop.url()}, timeout_ms=100))
        async with bus.running():
            answer = (await bus.answers(1))[0]
    assert (data(answer)["error"], data(answer)["retryable"]) == ("timeout", True)
