"""Processes that die, groups that rebalance, a broker that goes away: nothing lost, nothing doubled that mustn't."""

import asyncio
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from aiohttp import web

from consumers.effects import EffectSettings
from consumers.effects.lane import Lane
from orchestrator.core.addresses import lane_of
from orchestrator.embedded import Servers
from tests.effects.bus import PARTITIONS, WAIT_S, Bus, ce, data, effect, stream_of
from tests.effects.gate import Gate, options
from tests.effects.member import Arguments
from tests.effects.receiver import Call, receiver


class Shop:
    """A receiver that holds every call until `opened`, and notes their keys."""

    def __init__(self) -> None:
        self.called = asyncio.Event()
        self.opened = asyncio.Event()

    async def answer(self, _request: web.Request) -> web.Response:
        self.called.set()
        await self.opened.wait()
        return web.json_response({})


def keys(calls: list[Call]) -> Counter[str]:
    return Counter(call.headers["webhook-id"] for call in calls)


@asynccontextmanager
async def member(bus: Bus, settings: EffectSettings) -> AsyncIterator[asyncio.subprocess.Process]:
    """A runner's process; killed at the end if the test hasn't."""
    arguments = msgspec.json.encode(Arguments(bus.kafka, bus.topics, settings)).decode()
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "tests.effects.member", arguments)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@pytest.mark.parametrize("at_most_once", [False, True])
async def test_killed_in_the_middle_of_a_call(bus: Bus, *, at_most_once: bool) -> None:
    """After SIGKILL during a call, an idempotent effect is called again with its key, a non-idempotent one never."""
    shop = Shop()
    async with receiver(shop.answer) as place:
        params = {"url": place.url(), "at_most_once": at_most_once}
        await bus.request(effect(1, 0, params=params, timeout_ms=60_000))
        async with member(bus, bus.settings()) as process:
            await asyncio.wait_for(shop.called.wait(), WAIT_S)
            process.send_signal(signal.SIGKILL)
            await process.wait()
        shop.opened.set()
        await bus.request(effect(1, 1, params={"url": place.url()}))
        async with bus.running():
            answers = await bus.answers(1 if at_most_once else 2)
    key = f"{stream_of(1)}/0-0"
    assert keys(place.calls)[key] == (1 if at_most_once else 2)
    assert {data(a)["effect"] for a in answers} == ({"1-0"} if at_most_once else {"0-0", "1-0"})
    assert sum((await bus.committed()).values()) == 2


async def test_a_zombie_calls_nothing_that_must_not_repeat(bus: Bus) -> None:
    """Stopped past its session and woken, a runner finds its commit refused and leaves the call to the new owner."""
    shop = Shop()
    async with receiver(shop.answer) as place:
        first = effect(1, 0, params={"url": place.url()}, timeout_ms=60_000)
        other = f"{stream_of(1)}-2"
        once = effect(
            1, 1, stream=other, params={"url": place.url(), "at_most_once": True}, timeout_ms=60_000
        )
        await bus.request(first, once)
        async with member(bus, bus.settings()) as zombie:
            await asyncio.wait_for(shop.called.wait(), WAIT_S)
            zombie.send_signal(signal.SIGSTOP)
            async with bus.running():
                async with asyncio.timeout(WAIT_S):
                    while len(place.calls) < 2:
                        await asyncio.sleep(0.01)
                shop.opened.set()
                await bus.answers(2)
                zombie.send_signal(signal.SIGCONT)
                answers = await bus.read(bus.topics.commands, lambda found: len(found) >= 3)
                async with asyncio.timeout(WAIT_S):
                    while await bus.members() < 2:
                        await asyncio.sleep(0.05)
    assert Counter(data(a)["effect"] for a in answers) == {"0-0": 2, "1-0": 1}
    assert keys(place.calls) == {f"{stream_of(1)}/0-0": 2, f"{other}/1-0": 1}


async def test_killed_between_answer_and_commit(bus: Bus) -> None:
    """An answered but uncommitted effect is called again with the same key; its answers share one id."""
    shop = Shop()
    shop.opened.set()
    async with receiver(shop.answer) as place:
        await bus.request(effect(1, 0, params={"url": place.url()}))
        async with member(bus, bus.settings(commit_interval_s=3_600.0)) as process:
            await bus.answers(1)
            process.send_signal(signal.SIGKILL)
            await process.wait()
        assert sum((await bus.committed()).values()) == 0
        async with bus.running():
            answers = await bus.read(bus.topics.commands, lambda found: len(found) >= 2)
    assert keys(place.calls) == {f"{stream_of(1)}/0-0": 2}
    assert {ce(a)["ce_id"] for a in answers} == {f"{stream_of(1)}/0-0/1"}


async def test_killed_again_and_again(bus: Bus) -> None:
    """Through repeated SIGKILLs every idempotent effect is answered, and no at-most-once effect is called twice."""
    shop = Shop()
    shop.opened.set()
    async with receiver(shop.answer) as place:
        both = [
            effect(c, n, params={"url": place.url(), "at_most_once": n == 1})
            for c in range(100)
            for n in range(3)
        ]
        await bus.request(*both)
        for seen in (40, 120):
            async with member(bus, bus.settings(concurrency=4)) as process:
                async with asyncio.timeout(WAIT_S):
                    while len(place.calls) < seen:
                        await asyncio.sleep(0.005)
                process.send_signal(signal.SIGKILL)
                await process.wait()
        idempotent = {f"{r['stream']}/{r['effect']}/1" for r in both if not r["params"]["at_most_once"]}
        async with bus.running():
            answers = await bus.read(
                bus.topics.commands, lambda found: idempotent <= {ce(a)["ce_id"] for a in found}
            )
            async with asyncio.timeout(WAIT_S):
                while await bus.committed() != await bus.ends():
                    await asyncio.sleep(0.05)
    called = keys(place.calls)
    once = {r["idempotency_key"] for r in both if r["params"]["at_most_once"]}
    assert max(called[key] for key in once) == 1
    # What was committed and not called is at most what two dead processes had under way.
    assert sum(1 for key in once if called[key] == 0) <= 2 * 4
    assert len(answers) >= len(idempotent)


@pytest.mark.parametrize("redelivered", [True, False])
async def test_a_rebalance_loses_and_doubles_nothing(
    bus: Bus, monkeypatch: pytest.MonkeyPatch, *, redelivered: bool
) -> None:
    """A second member joins while calls are under way: all are answered, and no process repeats a call of its own,
    whether its record came back to it before or after the call ended.
    """
    first, second = Gate(), Gate(idempotent=False)
    await bus.request(*[effect(c, kind="gate", timeout_ms=60_000) for c in range(12)])
    settings = bus.settings(revoke_drain_s=0.2)
    lanes: set[Lane] = set()
    async with bus.running(settings, **options(first)) as runner:
        begin = runner._begin

        def noting(lane: Lane, *rest: Any) -> None:
            lanes.add(lane)
            begin(lane, *rest)

        monkeypatch.setattr(runner, "_begin", noting)
        async with asyncio.timeout(WAIT_S):
            while first.under_way < 12:
                await asyncio.sleep(0.01)
        begun, revoked = set(runner._jobs.values()), set(lanes)
        async with bus.running(settings, **options(second)):
            second.opened.set()
            async with asyncio.timeout(WAIT_S):
                while not all(lane.lost for lane in revoked) or (
                    redelivered and begun >= set(runner._jobs.values())
                ):
                    await asyncio.sleep(0)
            first.opened.set()
            await asyncio.wait_for(second.called.wait(), WAIT_S)
            await bus.answers(12)
            await bus.request(*[effect(c, 1, kind="gate") for c in range(12)])
            answers = await bus.answers(24)
    assert Counter(ce(a)["ce_id"] for a in answers).keys() == {
        f"{stream_of(c)}/{n}-0/1" for c in range(12) for n in (0, 1)
    }
    # Calls that outlived the rebalance in their process were waited for there, not repeated.
    assert max(Counter(r.id for r in first.calls).values()) == 1
    assert max(Counter(r.id for r in second.calls).values()) == 1
    assert {lane_of(r.stream.owner.text, PARTITIONS) for r in second.calls} != set()
    assert await bus.committed() == await bus.ends()


async def test_a_broker_that_goes_away_in_the_middle_of_a_call(private_servers: Servers) -> None:
    """Kafka is killed during a call and comes back: the call's answer arrives, and new effects are performed."""
    bus = Bus("t.", private_servers.bootstrap)
    await bus.make()
    gate, once = Gate(), Gate("once", idempotent=False)
    await bus.request(effect(1, kind="gate"), effect(2, kind="once"))
    async with bus.running(bus.settings(produce_timeout_s=2.0), providers=(gate, once)) as runner:
        await asyncio.wait_for(asyncio.gather(gate.called.wait(), once.called.wait()), WAIT_S)
        await asyncio.to_thread(private_servers.kafka.kill)
        gate.opened.set()
        once.opened.set()
        await asyncio.to_thread(private_servers.kafka.start)
        await bus.answers(2)
        await bus.request(effect(3, kind="gate"), effect(3, 1, kind="once"))
        answers = await bus.answers(4)
        async with asyncio.timeout(WAIT_S):
            while not runner.ready:
                await asyncio.sleep(0.01)
    assert {ce(a)["ce_type"] for a in answers} == {"effect.succeeded"}
    assert Counter(r.id for r in once.calls) == {f"{stream_of(2)}/0-0/1": 1, f"{stream_of(3)}/1-0/1": 1}


async def test_a_runner_waits_for_a_broker(private_servers: Servers) -> None:
    """Started before Kafka, the runner says that it isn't ready, waits, and serves once Kafka is there."""
    bus = Bus("t.", private_servers.bootstrap)
    await bus.make()
    await bus.request(effect(1, kind="log"))
    await asyncio.to_thread(private_servers.kafka.stop)
    async with bus.running() as runner:
        assert not runner.ready
        await asyncio.to_thread(private_servers.kafka.start)
        await bus.answers(1)
        assert runner.ready


@pytest.mark.parametrize("gone", [True, False])
async def test_a_stop_without_a_broker_is_bounded(private_servers: Servers, *, gone: bool) -> None:
    """Asked to stop while Kafka is gone, the runner ends all the same."""
    bus = Bus("t.", private_servers.bootstrap)
    await bus.make()
    gate = Gate()
    await bus.request(effect(1, kind="gate"))
    async with bus.running(
        bus.settings(drain_timeout_s=1.0, produce_timeout_s=1.0, commit_timeout_s=1.0), **options(gate)
    ):
        await asyncio.wait_for(gate.called.wait(), WAIT_S)
        if gone:
            await asyncio.to_thread(private_servers.kafka.kill)
        gate.opened.set()
