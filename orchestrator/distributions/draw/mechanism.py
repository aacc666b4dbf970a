"""A draw: whoever enters before the close has a chance by weight; who wins can be recomputed by anyone.

Commit (a secret's hash, a beacon's round) - open - entries - close - seal (the root is public) - beacon - draw (the
secret is revealed) - winners, reserves, the rest. A winner who doesn't take the place gives way to the next in rank.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from orchestrator.core.decider import Facts, Problem
from orchestrator.core.errors import Rejected
from orchestrator.core.events import Event
from orchestrator.core.resource import Summary
from orchestrator.distributions.admissions import EXPIRE_AT_ONCE_MAX, expire_due, give_back, grant
from orchestrator.distributions.base import Ask, Distribution, Operate, Room
from orchestrator.distributions.draw import config as configs
from orchestrator.distributions.draw import state as states
from orchestrator.distributions.draw.config import DrawConfig
from orchestrator.distributions.draw.events import (
    DRAW_EVENTS,
    DrawEntered,
    DrawLeft,
    DrawOpened,
    DrawPrepared,
    DrawTold,
    OfferDeclined,
    OffersExpired,
    receipt_of,
)
from orchestrator.distributions.draw.operating import CLOSE, OPEN, OPERATIONS, close, operate
from orchestrator.distributions.draw.state import DrawState
from orchestrator.distributions.draw.steps import EXPIRY, TICK, step
from orchestrator.distributions.fairness.entries import salt
from orchestrator.distributions.turn import Turn

ENTRANTS_MAX: Final = 2_000_000
_SETTLING: Final = frozenset({"sealing", "sealed", "ranking", "placing", "telling"})


class Draw(Distribution):
    """The mechanism `draw`."""

    name = "draw"
    mechanism_events: tuple[type[Event], ...] = DRAW_EVENTS
    schema: Mapping[str, Any] = configs.SCHEMA
    operations = OPERATIONS

    def check(self, document: Mapping[str, Any]) -> Sequence[Problem]:
        return list(configs.check(document))

    def compile_config(self, document: Mapping[str, Any]) -> DrawConfig:
        return configs.compile_config(document)

    def prepare(self, room: Room, config: DrawConfig, facts: Facts) -> Sequence[Event]:
        turn = Turn({})
        turn.add(DrawPrepared(room, config, facts.now_ms))
        turn.want(OPEN, config.opens_ms or None)
        turn.want(CLOSE, config.closes_ms or None)
        return turn.done()

    def ask(self, state: DrawState, participant: str, ask: Ask, facts: Facts) -> Sequence[Event]:
        match ask.action:
            case "enter":
                return _enter(state, participant, ask.data, facts)
            case "leave":
                return _leave(state, participant, facts)
            case "claim":
                return _claim(state, participant, facts)
            case "refresh":
                return (DrawTold(state.room, participant, facts.now_ms, _standing(state, participant)),)
        raise Rejected(
            "draw.not_an_action", action=ask.action, actions=["enter", "leave", "claim", "refresh"]
        )

    def operate(self, state: DrawState, command: Operate, facts: Facts) -> Sequence[Event]:
        return operate(state, command, facts)

    def fire(self, state: DrawState, timer: str, facts: Facts) -> Sequence[Event]:
        turn, config = Turn(state.armed, timer), state.config
        if timer == TICK:
            step(state, turn, facts)
        elif timer == EXPIRY:
            _expire(state, turn, facts)
        elif timer == OPEN and state.phase == "scheduled" and config.opens_ms:
            if config.opens_ms > facts.now_ms:
                turn.want(OPEN, config.opens_ms)
            elif state.commitment:  # otherwise it opens with the commitment
                turn.add(DrawOpened(state.room, facts.now_ms))
        elif timer == CLOSE and state.phase in {"scheduled", "open"} and config.closes_ms:
            if config.closes_ms > facts.now_ms:
                turn.want(CLOSE, config.closes_ms)
            else:
                close(state, turn, facts)
        return turn.done()

    def evolve(self, state: DrawState | None, event: Event) -> DrawState | None:
        return states.evolve(state, event)

    def capture(self, state: DrawState | None) -> Summary:
        if state is None:
            return Summary("", {})
        beacon, phase = state.beacon, _phase(state)
        view = {
            "mechanism": self.name,
            "phase": phase,
            "opensAt": state.config.opens_ms,
            "closesAt": state.config.closes_ms,
            "commitment": state.commitment,
            "terms": state.terms,
            "root": state.root,
        }
        if beacon is not None:
            view["beacon"] = {"source": beacon.source, "round": beacon.round, "at": beacon.at_ms}
        if state.seed:
            view |= {"secret": state.secret, "beaconValue": state.beacon_value, "seed": state.seed}
        return Summary(phase.upper(), view)


def _phase(state: DrawState) -> str:
    """The phase as participants know it."""
    if state.phase == "open" and state.paused:
        return "paused"
    return "settling" if state.phase in _SETTLING else state.phase


# Participants.


def _enter(
    state: DrawState, participant: str, data: Mapping[str, Any], facts: Facts
) -> Sequence[DrawOpened | DrawEntered]:
    opened: tuple[DrawOpened, ...] = ()
    if state.phase == "scheduled":
        if not state.commitment or not 0 < state.config.opens_ms <= facts.now_ms:
            raise Rejected("draw.not_open", opens_at_ms=state.config.opens_ms)
        opened = (DrawOpened(state.room, facts.now_ms),)  # its timer is on its way
    _still_open(state, facts)
    if state.paused:
        raise Rejected("draw.paused")
    if ticket := state.ticket_of(participant):
        raise Rejected("draw.already_entered", receipt=_receipt(state, participant, ticket))
    if state.size >= ENTRANTS_MAX:
        raise Rejected("draw.full")
    attributes = data.get("attributes")
    weight = attributes.get("weight", 1) if isinstance(attributes, Mapping) else 1
    if isinstance(weight, float) and weight.is_integer():
        weight = int(weight)  # rules reckon in floats
    most = state.config.weight_max
    if not isinstance(weight, int) or isinstance(weight, bool) or not 1 <= weight <= most:
        raise Rejected("draw.weight_out_of_bounds", weight=_shown(weight), least=1, most=most)
    ticket = state.size + 1
    salted = salt(state.salt_key, ticket, participant).hex()
    entered = DrawEntered(state.room, participant, ticket, weight, salted, state.terms, facts.now_ms)
    return (*opened, entered)


def _leave(state: DrawState, participant: str, facts: Facts) -> Sequence[Event]:
    ticket, turn = state.ticket_of(participant), Turn(state.armed)
    if not ticket:
        raise Rejected("draw.not_in")
    if participant in state.offers:
        turn.add(OfferDeclined(state.room, participant, facts.now_ms))
    elif (returned := give_back(state.room, state.admissions, participant, facts)) is not None:
        turn.add(returned)
    else:
        _still_open(state, facts)
        return (DrawLeft(state.room, participant, ticket, facts.now_ms),)
    turn.want(TICK, facts.now_ms)
    return turn.done()


def _claim(state: DrawState, participant: str, facts: Facts) -> Sequence[Event]:
    until_ms = state.offers.get(participant)
    if until_ms is None:
        raise Rejected("draw.nothing_to_claim")
    if until_ms <= facts.now_ms:  # its timer is on its way
        raise Rejected("draw.claim_window_over", expired_ms=until_ms)
    turn = Turn(state.armed)
    made = grant(state.room, state.admissions, [(participant, 1)], facts, valid_ms=state.config.valid_ms)
    turn.add(made)
    turn.want(EXPIRY, made.expires_ms)
    return turn.done()


def _standing(state: DrawState, participant: str) -> dict[str, Any]:
    """How things stand for one participant."""
    told: dict[str, Any] = {
        "phase": _phase(state),
        "opens_at_ms": state.config.opens_ms,
        "closes_at_ms": state.config.closes_ms,
    }
    ticket = state.ticket_of(participant)
    if ticket:
        told |= {"ticket": ticket, "receipt": _receipt(state, participant, ticket)}
    if (until_ms := state.offers.get(participant)) is not None:
        told["offer_expires_ms"] = until_ms
    elif (live := state.admissions.live.get(participant)) is not None:
        told |= {"jti": live.jti, "expires_ms": live.expires_ms}
    return told


def _receipt(state: DrawState, participant: str, ticket: int) -> dict[str, Any]:
    at, salted = ticket - 1, state.salt(ticket).hex()
    again = DrawEntered(
        state.room, participant, ticket, state.weights[at], salted, state.terms, state.entered_ms[at]
    )
    return receipt_of(again)


def _still_open(state: DrawState, facts: Facts) -> None:
    closes_ms = state.config.closes_ms
    if state.phase not in {"scheduled", "open"} or 0 < closes_ms <= facts.now_ms:
        raise Rejected("draw.closed", closed_at_ms=state.times.get("closed_ms", closes_ms))


def _shown(weight: Any) -> Any:
    return weight if isinstance(weight, int | float) else str(weight)[:100]


# Time.


def _expire(state: DrawState, turn: Turn, facts: Facts) -> None:
    late, look_ms = state.offers.due(facts.now_ms, EXPIRE_AT_ONCE_MAX)
    if late:
        turn.add(OffersExpired(state.room, tuple(late), facts.now_ms))
    unused = expire_due(state.room, state.admissions, facts)
    turn.events += unused
    turn.want(EXPIRY, look_ms)
    turn.want(EXPIRY, state.admissions.next_end_after_ms(facts.now_ms))
    if late or unused:
        turn.want(TICK, facts.now_ms)


DRAW: Final[Distribution] = Draw()
