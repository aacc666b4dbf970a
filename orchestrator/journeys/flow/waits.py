"""When a wait ends: by a span, an instant, a local time of day or an event, outside quiet hours."""

from datetime import UTC, tzinfo
from typing import Final

from orchestrator.core.errors import OrchestratorError
from orchestrator.journeys.flow.events import Waiting
from orchestrator.journeys.flow.local_time import instant_ms, loud_ms, next_local_ms, zone_named
from orchestrator.journeys.flow.model import Node
from orchestrator.journeys.flow.state import Run
from orchestrator.journeys.flow.turn import Turn
from orchestrator.journeys.flow.values import zone_is_personal

ABSOLUTE: Final = ("until", "local", "quiet_hours", "cap")  # a pause doesn't move these
HELD: Final = ("quiet_hours", "contact", "cap")  # waits of an action, which nobody ends by hand


class BadInstant(OrchestratorError):
    """An `until` that names no instant."""


def plan(turn: Turn, node: Node, run: Run) -> Waiting:
    """What the run waits for at a wait node. Raises BadInstant and RuleFailed."""
    wait, now_ms = node.wait, turn.facts.now_ms
    assert wait is not None
    by_clock = wait.for_ms is None and (wait.until is not None or wait.local is not None)
    # A span or an event asks for no zone, and so not for the customer's record.
    zone, name = zone_of(turn, node) if by_clock or node.quiet is not None else (UTC, "")
    due_ms: int | None = None
    reason = "event"
    if wait.for_ms is not None:
        reason, due_ms = "for", now_ms + wait.for_ms
    elif wait.until is not None:
        reason, due_ms = "until", instant_ms(turn.value(wait.until, run), zone)
        if due_ms is None:
            raise BadInstant("until")
    elif wait.local is not None:
        reason = "local"
        due_ms = next_local_ms(now_ms, wait.local.minute, wait.local.weekdays, zone)
    if due_ms is not None and node.quiet is not None:
        due_ms = loud_ms(max(due_ms, now_ms), node.quiet, zone)
    return Waiting(
        run=run.id,
        node=node.id,
        visit=run.visits.get(node.id, 1),
        at_ms=now_ms,
        reason=reason,
        due_ms=due_ms,
        timeout_ms=None if wait.timeout_ms is None else now_ms + wait.timeout_ms,
        type=wait.type,
        zone=name,
    )


def zone_of(turn: Turn, node: Node) -> tuple[tzinfo, str]:
    """The zone of local times: the node's, the customer's, else the document's; and the name to record."""
    own = turn.facts.record.get("zone")
    for name in (node.zone, own, turn.compiled.zone):
        if isinstance(name, str) and name and len(name) <= 64:
            zone = zone_named(name)
            if zone is not None:
                hidden = name == own and name != node.zone and zone_is_personal(turn.facts)
                return zone, "customer" if hidden else name
    return UTC, "UTC"
