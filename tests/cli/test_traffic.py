import json
from collections import Counter
from typing import Any

import pytest

from orchestrator import definitions
from orchestrator.cli.demo import SHOP
from orchestrator.core.addresses import lane_of
from orchestrator.core.errors import Malformed
from orchestrator.engine import inbound
from orchestrator.traffic import ORGANIZATION, SPAN_MS, sessions
from tests.cli.calling import ROOT

COMMANDS = 20_000


class Record:
    """A message as it would be consumed."""

    topic, partition, offset, timestamp = "t", 0, 0, 0

    def __init__(self, message) -> None:
        self.key, self.value, self.headers = message.key, message.value, message.headers


@pytest.fixture(scope="module")
def traffic():
    return list(sessions(7, COMMANDS, 1_000))


def decoded(message):
    try:
        return inbound.decode(Record(message), raw=message.topic == "raw", default_organization="default")
    except Malformed:
        return None


def test_the_same_seed_makes_the_same_traffic(traffic) -> None:
    """A run can be repeated by its seed, and another seed shares no key with it."""
    assert traffic == list(sessions(7, COMMANDS, 1_000))
    other = {message.command for message in sessions(8, 2_000) if message.command}
    assert not other & {message.command for message in traffic}


def test_traffic_has_the_promised_mixture(traffic) -> None:
    """Exactly as many messages as asked for, about 5 % of repeated keys and 0.2 % that can't be decided."""
    assert len(traffic) == COMMANDS
    counts = Counter(message.command for message in traffic if message.command)
    assert 0.04 < sum(count - 1 for count in counts.values()) / COMMANDS < 0.06
    listed = definitions.load((ROOT / SHOP).read_bytes())["events"]
    bad = sum(1 for message in traffic if is_malformed(message, listed))
    assert 0.001 < bad / COMMANDS < 0.004


def is_malformed(message, listed) -> bool:
    command = decoded(message)
    return (
        command is None
        or (command.stream is None and command.type not in listed)
        or (
            command.stream is not None
            and (command.stream.definition != "shop" or command.type == "no_such_command")
        )
    )


def test_repeats_are_the_same_message_again(traffic) -> None:
    """A repeated key comes with the same body: it is a duplicate, never a conflict."""
    bodies: dict[object, set[bytes]] = {}
    for message in traffic:
        if message.command:
            bodies.setdefault(message.command, set()).add(message.value)
    assert all(len(values) == 1 for values in bodies.values())


def test_every_message_is_keyed_by_its_owner(traffic) -> None:
    """No message needs forwarding: its key is its owner's address."""
    for message in traffic:
        command = decoded(message)
        if command is not None:
            assert message.key == command.owner.text.encode()
            assert command.owner.organization == ORGANIZATION
    assert len({lane_of(message.key.decode(), 8) for message in traffic}) == 8


def test_sessions_happen_in_their_order(traffic) -> None:
    """Events come in the order of their time, and nobody pays before the checkout of the same session."""
    first: dict[Any, Any] = {}
    for message in traffic:
        if message.topic == "raw" and message.command and (command := decoded(message)) and command.time_ms:
            first.setdefault(message.command, (command, json.loads(message.value)))
    times = [command.time_ms for command, _ in first.values()]
    assert times == sorted(times)
    assert min(times) >= 1_000
    assert max(times) < 2 * SPAN_MS
    by_session: dict[str, list[str]] = {}
    for command, event in first.values():
        by_session.setdefault(event["sessionId"], []).append(command.type)
    for events in by_session.values():
        if "PAYMENT_STARTED" in events:
            assert "CHECKOUT_STARTED" in events[: events.index("PAYMENT_STARTED")]


def test_some_customers_come_often_and_many_seldom(traffic) -> None:
    """Customers are unevenly active, as they are in a shop, and none has it all."""
    counts = Counter(message.key for message in traffic)
    busiest = [count for _, count in counts.most_common(20)]
    assert sum(busiest) > COMMANDS * 0.05
    assert busiest[0] < COMMANDS * 0.1
    assert len(counts) > COMMANDS / 20
