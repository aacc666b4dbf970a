"""What operators and servers tell a draw: commit, open, close, beacon, draw, and what they may change."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from orchestrator.core.decider import Facts
from orchestrator.core.errors import Malformed, Rejected
from orchestrator.core.events import Event
from orchestrator.distributions.admissions import REFERENCE_CHARS_MAX, redeem, revoke
from orchestrator.distributions.base import Operate
from orchestrator.distributions.draw import config as configs
from orchestrator.distributions.draw.config import CONFIGURE, SOURCE_CHARS_MAX, TERMS_FIELDS, DrawConfig
from orchestrator.distributions.draw.events import (
    BeaconGiven,
    DrawAbandoned,
    DrawClosed,
    DrawCommitted,
    DrawConfigured,
    DrawEnded,
    DrawHeld,
    DrawOpened,
    EntryPaused,
    EntryResumed,
)
from orchestrator.distributions.draw.state import DrawState
from orchestrator.distributions.draw.steps import TICK
from orchestrator.distributions.fairness.entries import KEY_BYTES
from orchestrator.distributions.fairness.seeds import (
    BEACON_BYTES_MAX,
    BEACON_BYTES_MIN,
    SECRET_BYTES,
    BeaconRound,
    keeps,
    seed,
)
from orchestrator.distributions.reading import WHOLE_MAX, Fields, instant_ms
from orchestrator.distributions.turn import Turn

OPERATIONS: Final = frozenset(
    {
        "open",
        "close",
        "pause",
        "resume",
        "configure",
        "commit",
        "beacon",
        "draw",
        "abandon",
        "redeem",
        "revoke",
    }
)
REASON_CHARS_MAX: Final = 200
JTI_CHARS_MAX: Final = 64
OPEN: Final = "open"
CLOSE: Final = "close"


def operate(state: DrawState, command: Operate, facts: Facts) -> Sequence[Event]:
    """The events of a command from outside. Raises Rejected, by name where it comes out of order."""
    turn = Turn(state.armed)
    match command.type:
        case "redeem":
            fields = Fields("redeem", command.data, ("jti", "reference"))
            reference = fields.text("reference", most=REFERENCE_CHARS_MAX, default="")
            turn.events += redeem(
                state.room, state.admissions, fields.text("jti", most=JTI_CHARS_MAX), reference, facts
            )
            turn.want(TICK, facts.now_ms)
        case "revoke":
            fields = Fields("revoke", command.data, ("jti", "reason"))
            reason = fields.text("reason", most=REFERENCE_CHARS_MAX, default="")
            turn.events += revoke(
                state.room, state.admissions, fields.text("jti", most=JTI_CHARS_MAX), reason, facts
            )
            turn.want(TICK, facts.now_ms)
        case "open" | "close" | "pause" | "resume":
            Fields(command.type, command.data, ())
            _gates(state, command.type, turn, facts)
        case "configure":
            _configure(state, Fields("configure", command.data, CONFIGURE), turn, facts)
        case "commit":
            _commit(state, command.data, turn, facts)
        case "beacon":
            turn.add(_beacon(state, Fields("beacon", command.data, ("round", "value")), facts))
        case "draw":
            turn.add(_draw(state, Fields("draw", command.data, ("secret",)), facts))
            turn.want(TICK, facts.now_ms)
        case "abandon":
            fields = Fields("abandon", command.data, ("reason",))
            if state.phase not in {"scheduled", "open", "sealing", "sealed"}:
                raise Rejected("draw.already_drawn", phase=state.phase)
            reason = fields.text("reason", most=REASON_CHARS_MAX, default="")
            turn.add(DrawAbandoned(state.room, reason, facts.now_ms))
            turn.want(TICK, facts.now_ms)
    return turn.done()


def _gates(state: DrawState, word: str, turn: Turn, facts: Facts) -> None:
    if word == "open":
        if state.phase != "scheduled":
            raise Rejected("draw.already_open" if state.phase == "open" else "draw.closed", phase=state.phase)
        if not state.commitment:
            raise Rejected("draw.not_committed", cure="send commit first")
        turn.add(DrawOpened(state.room, facts.now_ms))
        return
    if state.phase != "open":
        raise Rejected("draw.not_open" if state.phase == "scheduled" else "draw.closed", phase=state.phase)
    if word == "close":
        close(state, turn, facts)
    elif state.paused == (word == "pause"):
        raise Rejected("draw.already_paused" if state.paused else "draw.not_paused")
    else:
        turn.add((EntryPaused if word == "pause" else EntryResumed)(state.room, facts.now_ms))


def close(state: DrawState, turn: Turn, facts: Facts) -> None:
    """No more entries; a draw that never opened is over."""
    if state.phase == "scheduled":
        turn.add(DrawEnded(state.room, "never_opened", facts.now_ms))
        return
    turn.add(DrawClosed(state.room, facts.now_ms))
    turn.want(TICK, facts.now_ms)


def _configure(state: DrawState, fields: Fields, turn: Turn, facts: Facts) -> None:
    config = configs.changed(state.config, fields)
    if state.commitment and (
        bound := [name for name in TERMS_FIELDS if getattr(config, name) != getattr(state.config, name)]
    ):
        raise Rejected("draw.terms_fixed", fields=bound)
    if config.opens_ms != state.config.opens_ms and state.phase != "scheduled":
        raise Rejected("draw.already_open", fields=["opens_at"])
    if config.closes_ms != state.config.closes_ms and state.phase not in {"scheduled", "open"}:
        raise Rejected("draw.closed", fields=["closes_at"])
    _check_times(config, state.beacon or config.beacon)
    turn.add(DrawConfigured(state.room, config, facts.now_ms))
    if state.phase == "scheduled":
        turn.want(OPEN, config.opens_ms or None)
    if state.phase in {"scheduled", "open"}:
        turn.want(CLOSE, config.closes_ms or None)


def _check_times(config: DrawConfig, beacon: BeaconRound | None) -> None:
    if config.opens_ms and 0 < config.closes_ms <= config.opens_ms:
        raise Rejected("draw.closes_before_opening", opens_ms=config.opens_ms, closes_ms=config.closes_ms)
    if beacon is not None and config.closes_ms >= beacon.at_ms:
        raise Rejected("draw.beacon_before_close", at_ms=beacon.at_ms, closes_ms=config.closes_ms)


def _commit(state: DrawState, data: Mapping[str, Any], turn: Turn, facts: Facts) -> None:
    fields = Fields("commit", data, ("commitment", "salt_key", "beacon"))
    commitment = _hex(fields, "commit", "commitment", SECRET_BYTES, SECRET_BYTES)
    salt_key = _hex(fields, "commit", "salt_key", KEY_BYTES, KEY_BYTES)
    beacon = _round(data["beacon"]) if data.get("beacon") is not None else state.config.beacon
    if state.commitment:
        raise Rejected("draw.already_committed", commitment=state.commitment)
    if state.phase != "scheduled":
        raise Rejected("draw.closed", phase=state.phase)
    _check_times(state.config, beacon)
    if beacon is not None and beacon.at_ms <= facts.now_ms:
        raise Rejected("draw.beacon_published", at_ms=beacon.at_ms, cure="name a later round")
    terms = state.config.terms(state.draw, commitment, beacon).digest()
    made = DrawCommitted(state.room, commitment, terms, facts.now_ms, beacon, {"salt_key": salt_key})
    turn.add(made)
    if 0 < state.config.opens_ms <= facts.now_ms:
        turn.add(DrawOpened(state.room, facts.now_ms))


def _round(data: Any) -> BeaconRound:
    if not isinstance(data, Mapping):
        raise Malformed("commit: beacon must be an object with source, round and at")
    fields = Fields("commit: beacon", data, ("source", "round", "at"))
    source, number = (
        fields.text("source", most=SOURCE_CHARS_MAX),
        fields.whole("round", least=0, most=WHOLE_MAX),
    )
    try:
        return BeaconRound(source, number, instant_ms(fields.text("at", most=40)))
    except ValueError as error:
        raise Malformed(f"commit: beacon: at: {error}") from error


def _beacon(state: DrawState, fields: Fields, facts: Facts) -> BeaconGiven:
    number = fields.whole("round", least=0)
    value = _hex(fields, "beacon", "value", BEACON_BYTES_MIN, BEACON_BYTES_MAX)
    named = state.beacon
    if named is None:
        raise Rejected("draw.no_beacon_named" if state.commitment else "draw.not_committed")
    _sealed(state)
    if state.beacon_value:
        raise Rejected("draw.beacon_already_given", value=state.beacon_value)
    if number != named.round:
        raise Rejected("draw.other_round", named=named.round, given=number)
    if facts.now_ms < named.at_ms:
        raise Rejected("draw.beacon_too_early", at_ms=named.at_ms)
    return BeaconGiven(state.room, value, facts.now_ms)


def _draw(state: DrawState, fields: Fields, facts: Facts) -> DrawHeld:
    secret = bytes.fromhex(_hex(fields, "draw", "secret", SECRET_BYTES, SECRET_BYTES))
    if not state.commitment:
        raise Rejected("draw.not_committed")
    _sealed(state)
    if state.beacon is not None and not state.beacon_value:
        raise Rejected("draw.beacon_missing", source=state.beacon.source, round=state.beacon.round)
    if not keeps(secret, bytes.fromhex(state.commitment)):
        raise Rejected("draw.secret_mismatch", commitment=state.commitment)
    found = seed(secret, bytes.fromhex(state.beacon_value))
    return DrawHeld(state.room, secret.hex(), found.hex(), facts.now_ms)


def _sealed(state: DrawState) -> None:
    """Raises Rejected unless the entries are sealed and nothing is drawn yet."""
    match state.phase:
        case "sealed":
            return
        case "scheduled" | "open":
            raise Rejected("draw.not_closed", phase=state.phase)
        case "sealing":
            raise Rejected("draw.not_sealed", sealed=state.sealed_upto, entries=state.size)
        case "abandoned":
            raise Rejected("draw.abandoned")
    raise Rejected("draw.already_drawn" if state.seed else "draw.closed", phase=state.phase)


def _hex(fields: Fields, command: str, name: str, least: int, most: int) -> str:
    text = fields.text(name, most=2 * most).lower()
    try:
        value = bytes.fromhex(text)
    except ValueError:
        value = b""
    if len(text) != 2 * len(value) or not least <= len(value) <= most:
        size = str(least) if least == most else f"{least} to {most}"
        raise Malformed(f"{command}: {name} must be {size} bytes in hexadecimal digits")
    return text
