"""Which sequence a customer belongs to: the first one by priority that is not over, whose rule holds, whose gates are passed."""

from collections.abc import Mapping
from typing import Any, Final

from orchestrator.core.rules import Data, RuleFailed
from orchestrator.journeys.experience.events import NeedsAdded, NotRouted, Routed
from orchestrator.journeys.experience.model import Gate, Sequence
from orchestrator.journeys.experience.stages import ACCESS_CODE, AUTHENTICATION, ENTERABLE, UPCOMING
from orchestrator.journeys.experience.state import MET, Need
from orchestrator.journeys.experience.turn import Turn
from orchestrator.journeys.paths import read

ROOTS: Final = (
    "customer", "customer_id", "access_code", "access_codes", "authenticated", "segments", "attributes", "refused",
    "over", "now_ms",
)  # fmt: skip
OPEN_ROOTS: Final = ("access_code", "access_codes", "authenticated", "refused", "over", "now_ms")
"""What receipts keep in clear; whatever else a rule read is kept as private."""
_INPUTS_MAX: Final = 16
_INPUT_CHARS_MAX: Final = 200


def go_on(turn: Turn) -> None:
    """Route the customer as soon as nothing is left to ask for."""
    if turn.stage == "routing":
        route(turn)


def route(turn: Turn) -> None:
    """Find the sequence; else ask for what a sequence still needs; else say that there is none now."""
    considered: list[dict[str, Any]] = []
    private: dict[str, Any] = {}
    wanting: Sequence | None = None
    # Without a rule nobody has to look at the customer's record.
    values = variables(turn) if any(one.when is not None for one in turn.compiled.sequences) else {}
    for sequence in turn.compiled.sequences:
        inputs: dict[str, Any] = {}
        verdict = _verdict(turn, sequence, values, inputs, private)
        if not verdict:
            _seat(turn, sequence, inputs, considered, private)
            return
        considered.append(
            {"sequence": sequence.id, "verdict": verdict, **({"inputs": inputs} if inputs else {})}
        )
        if verdict == "gates" and wanting is None and _missing(turn, sequence):
            wanting = sequence
    if wanting is not None:
        _ask_for_more(turn, wanting)
        return
    was_routing = turn.state.seat is None and any(note.kind == "reroute" for note in turn.state.notes[-1:])
    version = turn.facts.definition.version
    turn.add(NotRouted(turn.now_ms, version, tuple(considered), private))
    if not was_routing:
        turn.note("reroute", "info", "No place could be found yet.")


def variables(turn: Turn) -> dict[str, Any]:
    """What routing rules and attributes read."""
    state, record = turn.state, turn.facts.record
    authentication = state.need(AUTHENTICATION)
    return {
        "customer": {
            **record.get("attributes", {}),
            **record.get("private", {}),
            "id": turn.facts.stream.owner.id,
            "zone": record.get("zone"),
            "consent": record.get("consent", {}),
        },
        "customer_id": turn.facts.stream.owner.id,
        "access_code": state.codes[-1] if state.codes else None,
        "access_codes": list(state.codes),
        "authenticated": authentication is not None and authentication.status == MET,
        "segments": list(state.segments),
        "attributes": state.attributes,
        "refused": list(state.refused),
        "over": list(state.over),
        "now_ms": turn.now_ms,
    }


def attributes_of(turn: Turn, sequence: Sequence) -> Mapping[str, Any]:
    """What entering tells the distribution, such as a draw's weight; nothing where a rule fails."""
    if sequence.attributes is None:
        return {}
    try:
        found = sequence.attributes.render(Data(variables(turn)))
    except RuleFailed:
        return {}
    return found if isinstance(found, dict) else {}


def _verdict(
    turn: Turn, sequence: Sequence, values: Mapping[str, Any], inputs: dict[str, Any], private: dict[str, Any]
) -> str:
    """Why not this sequence: closed, over, rule, rule_failed or gates; empty: it is the one."""
    if sequence.closes_ms is not None and sequence.closes_ms <= turn.now_ms:
        return "closed"
    if sequence.distribution in turn.state.over:
        return "over"
    if sequence.when is not None:
        for path in sequence.when.reads:
            _keep(inputs if path[:1] and path[0] in OPEN_ROOTS else private, path, values)
        try:
            if not sequence.when.holds(Data(values)):
                return "rule"
        except RuleFailed as failure:
            inputs["failed"] = failure.reason
            return "rule_failed"
    return "" if all(_passes(turn, gate) for gate in sequence.gates) else "gates"


def _passes(turn: Turn, gate: Gate) -> bool:
    """Whether a gate is passed; one that isn't required lets everybody through."""
    if not gate.required:
        return True
    need = turn.state.need(gate.type)
    if need is None or need.status != MET:
        return False
    return gate.type != ACCESS_CODE or not gate.codes or bool(gate.codes & set(turn.state.codes))


def _missing(turn: Turn, sequence: Sequence) -> tuple[Need, ...]:
    """What can still be asked for; nothing when another access code than the one given would be needed."""
    missing = []
    for gate in sequence.gates:
        if _passes(turn, gate):
            continue
        need = turn.state.need(gate.type)
        if need is not None and need.status == MET:
            return ()
        missing.append(Need(gate.type, reason=gate.reason, metadata=gate.metadata))
    return tuple(missing)


def _ask_for_more(turn: Turn, sequence: Sequence) -> None:
    needs = _missing(turn, sequence)
    turn.add(NeedsAdded(turn.now_ms, sequence.id, needs))
    turn.note(
        "requirement", "info", "Something more is needed.", detail={"types": [need.type for need in needs]}
    )


def _seat(
    turn: Turn,
    sequence: Sequence,
    inputs: dict[str, Any],
    considered: list[dict[str, Any]],
    private: dict[str, Any],
) -> None:
    before = turn.state.seat
    later = sequence.opens_ms is not None and sequence.opens_ms > turn.now_ms
    turn.add(
        Routed(
            at_ms=turn.now_ms,
            definition_version=turn.facts.definition.version,
            sequence=sequence.id,
            name=sequence.name,
            rule=sequence.pointer,
            distribution=sequence.distribution,
            mechanism=sequence.mechanism,
            stage=UPCOMING if later else ENTERABLE,
            waitlist=sequence.waitlist,
            opens_ms=sequence.opens_ms,
            closes_ms=sequence.closes_ms,
            on_expired=sequence.on_expired,
            inputs=inputs,
            considered=tuple(considered),
            private=private,
        )
    )
    if before is None:
        turn.note("sequence_change", "success", "Your place was found.", detail={"sequenceId": sequence.id})
    elif before.sequence != sequence.id:
        turn.note("reroute", "info", "You were given another place.", detail={"sequenceId": sequence.id})


def _keep(inputs: dict[str, Any], path: tuple[str, ...], values: Mapping[str, Any]) -> None:
    name = ".".join(path)
    if not name or name in inputs or len(inputs) >= _INPUTS_MAX:
        return
    value = read(values, path)
    if not isinstance(value, dict) and len(str(value)) <= _INPUT_CHARS_MAX:
        inputs[name] = value
