"""What the rules of a flow read, and which of it is personal."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from orchestrator.core.decider import Facts
from orchestrator.journeys.flow.model import Compiled
from orchestrator.journeys.flow.state import Run
from orchestrator.journeys.paths import assign, overlaps, read

RESULT_PREFIX: Final = "action_result_"
ROOTS: Final = (
    "customer_id",
    "journey_id",
    "organization",
    "customer",
    "account",
    "entry",
    "event",
    "run",
    "now_ms",
)
RUN_FIELDS: Final = ("id", "key", "node", "trigger", "started_ms", "visits", "splits", "reached")
OPEN_CUSTOMER_FIELDS: Final = ("id", "zone", "consent", "suppressed")
_INPUT_CHARS_MAX: Final = 200
_INPUTS_MAX: Final = 16


def variables(
    run: Run | None, facts: Facts, event: Mapping[str, Any] | None, needs: frozenset[str] | None = None
) -> dict[str, Any]:
    """The values of a decision; only the names in `needs` unless it is None. `event` is the one at hand, if any."""
    compiled: Compiled = facts.definition.compiled
    if run is None:
        values = assign(compiled.context, compiled.private)
    else:
        values = assign(run.context, run.private) if run.private else dict(run.context)
        for node, result in run.results.items():
            values[RESULT_PREFIX + node] = result
        values["entry"] = run.entry
        values["event"] = run.event or run.entry
        values["run"] = {
            "id": run.id,
            "key": run.key,
            "node": run.node,
            "trigger": run.trigger,
            "started_ms": run.started_ms,
            "visits": run.visits,
            "splits": run.splits,
            "reached": list(run.reached),
        }
    if event is not None:
        values["event"] = event
    owner = facts.stream.owner
    values["customer_id"] = owner.id
    values["journey_id"] = facts.definition.id
    values["organization"] = owner.organization
    values["now_ms"] = facts.now_ms
    if needs is None or "customer" in needs:
        values["customer"] = _customer(facts)
    if needs is None or "account" in needs:
        values["account"] = facts.record.get("account", {})
    return values if needs is None else {name: values[name] for name in needs if name in values}


def needs_of(reads: Iterable[tuple[str, ...]], *, complete: bool) -> frozenset[str] | None:
    """The names among paths; None when any name may be read."""
    paths = list(reads)
    return frozenset(path[0] for path in paths) if complete and all(paths) else None


def is_personal(path: tuple[str, ...], run: Run | None, facts: Facts) -> bool:
    """Whether a value at `path` may hold personal data: by the document, by the record, or by where it came from."""
    if not path:
        return True
    if path[0] == "customer":
        if len(path) == 1:
            return True
        if path[1] in OPEN_CUSTOMER_FIELDS:
            return path[1] == "zone" and zone_is_personal(facts)
        if path[1] == "addresses":
            return True
        record = facts.record
        return path[1] not in record.get("attributes", {}) or path[1] in record.get("private", {})
    compiled: Compiled = facts.definition.compiled
    name = ".".join(("event", *path[1:]) if path[0] == "entry" else path)
    if run is not None and any(overlaps(name, own) for own in run.private):
        return True
    return any(overlaps(name, own) for own in compiled.personal)


def zone_is_personal(facts: Facts) -> bool:
    """Whether the record keeps the customer's time zone as a private attribute."""
    zone = facts.record.get("zone")
    return zone is not None and zone in facts.record.get("private", {}).values()


def any_personal(reads: Iterable[tuple[str, ...]], run: Run | None, facts: Facts, *, complete: bool) -> bool:
    """Whether what reads these paths may show personal data."""
    return not complete or any(is_personal(path, run, facts) for path in reads)


def keep_inputs(
    inputs: dict[str, Any],
    reads: Iterable[tuple[str, ...]],
    values: Mapping[str, Any],
    run: Run | None,
    facts: Facts,
) -> None:
    """Adds what a rule read to a receipt: short values that are not personal."""
    for path in reads:
        name = ".".join(path)
        if name in inputs or len(inputs) >= _INPUTS_MAX or is_personal(path, run, facts):
            continue
        value = read(values, path)
        if not isinstance(value, dict | list) and len(str(value)) <= _INPUT_CHARS_MAX:
            inputs[name] = value


def _customer(facts: Facts) -> dict[str, Any]:
    record = facts.record
    return {
        **record.get("attributes", {}),
        **record.get("private", {}),
        "id": facts.stream.owner.id,
        "zone": record.get("zone"),
        "consent": record.get("consent", {}),
        "suppressed": record.get("suppressed", {}),
        "addresses": record.get("addresses", {}),
    }
