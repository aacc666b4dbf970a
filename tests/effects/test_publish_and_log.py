"""The publish and log actions without Kafka: what may be published, what a record carries, what is never logged."""

import msgspec
import orjson
import pytest
from structlog.testing import capture_logs

from consumers.actions.base import Done, Failed, Headers
from consumers.actions.log import LogProvider
from consumers.actions.publish import PublishProvider
from orchestrator.effect_settings import EffectSettings
from tests.effects.calling import STREAM, perform, request

SETTINGS = EffectSettings(publish_topics=("user.onboarding.complete", "crm.*", "*"))


async def test_a_published_record_can_be_deduplicated() -> None:
    """`ce_id` is the idempotency key, so consumers recognise a record that came twice."""
    produced: list[tuple[str, bytes | None, bytes, Headers]] = []
    params = {"topic": "user.onboarding.complete", "value": {"userId": "cus-1"}, "key": "cus-1"}
    ending = await perform(
        request(params, kind="publish"), SETTINGS, provider=PublishProvider(), produced=produced
    )
    assert ending == Done({"topic": "user.onboarding.complete"})
    topic, key, value, headers = produced[0]
    assert (topic, key, orjson.loads(value)) == ("user.onboarding.complete", b"cus-1", {"userId": "cus-1"})
    assert dict(headers)["ce_id"] == f"{STREAM}/3-1".encode()
    assert dict(headers)["ce_type"] == b"send_welcome"


@pytest.mark.parametrize(
    "topic",
    [
        "journeys.commands",
        "journeys.events",
        "journeys.anything",
        "user-interactions",
        "journey-dlq",
        "__consumer_offsets",
    ],
)
async def test_internal_topics_are_never_published_to(topic: str) -> None:
    """No setting, not even `*`, lets an action write where the engine reads or writes."""
    ending = await perform(
        request({"topic": topic}, kind="publish"), SETTINGS, provider=PublishProvider(), produced=[]
    )
    assert isinstance(ending, Failed)
    assert (ending.error, ending.retryable) == ("topic_refused", False)


@pytest.mark.parametrize(
    ("topic", "allowed"), [("crm.contacts", True), ("crm", False), ("shop", False), ("a", True)]
)
async def test_only_allowed_topics_are_published_to(topic: str, *, allowed: bool) -> None:
    """Topics are allowed by name or by prefix, and otherwise refused."""
    produced: list[tuple[str, bytes | None, bytes, Headers]] = []
    settings = EffectSettings(publish_topics=("a", "crm.*"))
    ending = await perform(
        request({"topic": topic}, kind="publish"), settings, provider=PublishProvider(), produced=produced
    )
    assert isinstance(ending, Done) is allowed
    assert bool(produced) is allowed


PARAMS = {"message": "mail ada@example.test", "level": "warning", "fields": {"step": 3, "tags": ["a"]}}


@pytest.mark.parametrize(
    ("private", "shown", "hidden"),
    [
        (None, {}, ["fields", "message"]),
        (["message"], {"fields": {"step": 3, "tags": '["a"]'}}, ["message"]),
        ([], {"message": PARAMS["message"], "fields": {"step": 3, "tags": '["a"]'}}, []),
    ],
)
async def test_a_log_line_hides_what_may_be_personal(
    private: list[str] | None, shown: dict[str, object], hidden: list[str]
) -> None:
    """Parameters that hold personal data are named and not shown; if nobody says which do, none is shown."""
    one = request(PARAMS, kind="log")
    if private is not None:
        one = msgspec.structs.replace(one, private=frozenset(private))
    with capture_logs() as logs:
        ending = await perform(one, provider=LogProvider())
    assert ending == Done()
    line = logs[0]
    assert (line["log_level"], line["action"], line["hidden"]) == ("warning", "send_welcome", hidden)
    assert {name: line[name] for name in ("message", "fields") if name in line} == shown
    assert ("ada@" in str(logs)) is (private == [])


async def test_published_headers_are_beside_the_cloudevents_own() -> None:
    """A definition's headers and key may be any scalar; those of the CloudEvent can't be forged."""
    produced: list[tuple[str, bytes | None, bytes, Headers]] = []
    params = {"topic": "crm.a", "key": 7, "headers": {"x-step": 3, "x-new": True}}
    ending = await perform(
        request(params, kind="publish"), SETTINGS, provider=PublishProvider(), produced=produced
    )
    assert isinstance(ending, Done)
    assert produced[0][1] == b"7"
    assert {"x-step": b"3", "x-new": b"true"}.items() <= dict(produced[0][3]).items()
    forged = {"topic": "crm.a", "headers": {"CE_id": "x"}}
    ending = await perform(
        request(forged, kind="publish"), SETTINGS, provider=PublishProvider(), produced=produced
    )
    assert isinstance(ending, Failed)
    assert (ending.error, len(produced)) == ("header_refused", 1)
