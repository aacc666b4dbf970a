"""Appointments: slots with so many places each, held for a while, booked, moved, cancelled in time, used at the visit.

Somebody enters a slot to hold a place while they decide, or books one at once. A booking is a grant that can be used
around its slot, and moves to another slot by booking that one. No slot ever has more taken than its capacity.
"""

from collections.abc import Mapping, Sequence
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
    replace_grant,
    revoke,
)
from orchestrator.distributions.appointment import config as configs
from orchestrator.distributions.appointment import events as happened
from orchestrator.distributions.appointment import state as states
from orchestrator.distributions.appointment.commands import OPERATIONS, read
from orchestrator.distributions.appointment.config import AppointmentConfig, Slot
from orchestrator.distributions.appointment.state import AppointmentState
from orchestrator.distributions.base import Ask, Distribution, Operate, Room
from orchestrator.distributions.turn import Turn

AT_ONCE_MAX: Final = 1_000
"""Holds that one decision expires or dismisses; a timer goes on with the rest."""
OPEN, CLOSE, TICK, EXPIRY = "open", "close", "tick", "expiry"


class Appointment(Distribution):
    """See the module."""

    name = "appointment"
    schema = configs.SCHEMA
    mechanism_events = happened.APPOINTMENT_EVENTS
    operations = OPERATIONS

    def check(self, document: Mapping[str, Any]) -> Sequence[Problem]:
        return list(configs.check(document))

    def compile_config(self, document: Mapping[str, Any]) -> AppointmentConfig:
        return configs.compile_config(document)

    def read(self, type: str, data: Mapping[str, Any]) -> Mapping[str, Any]:
        return read(type, data)

    def prepare(self, room: Room, config: AppointmentConfig, facts: Facts) -> Sequence[Event]:
        turn = Turn({})
        turn.add(happened.AppointmentsPrepared(room, config, facts.now_ms))
        _want_times(turn, config, facts.now_ms)
        return turn.done()

    def ask(self, state: AppointmentState, participant: str, ask: Ask, facts: Facts) -> Sequence[Event]:
        turn = Turn(state.armed)
        match ask.action:
            case "enter":
                _hold(state, turn, participant, _wanted(state, ask, participant), facts)
            case "book":
                _book(state, turn, participant, _wanted(state, ask, participant), facts)
            case "leave" | "cancel":
                _cancel(state, turn, participant, facts)
            case "refresh":
                told = standing(state, participant, facts.now_ms)
                turn.add(happened.AppointmentTold(state.room, participant, facts.now_ms, told))
            case _:
                raise Rejected("appointment.not_possible", action=ask.action)
        return turn.done()

    def operate(self, state: AppointmentState, command: Operate, facts: Facts) -> Sequence[Event]:
        turn = Turn(state.armed)
        data, room = command.data, state.room
        match command.type:
            case "redeem":
                _visit_fits(state, data["jti"], facts.now_ms)
                turn.extend(redeem(room, state.admissions, data["jti"], data["reference"], facts))
            case "revoke":
                turn.extend(revoke(room, state.admissions, data["jti"], data["reason"], facts))
            case "configure":
                _configure(state, turn, data, facts.now_ms)
            case _:
                _steer(state, turn, command, facts.now_ms)
        return turn.done() or (CommandIgnored("nothing_changes"),)

    def fire(self, state: AppointmentState, timer: str, facts: Facts) -> Sequence[Event]:
        turn = Turn(state.armed, fired=timer)
        now_ms, room, config = facts.now_ms, state.room, state.config
        match timer:
            case "open":
                if not state.opened and config.opens_ms <= now_ms:
                    turn.add(happened.AppointmentsOpened(room, now_ms))
                _want_times(turn, config, now_ms)
            case "close" if not state.closed:
                if 0 < config.closes_ms <= now_ms:
                    _close(state, turn, "closing_time", now_ms)
                else:
                    turn.want(CLOSE, config.closes_ms or None)
            case "tick" if state.closed and state.held:
                gone = tuple(who for who, _ in zip(state.held, range(AT_ONCE_MAX), strict=False))
                turn.add(happened.HoldsDismissed(room, gone, now_ms, state.close_reason))
                turn.want(TICK, now_ms if len(state.held) > len(gone) else None)
            case "expiry":
                over, again_ms = state.holds.due(now_ms, AT_ONCE_MAX)
                if over:
                    turn.add(happened.HoldsExpired(room, tuple(over), now_ms))
                turn.extend(expire_due(room, state.admissions, facts))
                turn.want(EXPIRY, again_ms)
                turn.want(EXPIRY, state.admissions.next_end_after_ms(now_ms))
        return turn.done()

    def evolve(self, state: AppointmentState | None, event: Event) -> AppointmentState | None:
        return states.evolve(state, event)

    def capture(self, state: AppointmentState | None) -> Summary:
        if state is None:
            return Summary("none", {})
        phase = "paused" if state.paused and not state.closed else state.phase(0)
        config = state.config
        view = {
            "phase": phase,
            "opens_at_ms": config.opens_ms or None,
            "closes_at_ms": config.closes_ms or None,
            "slots": [
                {
                    "id": places.slot.id,
                    "starts_at_ms": places.slot.starts_ms,
                    "ends_at_ms": places.slot.ends_ms,
                    "available": places.free > 0,
                }
                for places in state.slots.values()
            ],
        }
        return Summary(phase, view)


def standing(state: AppointmentState, participant: str, now_ms: int) -> dict[str, Any]:
    """What somebody may know of the appointments and of their own."""
    told: dict[str, Any] = {"phase": "paused" if state.paused else state.phase(now_ms)}
    if state.config.opens_ms:
        told["opens_at_ms"] = state.config.opens_ms
    if state.config.closes_ms:
        told["closes_at_ms"] = state.config.closes_ms
    slot = state.slot_of(participant)
    if slot is not None:
        told |= {"slot": slot.id, "starts_at_ms": slot.starts_ms, "ends_at_ms": slot.ends_ms}
        expires_ms = state.holds.get(participant)
        if expires_ms is not None:
            told["expires_ms"] = expires_ms
    return told


def _wanted(state: AppointmentState, ask: Ask, participant: str) -> Slot:
    """The slot an ask names; without a name the one the participant has."""
    name = ask.data.get("slot")
    if name is None:
        found = state.slot_of(participant)
        if found is None:
            raise Rejected("appointment.slot_missing", needs="slot")
        return found
    places = state.slots.get(name) if isinstance(name, str) else None
    if places is None:
        raise Rejected("appointment.unknown_slot", slot=str(name)[: configs.ID_CHARS_MAX])
    return places.slot


def _hold(state: AppointmentState, turn: Turn, participant: str, slot: Slot, facts: Facts) -> None:
    """Hold a place; another held before is given back for it, and its end stays, so that nobody holds for ever."""
    _may_book(state, participant, facts.now_ms)
    if participant in state.booked:
        raise Rejected("appointment.already_booked", slot=state.booked[participant])
    held, expires_ms = state.held.get(participant), state.holds.get(participant)
    if held is None or held[0] != slot.id:
        _has_room(state, slot, facts.now_ms)
    ticket = state.tickets + 1 if held is None else held[1]
    if expires_ms is None:
        expires_ms = facts.now_ms + state.config.hold_ms
    turn.add(happened.SlotHeld(state.room, participant, ticket, slot, expires_ms, facts.now_ms))
    turn.want(EXPIRY, expires_ms)


def _book(state: AppointmentState, turn: Turn, participant: str, slot: Slot, facts: Facts) -> None:
    """Book a slot: the one held, another, or in exchange for the one booked. Overbooking is impossible."""
    room, now_ms, booked = state.room, facts.now_ms, state.booked.get(participant)
    if booked == slot.id:
        live = state.admissions.live[participant]
        repeated = happened.BookingRepeated(room, participant, slot, live.jti, live.expires_ms, now_ms)
        turn.add(repeated)
        return
    _may_book(state, participant, now_ms)
    held = state.held.get(participant)
    if held is None or held[0] != slot.id:
        _has_room(state, slot, now_ms)
    valid_ms = slot.ends_ms + state.config.late_ms - now_ms
    if valid_ms <= 0:
        raise Rejected("appointment.slot_over", slot=slot.id)
    if booked is None:
        turn.add(grant(room, state.admissions, [(participant, 1)], facts, valid_ms=valid_ms))
    else:
        _may_cancel(state, booked, now_ms)
        turn.add(replace_grant(room, state.admissions, participant, facts, valid_ms=valid_ms))
    turn.add(happened.SlotBooked(room, participant, slot, now_ms))
    turn.want(EXPIRY, now_ms + valid_ms)


def _cancel(state: AppointmentState, turn: Turn, participant: str, facts: Facts) -> None:
    if participant in state.held:
        turn.add(happened.HoldLeft(state.room, participant, facts.now_ms))
        return
    booked = state.booked.get(participant)
    returned = give_back(state.room, state.admissions, participant, facts)
    if booked is None or returned is None:
        raise Rejected("appointment.not_in")
    _may_cancel(state, booked, facts.now_ms)
    turn.add(returned)


def _may_book(state: AppointmentState, participant: str, now_ms: int) -> None:
    phase, config = state.phase(now_ms), state.config
    if phase == states.CLOSED or 0 < config.closes_ms <= now_ms:
        raise Rejected("appointment.closed")
    if phase == states.SCHEDULED:
        raise Rejected("appointment.not_open", opens_at_ms=config.opens_ms)
    if state.paused:
        raise Rejected("appointment.paused")
    if participant in state.visited and not config.again:
        raise Rejected("appointment.already_visited")
    expires_ms = state.holds.get(participant)
    if expires_ms is not None and expires_ms <= now_ms:  # its timer is on its way
        raise Rejected("appointment.hold_over", expired_ms=expires_ms)


def _has_room(state: AppointmentState, slot: Slot, now_ms: int) -> None:
    if slot.starts_ms - state.config.booking_closes_ms <= now_ms:
        raise Rejected("appointment.slot_over", slot=slot.id)
    if state.slots[slot.id].free <= 0:
        raise Rejected("appointment.slot_full", slot=slot.id)


def _may_cancel(state: AppointmentState, booked: str, now_ms: int) -> None:
    until_ms = state.slots[booked].slot.starts_ms - state.config.cancel_until_ms
    if now_ms >= until_ms:
        raise Rejected("appointment.too_late_to_cancel", slot=booked, until_ms=until_ms)


def _visit_fits(state: AppointmentState, jti: str, now_ms: int) -> None:
    holder = state.admissions.holder(jti)
    if holder is not None:
        slot = state.slots[state.booked[holder]].slot
        if now_ms < slot.starts_ms - state.config.early_ms:
            from_ms = slot.starts_ms - state.config.early_ms
            raise Rejected("appointment.too_early", slot=slot.id, from_ms=from_ms)


def _configure(state: AppointmentState, turn: Turn, data: Mapping[str, Any], now_ms: int) -> None:
    config = replace(state.config, **data)
    if config.opens_ms and 0 < config.closes_ms <= config.opens_ms:
        raise Rejected(
            "appointment.closes_before_opening", opens_ms=config.opens_ms, closes_ms=config.closes_ms
        )
    found = conflicts(state, config)
    if found:
        raise Rejected("appointment.slots_in_use", conflicts=found)
    if config != state.config:
        turn.add(happened.AppointmentsConfigured(state.room, config, now_ms))
        if not state.closed:
            _want_times(turn, config, now_ms)


def conflicts(state: AppointmentState, config: AppointmentConfig) -> list[dict[str, Any]]:
    """Where a change would take a place away from somebody: `removed`, `moved` in time, or `capacity` below the taken."""
    after = {slot.id: slot for slot in config.slots}
    found: list[dict[str, Any]] = []
    for places in state.slots.values():
        slot, now = places.slot, after.get(places.slot.id)
        people = {"slot": slot.id, "held": places.held, "booked": places.booked, "used": places.used}
        if now is None:
            if places.held or places.booked:
                found.append({**people, "conflict": "removed"})
        elif (now.starts_ms, now.ends_ms) != (slot.starts_ms, slot.ends_ms) and places.taken:
            found.append({**people, "conflict": "moved"})
        elif now.capacity < places.taken:
            found.append({**people, "conflict": "capacity", "capacity": now.capacity})
    return found


def _steer(state: AppointmentState, turn: Turn, command: Operate, now_ms: int) -> None:
    """Open, pause, resume, close; what is so already is left as it is."""
    match command.type:
        case "open" if state.phase(now_ms) != states.OPEN:
            if state.closed and state.held:
                raise Rejected("appointment.still_closing", held=len(state.held))
            if 0 < state.config.closes_ms <= now_ms:  # else it would close again at once
                config = replace(state.config, closes_ms=0)
                turn.add(happened.AppointmentsConfigured(state.room, config, now_ms))
            turn.add(happened.AppointmentsOpened(state.room, now_ms))
        case "pause" if not state.paused:
            turn.add(happened.AppointmentsPaused(state.room, now_ms))
        case "resume" if state.paused:
            turn.add(happened.AppointmentsResumed(state.room, now_ms))
        case "close" if not state.closed:
            _close(state, turn, command.data["reason"], now_ms)


def _close(state: AppointmentState, turn: Turn, reason: str, now_ms: int) -> None:
    turn.add(happened.AppointmentsClosed(state.room, now_ms, reason))
    turn.want(TICK, now_ms if state.held else None)


def _want_times(turn: Turn, config: AppointmentConfig, now_ms: int) -> None:
    turn.want(OPEN, config.opens_ms if config.opens_ms > now_ms else None)
    turn.want(CLOSE, config.closes_ms or None)


APPOINTMENT: Final = Appointment()
