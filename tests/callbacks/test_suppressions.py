"""Dead addresses told by a provider's own answer: the record hears before the journey does."""

import time
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest
from aiokafka import TopicPartition
from prometheus_client import CollectorRegistry

from consumers.actions.base import Context, Done, EffectRequest, Ending, Failed
from consumers.actions.push_devices import Device, Sent, ending
from consumers.actions.refusals import Undeliverable
from consumers.effects import EffectMetrics, EffectSettings, EffectTopics
from consumers.effects.lane import Lane
from consumers.effects.performer import Performer
from consumers.effects.records import Out, decode
from consumers.effects.suppressions import suppressions
from orchestrator.core.addresses import parse_stream
from orchestrator.customers.record import RECORD, address_hash
from tests.effects.calling import request
from tests.effects.gate import AnyParams
from tests.effects.wire import record, value

TO = "Anna@example.com"
BOUNCED = Undeliverable("hard_bounce", "550 5.1.1", channel="email", reason="hard_bounce")


def told(ending: Ending, params: dict[str, Any], document: str = "profile") -> list[tuple[str, str, Any]]:
    found = suppressions(request(params), ending, document, 1_700_000_000_000)
    assert all(RECORD.parse(c.type, c.data) for c in found)
    return [(c.stream.text, c.type, c.data) for c in found]


def test_a_dead_address_is_named_by_its_hash() -> None:
    """The record learns which address is dead, however it was written, and why; the result names no address."""
    expected = {
        "channel": "email",
        "reason": "hard_bounce",
        "address_hash": address_hash("email", TO.lower()),
    }
    assert told(BOUNCED, {"to": TO}) == [("acme/c/cus-1/customer:profile", "suppress", expected)]
    assert "address_hash" not in str(BOUNCED.result)
    assert told(BOUNCED, {"to": {"email": TO, "sms": "+1"}}) == told(BOUNCED, {"to": TO})
    stopped = Undeliverable("recipient_stopped", channel="sms", reason="stop")
    (command,) = told(stopped, {"to": "+49 (151) 1234-5678"})
    assert command[2]["address_hash"] == address_hash("sms", "+4915112345678")


def test_each_dead_device_is_told() -> None:
    """Devices are named one by one, also when others were reached."""
    devices = tuple(Device("fcm", f"token-{n}") for n in range(3))
    gone = Undeliverable("unregistered", channel="push", reason="hard_bounce")
    done = ending(devices, [gone, Sent("1"), gone], {})
    assert isinstance(done, Done)
    assert [c[2]["address_hash"] for c in told(done, {"to": []})] == [
        address_hash("push", "token-0"),
        address_hash("push", "token-2"),
    ]


@pytest.mark.parametrize("ending", [Done(), Done({"suppress": "x"}), Failed("smtp_550"), Failed("timeout")])
def test_other_endings_silence_nobody(ending: Ending) -> None:
    """Only an address that is dead is suppressed; a refusal for another reason isn't one."""
    assert told(ending, {"to": TO}) == []


def test_without_a_record_nobody_is_told() -> None:
    """An installation without customer records, and messages to no customer, make no commands."""
    assert told(BOUNCED, {"to": TO}, "") == []
    resource = EffectRequest(
        stream=parse_stream("acme/r/queue-1/lifecycle:x"),
        effect="1-0",
        attempt=1,
        action="a",
        type="send_email",
        params={"to": TO},
        timeout_ms=1,
        idempotency_key="k",
    )
    assert not suppressions(resource, BOUNCED, "profile", 1)


def test_attempts_share_the_key() -> None:
    """Whichever attempt found out, the record decides it once; another effect's finding is another command."""
    ids = {
        suppressions(request({"to": TO}, attempt=attempt), BOUNCED, "profile", attempt)[0].id
        for attempt in (1, 2)
    }
    assert len(ids) == 1


class Stage:
    """A performer whose provider always ends so, and what was published in which order."""

    def __init__(self, http: aiohttp.ClientSession, ending: Ending, *, sends: bool = True) -> None:
        self.sent: list[str] = []
        self.lane = Lane(TopicPartition("journeys.effects", 0))
        self._sends = sends

        class Provider:
            name = "gate"
            idempotent = False
            params = AnyParams

            async def perform(self, _request: EffectRequest, _params: AnyParams, _context: Context) -> Ending:
                return ending

        self.performer = Performer(
            providers=(Provider(),),
            context=Context(
                settings=EffectSettings(),
                internal_topics=frozenset(),
                http=http,
                produce=self._never,
                now_ms=lambda: time.time_ns() // 1_000_000,
            ),
            topics=EffectTopics(),
            commit=self._commit,
            send=self._send,
            metrics=EffectMetrics(CollectorRegistry()),
            customer_record="profile",
        )

    async def answer(self) -> bool:
        found = record(value(kind="gate"), offset=0)
        self.lane.take(0)
        return await self.performer.answer(self.lane, found, decode(found, 60_000))

    async def _commit(self, _lane: Lane, _at: int) -> bool:
        return True

    async def _never(self, *_: Any, **__: Any) -> None:
        raise AssertionError

    async def _send(self, out: Out, gone: Callable[[], bool]) -> bool:
        self.sent.append(dict(out.headers)["ce_type"].decode())
        return self._sends


async def test_the_record_hears_first() -> None:
    """The address is suppressed before the journey learns of the failure, so that what it does next finds it so."""
    async with aiohttp.ClientSession() as http:
        stage = Stage(http, BOUNCED)
        assert await stage.answer()
        assert stage.sent == ["suppress", "effect.failed"]


async def test_no_answer_before_the_record_is_told() -> None:
    """If the suppression isn't acknowledged the journey isn't answered: its silence is bounded by its own timer."""
    async with aiohttp.ClientSession() as http:
        stage = Stage(http, BOUNCED, sends=False)
        assert not await stage.answer()
        assert stage.sent == ["suppress"]
