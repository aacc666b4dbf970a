"""The queue: first come, first served, at a rate and with so many inside at once; before the opening, by lot.

A participant enters and gets a ticket, waits in the line, is admitted by a grant when their turn comes, and is inside
until they redeemed it (or until its end). Operators change rates and limits while it runs.
"""

from collections.abc import Mapping, Sequence
from copy import copy
from typing import Any, Final

from msgspec.structs import replace

from orchestrator.core.decider import Facts, Problem
from orchestrator.core.errors import Rejected
from orchestrator.core.events import CommandIgnored, Event
from orchestrator.core.resource import Summary
from orchestrator.distributions.admissions import (
    expire_due,
    give_back,
    grant,
    redeem,
    revoke,
)
from orchestrator.distributions.base import Ask, Distribution, Operate, Room
from orchestrator.distributions.fairness.seeds import keeps
from orchestrator.distributions.queue import config as configs
from orchestrator.distributions.queue import events as happened
from orchestrator.distributions.queue.commands import OPERATIONS, read
from orchestrator.distributions.queue.config import QueueConfig
from orchestrator.distributions.queue.flow import AT_ONCE_MAX, Flow
from orchestrator.distributions.queue.state import Position, QueueState
from orchestrator.distributions.turn import Turn

OPEN, CLOSE, TICK, EXPIRY, ABSENCE = "open", "close", "tick", "expiry", "absence"


class _QueueTurn(Turn):
    """A decision of a queue, with the numbers as its events so far leave them."""

    def __init__(
        self, room: Room, flow: Flow, armed: Mapping[str, int], facts: Facts, fired: str = ""
    ) -> None:
        super().__init__(armed, fired)
        self.room = room
        self.flow = copy(flow)
        self.now_ms = facts.now_ms

    def add(self, event: Event) -> None:
        super().add(event)
        self.flow.apply(event)

    def done(self) -> list[Event]:
        self.want(TICK, self.flow.next_tick_ms(self.now_ms))
        return super().done()


class Queue(Distribution):
    """See the module."""

    name = "queue"
    schema = configs.SCHEMA
    mechanism_events = happened.QUEUE_EVENTS
    operations = OPERATIONS

    def check(self, document: Mapping[str, Any]) -> Sequence[Problem]:
        return list(configs.check(document))

    def compile_config(self, document: Mapping[str, Any]) -> QueueConfig:
        return configs.compile_config(document)

    def read(self, type: str, data: Mapping[str, Any]) -> Mapping[str, Any]:
        return read(type, data)

    def prepare(self, room: Room, config: QueueConfig, facts: Facts) -> Sequence[Event]:
        public = replace(config, secret="")
        private = {"secret": config.secret} if config.secret else {}
        prepared = happened.QueuePrepared(room, public, facts.now_ms, private)
        turn = _QueueTurn(room, Flow(public, "scheduled", facts.now_ms), {}, facts)
        turn.add(prepared)
        _open_when_due(turn, config.secret)
        _want_times(turn)
        return turn.done()

    def ask(self, state: QueueState, participant: str, ask: Ask, facts: Facts) -> Sequence[Event]:
        turn = _QueueTurn(state.room, state.flow, state.armed, facts)
        _open_when_due(turn, state.secret)
        match ask.action:
            case "enter":
                _enter(state, turn, participant)
            case "leave":
                _leave(state, turn, participant, facts)
            case "complete":
                _complete(state, turn, participant, facts)
            case "refresh":
                _back(state, turn, [participant])
                turn.add(
                    happened.QueueTold(
                        state.room, participant, facts.now_ms, _standing(state, turn, participant)
                    )
                )
            case _:
                raise Rejected("queue.not_possible", action=ask.action)
        return turn.done()

    def operate(self, state: QueueState, command: Operate, facts: Facts) -> Sequence[Event]:
        turn = _QueueTurn(state.room, state.flow, state.armed, facts)
        data = command.data
        match command.type:
            case "redeem":
                turn.extend(redeem(state.room, state.admissions, data["jti"], data["reference"], facts))
            case "revoke":
                turn.extend(revoke(state.room, state.admissions, data["jti"], data["reason"], facts))
            case "admit":
                _admit_now(state, turn, data["count"], facts)
            case "absent":
                _absent(state, turn, data["participants"])
            case "present":
                _back(state, turn, data["participants"])
            case "configure":
                _configure(turn, data)
            case _:
                _steer(state, turn, command)
        return turn.done() or (CommandIgnored("nobody_concerned"),)

    def fire(self, state: QueueState, timer: str, facts: Facts) -> Sequence[Event]:
        turn = _QueueTurn(state.room, state.flow, state.armed, facts, fired=timer)
        now_ms, flow = facts.now_ms, turn.flow
        match timer:
            case "open":
                _open_when_due(turn, state.secret)
                _want_times(turn)
            case "close":
                if flow.phase != "closed" and 0 < flow.config.closes_ms <= now_ms:
                    turn.add(happened.QueueClosed(state.room, now_ms, "closing_time"))
                _want_times(turn)
            case "tick" if flow.phase == "closed":
                if flow.waiting:
                    turn.add(happened.QueueDismissed(state.room, tuple(state.next(AT_ONCE_MAX)), now_ms))
            case "tick":
                _admit(state, turn, flow.admissible(now_ms), facts)
            case "expiry":
                _expire(state, turn, facts)
            case "absence":
                gone, again_ms = state.absences.due(now_ms, AT_ONCE_MAX)
                if gone:
                    turn.add(happened.QueuePlacesFreed(state.room, tuple(gone), now_ms))
                turn.want(ABSENCE, again_ms)
        return turn.done()

    def evolve(self, state: QueueState | None, event: Event) -> QueueState | None:
        if state is None:
            return QueueState(event) if isinstance(event, happened.QueuePrepared) else None
        state.evolve(event)
        return state

    def presence_timeout_ms(self, state: QueueState) -> int:
        return state.flow.config.presence_timeout_ms

    def awaited(self, state: QueueState) -> Sequence[str]:
        return state.awaited()

    def noted_absent(self, state: QueueState) -> Sequence[str]:
        return list(state.absences)

    def label(self, state: QueueState | Summary | None) -> str:
        if isinstance(state, Summary):
            return state.label
        return "none" if state is None else _phase(state.flow)

    def capture(self, state: QueueState | None) -> Summary:
        if state is None:
            return Summary("none", {})
        config, phase = state.flow.config, _phase(state.flow)
        view = {
            "phase": phase,
            "opens_at_ms": config.opens_ms or None,
            "closes_at_ms": config.closes_ms or None,
            "commitment": config.commitment or None,
            "secret": state.revealed or None,
            "now_serving": now_serving(state),
        }
        return Summary(phase, view)


def position(state: QueueState, participant: str, now_ms: int | None = None) -> Position | None:
    """Where a participant stands; None for who doesn't wait. For readers; O(log n)."""
    return state.position(participant, now_ms)


def now_serving(state: QueueState) -> dict[str, Any]:
    """One document from which every page computes its own position."""
    return {"phase": _phase(state.flow), **state.now_serving()}


def _phase(flow: Flow) -> str:
    if flow.phase == "scheduled":
        return "pre_queue" if flow.config.pre_queue else "scheduled"
    return "paused" if flow.paused and flow.phase != "closed" else flow.phase


def _open_when_due(turn: _QueueTurn, secret: str) -> None:
    """Open at the opening time; a command that comes before the timer finds the queue open all the same."""
    flow, config = turn.flow, turn.flow.config
    if flow.phase == "scheduled" and config.opens_ms <= turn.now_ms and (secret or not config.pre_queue):
        turn.add(happened.QueueOpened(turn.room, turn.now_ms, secret if config.pre_queue else ""))


def _want_times(turn: _QueueTurn) -> None:
    flow, config = turn.flow, turn.flow.config
    if flow.phase == "scheduled" and config.opens_ms > turn.now_ms:
        turn.want(OPEN, config.opens_ms)
    if flow.phase != "closed" and config.closes_ms:
        turn.want(CLOSE, config.closes_ms)


def _enter(state: QueueState, turn: _QueueTurn, participant: str) -> None:
    ticket, flow = state.tickets.get(participant), turn.flow
    if ticket is not None:
        live = state.admissions.live.get(participant)
        if live is not None and (not live.expires_ms or live.expires_ms > turn.now_ms):
            again = (ticket, "admitted", turn.now_ms, live.jti, live.expires_ms)
            turn.add(happened.QueueEntryRepeated(state.room, participant, *again))
            return
        if state.waits(participant):
            _back(state, turn, [participant])
            phase = _waiting_in(flow)
            turn.add(happened.QueueEntryRepeated(state.room, participant, ticket, phase, turn.now_ms))
            return
        if live is not None:
            raise Rejected("grant.expired", expired_ms=live.expires_ms)
        if not flow.config.again:
            raise Rejected("queue.already_served", ticket=ticket)
        if participant in state.slots:
            raise Rejected("queue.inside", ticket=ticket)
    _may_enter(flow, turn.now_ms)
    phase = _waiting_in(flow)
    turn.add(happened.QueueEntered(state.room, participant, state.issued + 1, phase, turn.now_ms))


def _waiting_in(flow: Flow) -> str:
    return "pre_queue" if flow.phase == "scheduled" else "waiting"


def _may_enter(flow: Flow, now_ms: int) -> None:
    config = flow.config
    if flow.phase == "closed" or 0 < config.closes_ms <= now_ms:
        raise Rejected("queue.closed")
    if flow.phase == "draining":
        raise Rejected("queue.draining")
    if flow.phase == "scheduled" and not config.pre_queue:
        raise Rejected("queue.not_open", opens_at_ms=config.opens_ms)
    if flow.phase == "scheduled" and now_ms < config.pre_queue_opens_ms:
        raise Rejected("queue.not_open", opens_at_ms=config.pre_queue_opens_ms)
    if config.capacity and flow.waiting + flow.inside >= config.capacity:
        raise Rejected("queue.full")


def _leave(state: QueueState, turn: _QueueTurn, participant: str, facts: Facts) -> None:
    returned = give_back(state.room, state.admissions, participant, facts)
    if returned is not None:
        turn.add(returned)
    elif state.waits(participant):
        turn.add(happened.QueueLeft(state.room, participant, facts.now_ms))
    elif participant in state.slots:
        turn.add(happened.QueueLeft(state.room, participant, facts.now_ms, inside=True))
    else:
        raise Rejected("queue.not_in")


def _complete(state: QueueState, turn: _QueueTurn, participant: str, facts: Facts) -> None:
    """After a purchase: uses the grant where no server did, and frees the place inside."""
    live = state.admissions.live.get(participant)
    if live is None and (participant not in state.tickets or state.waits(participant)):
        raise Rejected("queue.not_admitted")
    freed = participant in state.slots
    if live is not None:
        turn.extend(redeem(state.room, state.admissions, live.jti, "completed", facts))
        freed = turn.flow.config.slot == "until_expired"
    turn.add(happened.QueueCompleted(state.room, participant, facts.now_ms, freed))


def _standing(state: QueueState, turn: _QueueTurn, participant: str) -> dict[str, Any]:
    """What somebody may know of the queue and their own place in it."""
    config = turn.flow.config
    told: dict[str, Any] = {"phase": _phase(turn.flow)}
    if config.opens_ms:
        told["opens_at_ms"] = config.opens_ms
    if config.closes_ms:
        told["closes_at_ms"] = config.closes_ms
    found = state.position(participant, turn.now_ms)
    if found is not None:
        told["ticket"] = found.ticket
        if found.ahead is not None and turn.flow.phase == state.flow.phase:
            told |= {"ahead": found.ahead, "eta_low_ms": found.eta_low_ms, "eta_high_ms": found.eta_high_ms}
    return told


def _admit_now(state: QueueState, turn: _QueueTurn, count: int, facts: Facts) -> None:
    """An operator lets some in at once, whatever the rate; the limit of those inside holds."""
    if turn.flow.phase not in {"open", "draining"}:
        raise Rejected("queue.not_open", phase=_phase(turn.flow))
    if not turn.flow.waiting:
        raise Rejected("queue.nobody_waiting")
    if not turn.flow.room():
        raise Rejected("queue.no_room", inside=turn.flow.inside)
    _admit(state, turn, min(count, turn.flow.room()), facts)


def _admit(state: QueueState, turn: _QueueTurn, count: int, facts: Facts) -> None:
    if count > 0:
        chosen = [(participant, 1) for participant in state.next(count)]
        valid_ms = turn.flow.config.valid_ms
        turn.add(grant(state.room, state.admissions, chosen, facts, valid_ms=valid_ms))
        turn.want(EXPIRY, facts.now_ms + valid_ms)


def _expire(state: QueueState, turn: _QueueTurn, facts: Facts) -> None:
    turn.extend(expire_due(state.room, state.admissions, facts))
    over, again_ms = state.slots.due(facts.now_ms, AT_ONCE_MAX)
    if over:
        turn.add(happened.QueueSlotsFreed(state.room, tuple(over), facts.now_ms))
    turn.want(EXPIRY, state.admissions.next_end_after_ms(facts.now_ms))
    turn.want(EXPIRY, again_ms)


def _absent(state: QueueState, turn: _QueueTurn, participants: Sequence[str]) -> None:
    """Their grace begins now, by this queue's clock: the tracker's may be another, and it may have been away."""
    grace_ms = turn.flow.config.grace_ms
    if not grace_ms:
        raise Rejected("queue.no_presence", cure="give the queue a presence with timeout and grace")
    missing = tuple(one for one in participants if state.waits(one) and one not in state.absences)
    if missing:
        until_ms = turn.now_ms + grace_ms
        turn.add(happened.AbsenceNoted(state.room, missing, until_ms, turn.now_ms))
        turn.want(ABSENCE, until_ms)


def _back(state: QueueState, turn: _QueueTurn, participants: Sequence[str]) -> None:
    back = tuple(one for one in participants if one in state.absences)
    if back:
        turn.add(happened.PresenceNoted(state.room, back, turn.now_ms))


def _configure(turn: _QueueTurn, data: Mapping[str, Any]) -> None:
    flow, config = turn.flow, replace(turn.flow.config, **data)
    people = flow.waiting + flow.inside
    if "capacity" in data and 0 < config.capacity < people:
        raise Rejected("queue.capacity_below_entrants", capacity=config.capacity, entrants=people)
    if "opens_ms" in data and flow.phase != "scheduled":
        raise Rejected("queue.already_open", phase=_phase(flow))
    if "opens_ms" in data and config.pre_queue and not config.opens_ms:
        raise Rejected("queue.opening_needed", cure="a pre-queue needs an opens_at; send open to open it now")
    changed = "closes_ms" in data or "opens_ms" in data
    if changed and 0 < config.closes_ms <= max(turn.now_ms, config.opens_ms):
        raise Rejected("queue.closes_too_early", closes_at_ms=config.closes_ms)
    turn.add(happened.QueueConfigured(turn.room, config, turn.now_ms))
    _want_times(turn)
    if flow.phase == "scheduled":
        turn.want(OPEN, max(turn.now_ms, config.opens_ms))


def _steer(state: QueueState, turn: _QueueTurn, command: Operate) -> None:
    flow, now_ms, room = turn.flow, turn.now_ms, turn.room
    refused = Rejected(f"queue.cannot_{command.type}", phase=_phase(flow))
    match command.type:
        case "open" if flow.phase != "open":
            _open_now(state, turn, command.data["secret"])
        case "pause" if not flow.paused and flow.phase != "closed":
            turn.add(happened.QueuePaused(room, now_ms))
        case "resume" if flow.paused:
            turn.add(happened.QueueResumed(room, now_ms))
        case "drain" if flow.phase == "open":
            turn.add(happened.QueueDraining(room, now_ms))
        case "close" if flow.phase != "closed":
            turn.add(happened.QueueClosed(room, now_ms, command.data["reason"]))
        case _:
            raise refused


def _open_now(state: QueueState, turn: _QueueTurn, given: str) -> None:
    config, secret = turn.flow.config, ""
    if config.pre_queue and not turn.flow.shuffled:
        secret = given or state.secret
        if not secret:
            raise Rejected("queue.secret_needed", cure="send open with the secret whose hash was published")
        if not keeps(bytes.fromhex(secret), bytes.fromhex(config.commitment)):
            raise Rejected("queue.secret_mismatch", commitment=config.commitment)
    if 0 < config.closes_ms <= turn.now_ms:  # re-opened after its closing time: open until it is closed
        turn.add(happened.QueueConfigured(turn.room, replace(config, closes_ms=0), turn.now_ms))
    turn.add(happened.QueueOpened(turn.room, turn.now_ms, secret))
    _want_times(turn)


QUEUE: Final = Queue()
