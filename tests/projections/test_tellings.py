"""Commands that leave the log: what streams tell each other, and the answers to who asked for one."""

import base64
from collections.abc import Sequence
from typing import Any

import orjson
import pytest

from orchestrator.core.addresses import lane_of, parse_stream
from orchestrator.core.decider import Facts
from orchestrator.core.events import CommandIgnored, CommandRejected, CommandSent, Event, TimerArmed
from orchestrator.core.lane_events import DeadLettered
from orchestrator.core.messages import TELLING_SOURCE
from orchestrator.engine.envelope import Envelope, Recorded
from projections.publisher import render
from projections.records import Out
from projections.tellings import replies, reply_address
from tests.support.memory import NOW_MS, STREAM
from tests.support.toy import Added

LANES = 8
ASKER = parse_stream("acme/c/anna/flow:welcome")
ADDRESS = reply_address(ASKER, "e5-0", 2)
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def recorded(event: Event, *, version: int = 7, **envelope: Any) -> Recorded:
    made = Envelope(STREAM.text, "tests", "k1", "digest", NOW_MS, event, "add", **envelope)
    return Recorded(90 + version, STREAM.id, version, event.NAME, made, b"")


def decided(*events: Event, reply_to: str = ADDRESS) -> list[Recorded]:
    """The events of one command."""
    return [
        recorded(event, version=7 + index, index=index, count=len(events), reply_to=reply_to)
        for index, event in enumerate(events)
    ]


def headers(out: Out) -> dict[str, str]:
    return {name: value.decode() for name, value in out.headers}


def data(outs: Sequence[Out]) -> dict[str, Any]:
    [out] = outs
    assert out.value is not None
    found: dict[str, Any] = orjson.loads(out.value)
    return found


def test_a_command_to_another_stream_is_published_with_a_key_of_its_own() -> None:
    """It goes to the receiver's lane, keyed by sender, version and place, so a second copy decides nothing."""
    event = CommandSent("acme/r/queue/toy:count", "enter", {"a": 1}, {"b": 2})
    outs = render(recorded(event, traceparent=TRACE, backfill=True), LANES)
    [told] = [o for o in outs if o.topic == "commands"]
    assert (told.key, told.partition) == (b"acme/r/queue", lane_of("acme/r/queue", LANES))
    assert data([told]) == {"a": 1, "b": 2}
    found = headers(told)
    assert found["ce_id"] == f"{STREAM.text}/7/0"
    assert (found["ce_source"], found["ce_type"]) == (TELLING_SOURCE, "enter")
    assert (found["ce_subject"], found["traceparent"]) == ("acme/r/queue/toy:count", TRACE)
    assert found["ce_backfill"] == "true"
    shown = [o for o in outs if o.topic == "events"]
    assert b'"b":2' not in (shown[0].value or b""), "what is private goes to the receiver alone"


def test_the_receiver_knows_who_told_it() -> None:
    """A command's teller is the stream in its key, and nobody when it came from outside."""

    def facts(source: str) -> Facts:
        return Facts(0, 0, STREAM, None, 0, source=source, command_id=f"{ASKER.text}/7/0")  # type: ignore[arg-type]

    assert facts(TELLING_SOURCE).teller == ASKER.text
    assert facts("shop").teller == ""


def test_an_effects_command_is_answered_to_the_journey_that_asked() -> None:
    """The answer is the effect's result, with what the command's own events say, once at the command's last event."""
    events = decided(Added(3), Added(4), TimerArmed(timer="t", due_ms=5))
    assert not replies(events[:2], LANES)
    [out] = replies(events, LANES)
    assert (headers(out)["ce_type"], headers(out)["ce_subject"]) == ("effect.succeeded", ASKER.text)
    assert (headers(out)["ce_source"], headers(out)["ce_id"]) == ("engine/effects", f"{ASKER.text}/e5-0/2")
    assert data([out]) == {
        "effect": "e5-0",
        "attempt": 2,
        "result": {"n": 4, "stream": STREAM.text, "revision": 9, "outcome": "applied"},
    }


def test_a_refusal_is_answered_as_a_failure() -> None:
    """Who asked for a command that a rule refuses hears the rule's name."""
    answer = data(replies(decided(CommandRejected("points.over_limit")), LANES))
    assert (answer["error"], answer["effect"], answer["attempt"]) == ("points.over_limit", "e5-0", 2)


def test_a_command_without_consequence_is_answered_as_done() -> None:
    """Nothing to do is no failure."""
    assert data(replies(decided(CommandIgnored("already")), LANES))["result"]["outcome"] == "ignored"


def test_a_dead_letter_is_answered_as_a_failure() -> None:
    """A command nobody could decide doesn't leave its asker waiting."""
    message = {
        "headers": [["ce_replyto", base64.b64encode(ADDRESS.encode()).decode()]],
        "key": None,
        "value": None,
    }
    event = DeadLettered("d1", "commands", 0, 1, "unknown_definition", "none", private=message)
    assert data(replies([recorded(event)], LANES))["error"] == "unknown_definition"


@pytest.mark.parametrize(
    "address",
    ["inbox-7", "acme/c/anna/flow:welcome", "a@b?effect=e&attempt=1", f"{ASKER.text}?effect=e&attempt=0"],
)
def test_other_reply_addresses_are_left_alone(address: str) -> None:
    """Producers may carry any address of their own in `ce_replyto`; nothing is sent to it."""
    assert not replies(decided(Added(1), reply_to=address), LANES)


def test_commands_of_the_same_batch_are_kept_apart() -> None:
    """An answer tells what its own command came to, not what the one before it did."""
    first = decided(CommandRejected("points.over_limit"))
    second = [
        Recorded(
            r.position, r.stream_id, r.version, r.name,
            Envelope(STREAM.text, "tests", "k2", "", NOW_MS, Added(8), index=0, count=1, reply_to=ADDRESS), b"",
        )
        for r in decided(Added(0))
    ]  # fmt: skip
    no, yes = replies([*first, *second], LANES)
    assert (headers(no)["ce_type"], headers(yes)["ce_type"]) == ("effect.failed", "effect.succeeded")
    assert data([yes])["result"]["n"] == 8
