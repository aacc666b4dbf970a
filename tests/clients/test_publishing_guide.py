"""docs/publishing.md: what it shows is what the engine reads and writes."""

import json
import re
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from orchestrator import metrics
from orchestrator.core.addresses import parse_owner
from orchestrator.core.messages import Command, Outcome
from orchestrator.engine.inbound import MAX_COMMAND_BYTES, decode
from orchestrator.journeys.lifecycle.commands import parse
from orchestrator.settings import ENVIRONMENT, TOPIC_SETTINGS, Settings
from tests.clients.conftest import ROOT

GUIDE = (ROOT / "docs/publishing.md").read_text()
EXAMPLES = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", GUIDE, re.DOTALL)]
HEADERS = dict(re.findall(r"^\| header `([\w-]+)` \| `([^`]+)`", GUIDE, re.MULTILINE))
COMMANDS = re.findall(r"^\| `(\w+)` \| `(\{.*?\})` \| ", GUIDE, re.MULTILINE)


def _decoded(value: object, headers: dict[str, str], *, raw: bool) -> Command:
    pairs = [(name, text.encode()) for name, text in headers.items()]
    record: Any = SimpleNamespace(value=json.dumps(value).encode(), headers=pairs, key=b"")
    return decode(record, raw=raw, default_organization="default")


def test_the_example_command_is_read() -> None:
    """The record shown as an example, header by header, is a command, and its key is its owner."""
    value = re.search(r"^\| value \| `(.+?)` \|", GUIDE, re.MULTILINE)
    key = re.search(r"^\| key \| `(.+?)` \|", GUIDE, re.MULTILINE)
    assert value is not None
    assert key is not None
    assert len(HEADERS) >= 8
    found = _decoded(json.loads(value[1]), {**HEADERS, "traceparent": "00-4bf9-01"}, raw=False)
    assert found.owner == parse_owner(key[1])
    assert (found.source, found.id, found.type) == (
        HEADERS["ce_source"],
        HEADERS["ce_id"],
        HEADERS["ce_type"],
    )
    assert found.stream is not None
    assert found.backfill
    assert parse(found.type, found.data)


def test_the_example_event_and_outcome_have_the_engines_shape() -> None:
    """The raw event shown is read as one, and the outcome shown is one."""
    event, outcome = EXAMPLES
    found = _decoded(event, {}, raw=True)
    assert (found.source, found.id, found.owner.id) == (
        "user-interactions",
        event["idempotencyKey"],
        event["userId"],
    )
    assert found.time_ms == event["timestamp"]
    assert msgspec.to_builtins(msgspec.convert(outcome, Outcome)) == outcome


@pytest.mark.parametrize(("name", "data"), COMMANDS, ids=[name for name, _ in COMMANDS])
def test_each_command_of_the_table_is_read(name: str, data: str) -> None:
    """Each lifecycle command can be published with the data that the guide shows for it."""
    assert parse(name, json.loads(data.replace("{…}", "{}")))


def test_the_table_of_commands_is_complete() -> None:
    """The guide names the same commands as the engine does when it refuses another."""
    with pytest.raises(Exception, match="is no command") as refused:
        parse("dance", {})
    known = str(refused.value).split("these are: ")[1].split(", ")
    assert sorted(known) == sorted(name for name, _ in COMMANDS)


def test_names_and_limits_are_the_products() -> None:
    """Each setting, metric, topic and limit that the guide names exists under that name."""
    settings = Settings()
    topics = {getattr(settings, f"{name}_topic") for name in TOPIC_SETTINGS}
    assert set(re.findall(r"ORCHESTRATOR_\w+", GUIDE)) <= set(ENVIRONMENT)
    assert set(re.findall(r"`(journeys\.[\w.-]+|user-interactions)`", GUIDE)) <= topics
    exposed = {f"{name}_total" for m in vars(metrics).values() if (name := getattr(m, "_name", ""))}
    assert set(re.findall(r"journey_\w+_total", GUIDE)) <= exposed
    assert f"{MAX_COMMAND_BYTES // 1024} KiB" in GUIDE
