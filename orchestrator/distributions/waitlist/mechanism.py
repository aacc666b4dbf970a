"""The waitlist: who waits for places that may come, in which order, and who was offered one until when.

Somebody joins, leaves at will, and waits in order of joining. Operators promise places (`promote`); each is offered to
the first who waits, for a while. Claimed, it is gone and so is who claimed it, on to the distribution behind the list;
left or not claimed in time, it is offered to the next. A place that finds nobody is kept for who joins then.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from msgspec.structs import replace

from orchestrator.core.decider import Facts, Problem
from orchestrator.core.errors import Rejected
from orchestrator.core.events import CommandIgnored, Event
from orchestrator.core.resource import Summary
from orchestrator.distributions.base import Ask, Distribution, Operate, Room
from orchestrator.distributions.turn import Turn
from orchestrator.distributions.waitlist import config as configs
from orchestrator.distributions.waitlist import events as happened
from orchestrator.distributions.waitlist import state as states
from orchestrator.distributions.waitlist.commands import OPERATIONS, read
from orchestrator.distributions.waitlist.config import WaitlistConfig
from orchestrator.distributions.waitlist.state import CLOSED, DRAINING, SCHEDULED, WaitlistState

AT_ONCE_MAX: Final = 1_000
"""Participants one decision offers to, expires or dismisses; a timer goes on with the rest."""
OPEN, CLOSE, TICK, EXPIRY = "open", "close", "tick", "expiry"


class Waitlist(Distribution):
    """See the module."""

    name = "waitlist"
    schema = configs.SCHEMA
    mechanism_events = happened.WAITLIST_EVENTS
    operations = OPERATIONS

    def check(self, document: Mapping[str, Any]) -> Sequence[Problem]:
        return list(configs.check(document))

    def compile_config(self, document: Mapping[str, Any]) -> WaitlistConfig:
        return configs.compile_config(document)

    def read(self, type: str, data: Mapping[str, Any]) -> Mapping[str, Any]:
        return read(type, data)

    def prepare(self, room: Room, config: WaitlistConfig, facts: Facts) -> Sequence[Event]:
        turn = Turn({})
        turn.add(happened.WaitlistPrepared(room, config, facts.now_ms))
        _want_times(turn, config, facts.now_ms)
        return turn.done()

    def ask(self, state: WaitlistState, participant: str, ask: Ask, facts: Facts) -> Sequence[Event]:
        turn = Turn(state.armed)
        match ask.action:
            case "enter":
                _enter(state, turn, participant, facts)
            case "leave" | "cancel":
                _require(state, participant)
                turn.add(happened.WaitlistLeft(state.room, participant, facts.now_ms))
                _offer(state, turn, facts, freed=int(participant in state.offers), gone=participant)
            case "claim":
                _claim(state, turn, participant, facts)
            case "refresh":
                told = standing(state, participant, facts.now_ms)
                turn.add(happened.WaitlistTold(state.room, participant, facts.now_ms, told))
            case _:
                raise Rejected("waitlist.not_possible", action=ask.action)
        return turn.done()

    def operate(self, state: WaitlistState, command: Operate, facts: Facts) -> Sequence[Event]:
        turn = Turn(state.armed)
        data, room, now_ms = command.data, state.room, facts.now_ms
        match command.type:
            case "promote":
                if state.closed:
                    raise Rejected("waitlist.closed")
                turn.add(happened.WaitlistPromoted(room, data["count"], now_ms))
                _offer(state, turn, facts, freed=data["count"])
            case "move":
                _move(state, turn, data, now_ms)
            case "remove":
                who = data["participant"]
                _require(state, who)
                turn.add(happened.WaitlistRemoved(room, who, now_ms, data["reason"]))
                _offer(state, turn, facts, freed=int(who in state.offers), gone=who)
            case "configure":
                _configure(state, turn, data, now_ms)
            case _:
                _steer(state, turn, command, facts)
        return turn.done() or (CommandIgnored("nothing_changes"),)

    def fire(self, state: WaitlistState, timer: str, facts: Facts) -> Sequence[Event]:
        turn = Turn(state.armed, fired=timer)
        now_ms = facts.now_ms
        match timer:
            case "open":
                if not state.opened and state.config.opens_ms <= now_ms:
                    turn.add(happened.WaitlistOpened(state.room, now_ms))
                _want_times(turn, state.config, now_ms)
            case "close" if not state.closed:
                if 0 < state.config.closes_ms <= now_ms:
                    _close(state, turn, "closing_time", now_ms)
                else:
                    turn.want(CLOSE, state.config.closes_ms or None)
            case "tick" if state.closed:
                _dismiss(state, turn, now_ms)
            case "tick":
                _offer(state, turn, facts)
            case "expiry":
                over, again_ms = state.offers.due(now_ms, AT_ONCE_MAX)
                if over:
                    turn.add(happened.WaitlistOffersExpired(state.room, tuple(over), now_ms))
                turn.want(EXPIRY, again_ms)
                _offer(state, turn, facts, freed=len(over))
        return turn.done()

    def evolve(self, state: WaitlistState | None, event: Event) -> WaitlistState | None:
        return states.evolve(state, event)

    def capture(self, state: WaitlistState | None) -> Summary:
        if state is None:
            return Summary("none", {})
        phase = "paused" if state.paused and not state.closed else state.phase(0)
        config = state.config
        view = {
            "phase": phase,
            "opens_at_ms": config.opens_ms or None,
            "closes_at_ms": config.closes_ms or None,
            "waiting": len(state.order),
        }
        return Summary(phase, view)


def standing(state: WaitlistState, participant: str, now_ms: int) -> dict[str, Any]:
    """What somebody may know of the list and of their own place on it. For readers too; microseconds."""
    told: dict[str, Any] = {"phase": state.phase(now_ms)}
    if state.config.opens_ms:
        told["opens_at_ms"] = state.config.opens_ms
    if state.config.closes_ms:
        told["closes_at_ms"] = state.config.closes_ms
    ticket, offer_ms = state.tickets.get(participant), state.offers.get(participant)
    if ticket is not None:
        told["ticket"] = ticket
        told |= {"ahead": state.order.position(ticket)} if offer_ms is None else {"expires_ms": offer_ms}
    return told


def _enter(state: WaitlistState, turn: Turn, participant: str, facts: Facts) -> None:
    now_ms, ticket = facts.now_ms, state.tickets.get(participant)
    if ticket is not None:
        expires_ms = state.offers.get(participant) or 0
        if 0 < expires_ms <= now_ms:  # its timer is on its way
            raise Rejected("waitlist.offer_over", expired_ms=expires_ms)
        turn.add(happened.WaitlistEntryRepeated(state.room, participant, ticket, now_ms, expires_ms))
        return
    phase, config = state.phase(now_ms), state.config
    if phase == CLOSED or 0 < config.closes_ms <= now_ms:
        raise Rejected("waitlist.closed")
    if phase == DRAINING:
        raise Rejected("waitlist.draining")
    if phase == SCHEDULED:
        raise Rejected("waitlist.not_open", opens_at_ms=config.opens_ms)
    if config.capacity and len(state.tickets) >= config.capacity:
        raise Rejected("waitlist.full")
    turn.add(happened.WaitlistEntered(state.room, participant, len(state.names), now_ms))
    _offer(state, turn, facts, joined=participant)


def _claim(state: WaitlistState, turn: Turn, participant: str, facts: Facts) -> None:
    expires_ms = state.offers.get(participant)
    if expires_ms is None:
        _require(state, participant)
        raise Rejected("waitlist.no_offer")
    if expires_ms <= facts.now_ms:
        raise Rejected("waitlist.offer_over", expired_ms=expires_ms)
    turn.add(happened.WaitlistClaimed(state.room, participant, facts.now_ms))


def _offer(
    state: WaitlistState, turn: Turn, facts: Facts, *, freed: int = 0, joined: str = "", gone: str = ""
) -> None:
    """Offer what is free to the first who wait: `freed` places more than the state has, `joined` waits last, `gone` not."""
    free = state.free + freed
    if state.paused or state.closed or free <= 0:
        return
    names = [name for name in state.first(min(free, AT_ONCE_MAX) + 1) if name != gone]
    waiting = len(state.order) - int(bool(gone) and gone not in state.offers)
    if joined:
        names.append(joined)
        waiting += 1
    chosen = tuple(names[: min(free, AT_ONCE_MAX)])
    if chosen:
        expires_ms = facts.now_ms + state.config.offer_ms
        turn.add(happened.WaitlistOffered(state.room, chosen, expires_ms, facts.now_ms))
        turn.want(EXPIRY, expires_ms)
        if min(free, waiting) > len(chosen):
            turn.want(TICK, facts.now_ms)


def _move(state: WaitlistState, turn: Turn, data: Mapping[str, Any], now_ms: int) -> None:
    who = data["participant"]
    _require(state, who)
    if who in state.offers:
        raise Rejected("waitlist.already_offered", participant=who)
    if data["to"] > len(state.order):
        raise Rejected("waitlist.no_such_position", to=data["to"], waiting=len(state.order))
    was = state.order.position(state.tickets[who]) + 1
    if was != data["to"]:
        moved = happened.WaitlistReordered(state.room, who, was, data["to"], now_ms, data["reason"])
        turn.add(moved)


def _configure(state: WaitlistState, turn: Turn, data: Mapping[str, Any], now_ms: int) -> None:
    config = replace(state.config, **data)
    people = len(state.tickets)
    if "capacity" in data and 0 < config.capacity < people:
        raise Rejected("waitlist.capacity_below_waiting", capacity=config.capacity, waiting=people)
    if config.opens_ms and 0 < config.closes_ms <= config.opens_ms:
        raise Rejected("waitlist.closes_before_opening", opens_ms=config.opens_ms, closes_ms=config.closes_ms)
    if config != state.config:
        turn.add(happened.WaitlistConfigured(state.room, config, now_ms))
        if not state.closed:
            _want_times(turn, config, now_ms)


def _want_times(turn: Turn, config: WaitlistConfig, now_ms: int) -> None:
    turn.want(OPEN, config.opens_ms if config.opens_ms > now_ms else None)
    turn.want(CLOSE, config.closes_ms or None)


def _steer(state: WaitlistState, turn: Turn, command: Operate, facts: Facts) -> None:
    """Open, pause, resume, drain, close; what is so already is left as it is."""
    room, now_ms = state.room, facts.now_ms
    match command.type:
        case "open":
            _open(state, turn, facts)
        case "pause" if not state.paused:
            turn.add(happened.WaitlistPaused(room, now_ms))
        case "resume" if state.paused:
            turn.add(happened.WaitlistResumed(room, now_ms))
            if state.free and len(state.order) and not state.closed:
                turn.want(TICK, now_ms)
        case "drain" if not state.draining:
            if state.closed:
                raise Rejected("waitlist.closed")
            turn.add(happened.WaitlistDraining(room, now_ms))
        case "close" if not state.closed:
            _close(state, turn, command.data["reason"], now_ms)


def _open(state: WaitlistState, turn: Turn, facts: Facts) -> None:
    now_ms, config = facts.now_ms, state.config
    if state.phase(now_ms) == states.OPEN:
        return
    if state.closed and len(state.order):
        raise Rejected("waitlist.still_closing", waiting=len(state.order))
    if 0 < config.closes_ms <= now_ms:  # else it would close again at once
        turn.add(happened.WaitlistConfigured(state.room, replace(config, closes_ms=0), now_ms))
    turn.add(happened.WaitlistOpened(state.room, now_ms))


def _close(state: WaitlistState, turn: Turn, reason: str, now_ms: int) -> None:
    turn.add(happened.WaitlistClosed(state.room, now_ms, reason))
    if len(state.order):
        turn.want(TICK, now_ms)


def _dismiss(state: WaitlistState, turn: Turn, now_ms: int) -> None:
    gone = tuple(state.first(AT_ONCE_MAX))
    if gone:
        turn.add(happened.WaitlistDismissed(state.room, gone, now_ms, state.close_reason))
        if len(state.order) > len(gone):
            turn.want(TICK, now_ms)


def _require(state: WaitlistState, participant: str) -> None:
    if participant not in state.tickets:
        raise Rejected("waitlist.not_in")


WAITLIST: Final = Waitlist()
