"""Attributes asked of another service: what is sent to it, what is told to the record, and answers that are none."""

import json
from typing import Any

import orjson
import pytest

from consumers.actions.base import Deferred, Failed, Headers
from consumers.actions.lookup_profile import LookupProfileProvider
from orchestrator.effect_settings import EffectSettings
from tests.effects.calling import LOCAL, new_secret, perform, request
from tests.effects.receiver import receiver, status

SIGNED = EffectSettings(
    allow_http=True, allowed_networks=LOCAL.allowed_networks, secrets={"crm": new_secret()}
)


async def lookup(answer: bytes, *, code: int = 200, **params: Any) -> tuple[Any, list[Any], Any]:
    sent: list[tuple[str, bytes | None, bytes, Headers]] = []
    async with receiver(status(code, answer)) as service:
        one = request({"url": service.url(), "secret": "crm", **params}, kind="lookup_profile")
        ending = await perform(one, SIGNED, provider=LookupProfileProvider(), produced=sent)
    return ending, sent, service


async def test_what_the_service_knows_is_told_to_the_record() -> None:
    """The call is signed and names the customer; the answer becomes one command under the effect's key."""
    answer = json.dumps({"attributes": {"churn_risk": 0.7, "tier": "gold"}}).encode()
    ending, [(topic, _, value, headers)], service = await lookup(answer, attributes=["churn_risk"])
    assert ending == Deferred(), "the record answers"
    assert orjson.loads(service.calls[0].body) == {"customer_id": "cus-1", "attributes": ["churn_risk"]}
    assert service.calls[0].headers["webhook-signature"].startswith("v1,")
    assert topic == "journeys.commands"
    assert orjson.loads(value) == {"attributes": {"churn_risk": 0.7}}, "what wasn't asked for is left out"
    found = dict(headers)
    assert found["ce_subject"] == b"acme/c/cus-1/customer:profile"
    assert found["ce_type"] == b"identify"
    assert b"?effect=3-1&attempt=1" in found["ce_replyto"]


@pytest.mark.parametrize(
    "answer",
    [b"", b"no json", b"[]", b'{"attributes": []}', b'{"attributes": {}}', b'{"attributes": {"other": 1}}'],
    ids=["empty", "text", "list", "no object", "nothing", "not asked for"],
)
async def test_an_answer_that_tells_nothing_fails(answer: bytes) -> None:
    """A service that lies is a failure with a name, and nothing is told to the record."""
    ending, sent, _ = await lookup(answer, attributes=["churn_risk"])
    assert isinstance(ending, Failed)
    assert (ending.error, ending.retryable) == ("bad_answer", False)
    assert not sent


async def test_a_service_that_is_busy_is_asked_again() -> None:
    """Refusals and faults of the service are those of any webhook."""
    ending, sent, _ = await lookup(b"", code=503)
    assert isinstance(ending, Failed)
    assert (ending.error, ending.retryable) == ("status_503", True)
    assert not sent
