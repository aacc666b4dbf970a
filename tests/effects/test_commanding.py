"""The actions that are commands to the customer's other journeys: what they publish, and under which key."""

from typing import Any

import orjson
import pytest
from aiokafka.errors import KafkaTimeoutError

from consumers.actions import PROVIDERS
from consumers.actions.award_points import AwardPointsProvider
from consumers.actions.base import Deferred, Failed, Headers, Provider
from consumers.actions.start_journey import StartJourneyProvider
from consumers.actions.update_profile import UpdateProfileProvider
from orchestrator.core.addresses import parse_stream
from orchestrator.customers import POINTS, RECORD
from orchestrator.effect_settings import EffectSettings
from tests.effects.calling import STREAM, perform, request

OWNER = parse_stream(str(STREAM)).owner.text
ACTIONS: list[tuple[Provider[Any], dict[str, Any], str, str, dict[str, Any]]] = [
    (
        AwardPointsProvider(),
        {"points": 100.0, "reason": "Welcome"},
        "points:ledger",
        "award",
        {"points": 100, "reason": "Welcome"},
    ),
    (
        UpdateProfileProvider(),
        {"attributes": {"tier": "gold"}},
        "customer:profile",
        "identify",
        {"attributes": {"tier": "gold"}},
    ),
    (
        StartJourneyProvider(),
        {"journey": "winback", "context": {"a": 1}},
        "flow:winback",
        "start",
        {"context": {"a": 1}},
    ),
]


@pytest.mark.parametrize(
    ("provider", "params", "to", "command", "data"), ACTIONS, ids=[a[0].name for a in ACTIONS]
)
async def test_a_command_to_the_same_customer_is_published_once_in_effect(
    provider: Provider[Any], params: dict[str, Any], to: str, command: str, data: dict[str, Any]
) -> None:
    """It is addressed to the customer's other journey, keyed by owner, and every attempt carries the same key."""
    sent: list[tuple[str, bytes | None, bytes, Headers]] = []
    for attempt in (1, 2):
        one = request(params, kind=provider.name, attempt=attempt)
        ending = await perform(one, EffectSettings(), provider=provider, produced=sent)
        assert ending == Deferred(), "who decides the command answers"
    for topic, key, value, headers in sent:
        assert (topic, key, orjson.loads(value)) == ("journeys.commands", OWNER.encode(), data)
        found = dict(headers)
        assert (found["ce_type"], found["ce_subject"]) == (command.encode(), f"{OWNER}/{to}".encode())
        assert not found["ce_source"].startswith(b"engine/")
        assert found["ce_replyto"].decode().startswith(f"{STREAM}?effect=")
    assert len({dict(headers)["ce_id"] for *_, headers in sent}) == 1


@pytest.mark.parametrize(("kind", "command", "data"), [(POINTS, *ACTIONS[0][3:]), (RECORD, *ACTIONS[1][3:])])
def test_what_is_published_is_understood(kind: Any, command: str, data: dict[str, Any]) -> None:
    """The data is what the other journey's commands take."""
    assert kind.parse(command, data) is not None


async def test_parts_of_points_are_refused() -> None:
    """Points are whole: nobody is awarded half a point, or a rounded number."""
    one = request({"points": 1.5, "reason": "x"}, kind="award_points")
    ending = await perform(one, EffectSettings(), provider=AwardPointsProvider(), produced=[])
    assert isinstance(ending, Failed)
    assert (ending.error, ending.retryable) == ("invalid_params", False)


class Silent(list[Any]):
    """A broker that takes a record and never acknowledges it."""

    def append(self, _: Any) -> None:
        raise KafkaTimeoutError


async def test_a_broker_that_does_not_answer_is_asked_again() -> None:
    """A command whose acknowledgement never came may be sent again: its key makes that harmless."""
    one = request({"points": 1, "reason": "x"}, kind="award_points")
    ending = await perform(one, EffectSettings(), provider=AwardPointsProvider(), produced=Silent())
    assert isinstance(ending, Failed)
    assert (ending.error, ending.retryable) == ("publish_failed", True)
    assert AwardPointsProvider.idempotent


def test_every_action_is_registered() -> None:
    """What is built here can be used in definitions."""
    assert {provider.name for provider, *_ in ACTIONS} <= {p.name for p in PROVIDERS}
