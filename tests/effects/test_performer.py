"""The order of call, commit and answer, where a crash or a refusal between them would show."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest
from aiokafka import TopicPartition
from prometheus_client import CollectorRegistry

from consumers.actions.base import Context, EffectRequest, Ending
from consumers.effects import EffectMetrics, EffectSettings, EffectTopics
from consumers.effects.lane import Lane
from consumers.effects.performer import Performer
from consumers.effects.records import Out, decode
from tests.effects.gate import AnyParams, Gate
from tests.effects.wire import record, value


class Stage:
    """One lane, a performer, and the order in which things happened."""

    def __init__(
        self, gate: Gate, http: aiohttp.ClientSession, *, commits: bool = True, sends: bool = True
    ) -> None:
        self.happened: list[str] = []
        self.told: list[bytes] = []
        self.lane = Lane(TopicPartition("journeys.effects", 3))
        self._commits = commits
        self._sends = sends
        happened = self.happened

        class Noting:
            name = "gate"
            idempotent = gate.idempotent
            params = gate.params

            async def perform(self, request: EffectRequest, params: AnyParams, context: Context) -> Ending:
                happened.append("call")
                return await gate.perform(request, params, context)

        context = Context(
            settings=EffectSettings(elsewhere=("send_pigeon",)),
            internal_topics=frozenset(),
            http=http,
            produce=self._produce,
            now_ms=lambda: time.time_ns() // 1_000_000,
        )
        self.performer = Performer(
            providers=(Noting(),),
            context=context,
            topics=EffectTopics(),
            commit=self._commit,
            send=self._send,
            metrics=EffectMetrics(CollectorRegistry()),
        )

    async def answer(self, offset: int = 7, **changes: Any) -> bool:
        found = record(value(kind="gate", **changes), offset=offset)
        return await self.performer.answer(self.lane, found, decode(found, 60_000))

    async def _commit(self, _lane: Lane, at: int) -> bool:
        self.happened.append(f"commit {at}")
        return self._commits

    async def _send(self, out: Out, gone: Callable[[], bool]) -> bool:
        self.happened.append("answer")
        self.told.append(dict(out.headers)["ce_type"])
        return self._sends

    async def _produce(self, *_: Any, **__: Any) -> None:
        raise AssertionError


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


def opened(*, idempotent: bool = True) -> Gate:
    gate = Gate(idempotent=idempotent)
    gate.opened.set()
    return gate


async def test_idempotent_calls_finish_after_their_answer(http: aiohttp.ClientSession) -> None:
    """Call, answer, and only then may the offset move."""
    stage = Stage(opened(), http)
    stage.lane.take(7)
    assert await stage.answer()
    assert stage.happened == ["call", "answer"]
    assert stage.lane.to_commit == 8


async def test_an_unacknowledged_answer_holds_the_offset(http: aiohttp.ClientSession) -> None:
    """As long as the answer isn't acknowledged, the record will come back."""
    stage = Stage(opened(), http, sends=False)
    stage.lane.take(7)
    assert not await stage.answer()
    assert stage.lane.to_commit is None


@pytest.mark.parametrize(("idempotent", "params"), [(False, {}), (True, {"at_most_once": True})])
async def test_commit_comes_before_a_call_that_must_not_repeat(
    http: aiohttp.ClientSession, *, idempotent: bool, params: dict[str, Any]
) -> None:
    """Without an idempotency key, or by the definition's wish, the offset is committed first."""
    stage = Stage(opened(idempotent=idempotent), http)
    stage.lane.take(7)
    assert await stage.answer(params=params)
    assert stage.happened == ["commit 8", "call", "answer"]


async def test_no_commit_no_call(http: aiohttp.ClientSession) -> None:
    """A commit that isn't acknowledged means that the call isn't made."""
    gate = opened(idempotent=False)
    stage = Stage(gate, http, commits=False)
    stage.lane.take(7)
    assert not await stage.answer()
    assert (stage.happened, gate.calls) == (["commit 8"], [])
    assert stage.lane.to_commit is None


async def test_a_call_that_must_not_repeat_waits_for_its_turn(http: aiohttp.ClientSession) -> None:
    """Its commit would cover unfinished work before it, so it waits for that."""
    stage = Stage(opened(idempotent=False), http)
    stage.lane.take(6)
    stage.lane.take(7)
    job = asyncio.create_task(stage.answer())
    for _ in range(5):
        await asyncio.sleep(0)
    assert stage.happened == []
    stage.lane.finish(6)
    assert await job
    assert stage.happened[0] == "commit 8"


@pytest.mark.parametrize("idempotent", [True, False])
async def test_a_closed_lane_starts_no_call(http: aiohttp.ClientSession, *, idempotent: bool) -> None:
    """After a revocation nothing new is called for its partition, not even what was waiting for its turn."""
    gate = opened(idempotent=idempotent)
    stage = Stage(gate, http)
    stage.lane.take(6)
    stage.lane.take(7)
    if idempotent:
        stage.lane.close()
    job = asyncio.create_task(stage.answer())
    await asyncio.sleep(0)
    stage.lane.close()
    assert not await job
    assert (stage.happened, gate.calls) == ([], [])


@pytest.mark.parametrize("idempotent", [True, False])
async def test_a_provider_that_ignores_its_timeout_is_ended(
    http: aiohttp.ClientSession, *, idempotent: bool
) -> None:
    """The request's timeout is kept by the runner too, whatever a provider does."""
    stage = Stage(Gate(idempotent=idempotent), http)
    stage.lane.take(7)
    assert await stage.answer(timeout_ms=30)
    assert stage.told == [b"effect.failed" if idempotent else b"effect.unknown"]


async def test_types_of_other_workers_are_left_to_them(http: aiohttp.ClientSession) -> None:
    """What the settings give to another worker is neither called nor answered here, and holds nothing up."""
    stage = Stage(opened(), http)
    for offset, kind in ((7, "send_pigeon"), (8, "send_owl")):
        stage.lane.take(offset)
        found = record(value(kind=kind), offset=offset)
        assert await stage.performer.answer(stage.lane, found, decode(found, 60_000))
        assert stage.lane.to_commit == offset + 1
    assert stage.happened == ["answer"], "a type that nobody has is answered"
