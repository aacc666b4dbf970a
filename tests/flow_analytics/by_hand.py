"""A count made by hand: from the list of a stream's events, looked through as often as it takes, nothing remembered."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from orchestrator.core.events import Event
from projections.flow_analytics.buckets import bucket_of

DAY_MS = 24 * 60 * 60 * 1000
Count = Counter[tuple[int, int, str, str, str]]
"""By version, day, node, measure and key."""


def by_hand(events: Sequence[Event]) -> Count:
    """What the events of one stream add up to."""
    found: Count = Counter()
    for place, event in enumerate(events):
        if event.NAME == "flow.run_started.v1":
            _run(found, events, place)
        elif event.NAME == "flow.action_started.v1":
            _effect(found, events, place)
    return found


def _run(found: Count, events: Sequence[Any], place: int) -> None:
    start = events[place]
    version, day = start.definition_version, start.at_ms // DAY_MS
    own = [(n, e) for n, e in enumerate(events) if n > place and getattr(e, "run", None) == start.run]

    def add(node: str, measure: str, key: str) -> None:
        found[(version, day, node, measure, key)] += 1

    add("", "entered", start.trigger)
    entered = [(n, e) for n, e in own if e.NAME == "flow.node_entered.v1"]
    ends = [(n, e) for n, e in own if e.NAME == "flow.run_ended.v1"]
    branches = [(n, e) for n, e in own if e.NAME == "flow.branch_taken.v1"]
    assert len(ends) <= 1
    for number, (at, visit) in enumerate(entered):
        last = number == len(entered) - 1
        add(visit.node, "reached", "")
        until = len(events) if last else entered[number + 1][0]
        taken = [e for n, e in branches if at < n < until]
        ways = [e for e in taken if not _exhausted(e)]
        assert len(ways) <= 1
        if ways:
            assert ways[0].node == visit.node
            add(visit.node, "branch", ways[0].branch)
        elif taken or not last:
            add(visit.node, "branch", "next")
        if not last:
            add(visit.node, "left", "")
            _stay(add, visit, entered[number + 1][1].at_ms)
        elif ends:
            _stay(add, visit, ends[0][1].at_ms)
    for _, exhausted in [b for b in branches if _exhausted(b[1])]:
        add(exhausted.node, "branch", "exhausted")
    for _, end in ends:
        at_node = entered[-1][1].node if entered else start.node
        add(at_node, "ended", f"{end.state}:{end.reason}")
    split_nodes = dict.fromkeys(e.node for _, e in branches if e.bucket >= 0)
    for node in split_nodes:
        first = next(e for _, e in branches if e.node == node and e.bucket >= 0)
        add(node, "holdout" if first.holdout else "split", first.branch)
    for n, goal in [(n, e) for n, e in own if e.NAME == "flow.goal_reached.v1"]:
        add("", "goal", goal.goal)
        for node in split_nodes:
            passed = [e for m, e in branches if m < n and e.node == node and e.bucket >= 0]
            if passed:
                add(node, "split_goal", f"{passed[0].branch}:{goal.goal}")
    for _, failed in [(n, e) for n, e in own if e.NAME == "flow.node_failed.v1"]:
        add(failed.node, "failed", failed.reason)
    for _, skipped in [(n, e) for n, e in own if e.NAME == "flow.action_skipped.v1"]:
        add(skipped.node, "effect", f"skipped:{skipped.reason}")


def _exhausted(branch: Any) -> bool:
    return bool(branch.branch == "exhausted" and branch.rule == "" and branch.index == -1)


def _stay(add: Any, visit: Any, until_ms: int) -> None:
    add(visit.node, "stay", str(bucket_of(until_ms - visit.at_ms)))


def _effect(found: Count, events: Sequence[Any], place: int) -> None:
    asked = events[place]
    start = next(
        e for e in reversed(events[:place]) if e.NAME == "flow.run_started.v1" and e.run == asked.run
    )

    def add(key: str) -> None:
        found[(start.definition_version, start.at_ms // DAY_MS, asked.node, "effect", key)] += 1

    add("asked")
    for event in events[place + 1 :]:
        own = getattr(event, "effect", "") == asked.effect
        if own and event.NAME == "journey.effect_attempt_failed.v1":
            add("tried_again")
        elif own and event.NAME == "journey.effect_succeeded.v1":
            return add("succeeded")
        elif own and event.NAME == "journey.effect_failed.v1":
            return add(f"unknown:{event.error}" if event.unknown else f"failed:{event.error}")
        elif own and event.NAME == "journey.effect_requested.v1" and event.suppressed:
            return add("suppressed")
        elif event.NAME == "journey.timer_cancelled.v1" and event.timer == f"effect:{asked.effect}":
            return add("forgotten")
    return None
