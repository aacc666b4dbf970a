"""docs/customers.md says what is true."""

import json
import re
from pathlib import Path

import pytest

from orchestrator.core.decider import JourneyKind
from orchestrator.customers import POINTS, RECORD
from orchestrator.customers.contact import ASK, BALANCE, GRANTED, REFUSED, RELEASE
from orchestrator.customers.contact import REASONS as CONTACT_REASONS
from orchestrator.customers.points.commands import REASON_CHARS_MAX, REFERENCE_CHARS_MAX
from orchestrator.customers.points.events import EVENTS
from orchestrator.customers.points.state import REVERSIBLE_MAX
from orchestrator.customers.record import address_hash, shown
from orchestrator.customers.record.account import LEDGERS_MAX
from orchestrator.customers.record.commands import REASONS, Identify
from orchestrator.customers.record.compile import JSON_BYTES, TEXT_CHARS
from orchestrator.customers.record.events import BalanceTold, ContactCounted, ContactRefused, ContactReleased
from orchestrator.customers.record.schema import LIMIT_MAX, MAX_LENGTH
from orchestrator.customers.record.state import TOKENS_MAX
from orchestrator.customers.record.suppression import HASHES_MAX
from orchestrator.customers.record.values import KEPT_MAX, RECORD_BYTES_MAX
from orchestrator.journeys.flow import FLOW
from tests.customers.specs import PROFILE, document, problems

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "customers.md").read_text()
BLOCKS = [b for b in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL) if b.startswith("kind:")]
COMMANDS = re.findall(r"^\| `(\w+)` \| `(\{.*?\})` \|", PAGE, re.MULTILINE)
SOURCES = "".join(p.read_text() for p in sorted((ROOT / "orchestrator" / "customers").rglob("*.py")))


def test_every_document_on_the_page_is_valid() -> None:
    """Whoever copies one can publish it."""
    kinds = {kind.name: kind for kind in (RECORD, POINTS)}
    documents = [document(block) for block in BLOCKS]
    assert [source["kind"] for source in documents] == ["customer", "points"]
    for source in documents:
        assert problems(kinds[source["kind"]], source) == []


@pytest.mark.parametrize(
    ("kind", "types"),
    [
        (RECORD, ["identify", "consent", "suppress", "unsuppress", "device_token", "forget"]),
        (POINTS, ["award", "redeem", "reverse"]),
    ],
    ids=["customer", "points"],
)
def test_every_command_on_the_page_is_read(kind: JourneyKind, types: list[str]) -> None:
    """Each kind's commands are all there, and their data has the shape that is asked."""
    shown_data = {type: json.loads(data) for type, data in COMMANDS}
    assert len(shown_data) == len(COMMANDS) == 9
    for type in types:
        assert kind.parse(type, shown_data[type])


def test_the_hash_on_the_page_can_be_computed() -> None:
    """Who writes a worker in another language can compare with it."""
    data = json.loads(dict(COMMANDS)["suppress"])
    assert data["address_hash"] == address_hash("email", " Anna@Example.com ")


def test_every_reason_is_on_the_page() -> None:
    """Rejections and what is ignored: exactly those the code knows."""
    rejected = set(re.findall(r'"((?:customer|points)\.[a-z_]+)"', SOURCES))
    assert set(re.findall(r"^\| `((?:customer|points)\.[a-z_]+)`", PAGE, re.MULTILINE)) == rejected
    ignored = set(re.findall(r'CommandIgnored\(reason="(\w+)"', SOURCES))
    assert set(re.findall(r"`([a-z_]+)`", PAGE.split("`ignored`:")[1])) == ignored
    for word in REASONS:
        assert f"`{word}`" in PAGE


def test_every_event_and_field_is_on_the_page() -> None:
    """A transaction, a field of the formats, or a part of what flows read that somebody adds has to be explained."""
    for event in EVENTS:
        assert f"`{event.NAME}`" in PAGE
    for schema in (RECORD.schema, POINTS.schema):
        for name in set(schema["properties"]) - {"kind", "id", "name", "description"}:
            assert f"`{name}`" in PAGE or f"`{name}." in PAGE
    for name in POINTS.schema["properties"]["limits"]["properties"]:
        assert f"`limits.{name}`" in PAGE
    state = PROFILE.given().when(Identify({"tier": "gold"})).state
    state = RECORD.evolve(state, BalanceTold("ledger", 1, "points", 1, 0))
    for name in shown(state, PROFILE.definition):
        assert f"| `{name}` |" in PAGE
    for event in (ContactCounted, ContactRefused, ContactReleased, BalanceTold):
        assert f"`{event.NAME}`" in PAGE


def test_what_streams_tell_each_other_is_on_the_page() -> None:
    """Each message has the shape that record and flow read, and each reason for a no is there."""
    told = dict(re.findall(r"^\| `([a-z]+\.[a-z]+)` \| `(\{.*?\})` \|", PAGE, re.MULTILINE))
    assert set(told) == {ASK, GRANTED, REFUSED, RELEASE, BALANCE}
    for type in (ASK, RELEASE, BALANCE):
        assert RECORD.parse(type, json.loads(told[type]))
    for type in (GRANTED, REFUSED):
        assert FLOW.parse(type, json.loads(told[type]))
    for word in CONTACT_REASONS:
        assert f"`{word}`" in PAGE.split("`contact.refused`")[1].split("\n")[0]


def test_the_numbers_on_the_page_are_the_codes() -> None:
    """Limits in the text are those in force."""
    assert f"a text ({TEXT_CHARS}), bytes of an array's or object's JSON ({JSON_BYTES:,})" in PAGE
    assert f"at most {MAX_LENGTH:,}" in PAGE
    assert f"up to {KEPT_MAX} a customer and {JSON_BYTES:,} bytes" in PAGE
    assert f"more than {KEPT_MAX} undeclared" in PAGE
    assert f"{RECORD_BYTES_MAX:,} bytes" in PAGE
    assert f"keeps {TOKENS_MAX}," in PAGE
    assert f"Of one channel {HASHES_MAX} addresses" in PAGE
    assert f"The newest {REVERSIBLE_MAX} awards" in PAGE
    assert f"`limit` contacts (1 to {LIMIT_MAX})" in PAGE
    assert f"keeps the balances of {LEDGERS_MAX} " in PAGE
    assert f"`reason` ({REASON_CHARS_MAX} characters) and `reference` ({REFERENCE_CHARS_MAX}" in PAGE
