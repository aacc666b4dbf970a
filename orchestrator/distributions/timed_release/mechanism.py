"""The timed release: units come into stock at set times; who takes some holds them while they buy.

A hold is a grant with the hold's time as its end: redeeming or completing sells its units, its end or leaving gives
them back. Held, sold and free units are the stock, always.
"""

from collections.abc import Mapping, Sequence
from copy import copy
from typing import Any, Final

from msgspec.structs import replace

from orchestrator.core.decider import Facts, Problem
from orchestrator.core.errors import Rejected
from orchestrator.core.events import Event
from orchestrator.core.resource import Summary
from orchestrator.distributions.admissions import (
    expire_due,
    give_back,
    grant,
    redeem,
    revoke,
)
from orchestrator.distributions.base import Ask, Distribution, Operate, Room
from orchestrator.distributions.reading import Fields, read_common
from orchestrator.distributions.timed_release import config as configs
from orchestrator.distributions.timed_release import events as happened
from orchestrator.distributions.timed_release.config import ReleaseConfig, Window
from orchestrator.distributions.timed_release.state import ReleaseState
from orchestrator.distributions.turn import Turn

WINDOW, CLOSE, EXPIRY = "window", "close", "expiry"
_FIELDS: Final[Mapping[str, Sequence[str]]] = {
    "open": (),
    "pause": (),
    "resume": (),
    "close": ("reason",),
    "configure": ("windows", "hold", "limit", "closes_at"),
    "redeem": ("jti", "reference"),
    "revoke": ("jti", "reason"),
}


class _ReleaseTurn(Turn):
    """A decision of a release, with the numbers as its events so far leave them."""

    def __init__(self, state: ReleaseState, facts: Facts, fired: str = "") -> None:
        super().__init__(state.armed, fired)
        self.room = state.room
        self.stock = copy(state.stock)
        self.now_ms = facts.now_ms
        self._admissions = state.admissions

    def release_due(self) -> None:
        """Put into stock what has come; a command that comes before the timer finds it there all the same."""
        due = self.stock.config.released(self.now_ms)
        if due > self.stock.windows:
            self.release(due)

    def release(self, windows: int) -> None:
        """Put windows into stock."""
        quantity = self.stock.config.stock(windows) - self.stock.stock
        self.add(happened.StockReleased(self.room, windows, quantity, self.now_ms))

    def add(self, event: Event) -> None:
        super().add(event)
        self.stock.apply(event, self._admissions)

    def done(self) -> list[Event]:
        self.want(WINDOW, self.stock.next_ms)
        if self.stock.phase != "closed" and self.stock.config.closes_ms:
            self.want(CLOSE, self.stock.config.closes_ms)
        return super().done()


class TimedRelease(Distribution):
    """See the module."""

    name = "timed_release"
    schema = configs.SCHEMA
    mechanism_events = happened.RELEASE_EVENTS
    operations = frozenset(_FIELDS)

    def check(self, document: Mapping[str, Any]) -> Sequence[Problem]:
        return list(configs.check(document))

    def compile_config(self, document: Mapping[str, Any]) -> ReleaseConfig:
        return configs.compile_config(document)

    def read(self, type: str, data: Mapping[str, Any]) -> Mapping[str, Any]:
        return _read(type, data)

    def prepare(self, room: Room, config: ReleaseConfig, facts: Facts) -> Sequence[Event]:
        prepared = happened.ReleasePrepared(room, config, facts.now_ms)
        turn = _ReleaseTurn(ReleaseState(prepared), facts)
        turn.add(prepared)
        turn.release_due()
        return turn.done()

    def ask(self, state: ReleaseState, participant: str, ask: Ask, facts: Facts) -> Sequence[Event]:
        turn = _turn(state, facts)
        match ask.action:
            case "enter":
                _enter(state, turn, participant, ask.data, facts)
            case "leave":
                returned = give_back(state.room, state.admissions, participant, facts)
                if returned is None:
                    raise Rejected("timed_release.not_in")
                turn.add(returned)
            case "complete":
                _complete(state, turn, participant, facts)
            case "refresh":
                standing = _standing(state, turn, participant)
                turn.add(happened.ReleaseTold(state.room, participant, facts.now_ms, standing))
            case _:
                raise Rejected("timed_release.not_possible", action=ask.action)
        return turn.done()

    def operate(self, state: ReleaseState, command: Operate, facts: Facts) -> Sequence[Event]:
        turn = _turn(state, facts)
        data = command.data
        match command.type:
            case "redeem":
                turn.extend(redeem(state.room, state.admissions, data["jti"], data["reference"], facts))
            case "revoke":
                turn.extend(revoke(state.room, state.admissions, data["jti"], data["reason"], facts))
            case "configure":
                _configure(turn, data)
            case _:
                _steer(turn, command)
        return turn.done()

    def fire(self, state: ReleaseState, timer: str, facts: Facts) -> Sequence[Event]:
        turn = _turn(state, facts, fired=timer)
        match timer:
            case "close":
                if turn.stock.phase != "closed" and 0 < turn.stock.config.closes_ms <= facts.now_ms:
                    turn.add(happened.ReleaseClosed(state.room, facts.now_ms, "closing_time"))
            case "expiry":
                turn.extend(expire_due(state.room, state.admissions, facts))
                turn.want(EXPIRY, state.admissions.next_end_after_ms(facts.now_ms))
        return turn.done()

    def evolve(self, state: ReleaseState | None, event: Event) -> ReleaseState | None:
        if state is None:
            return ReleaseState(event) if isinstance(event, happened.ReleasePrepared) else None
        state.evolve(event)
        return state

    def label(self, state: ReleaseState | Summary | None) -> str:
        if isinstance(state, Summary):
            return state.label
        return "none" if state is None else state.stock.shown

    def capture(self, state: ReleaseState | None) -> Summary:
        if state is None:
            return Summary("none", {})
        stock = state.stock
        view = {
            "phase": stock.shown,
            "opens_at_ms": stock.config.windows[0].at_ms,
            "next_window_at_ms": stock.next_ms,
            "closes_at_ms": stock.config.closes_ms or None,
            "available": stock.free > 0,
        }
        return Summary(stock.shown, view)


def _turn(state: ReleaseState, facts: Facts, fired: str = "") -> _ReleaseTurn:
    turn = _ReleaseTurn(state, facts, fired)
    turn.release_due()
    return turn


def _enter(
    state: ReleaseState, turn: _ReleaseTurn, participant: str, data: Mapping[str, Any], facts: Facts
) -> None:
    live = state.admissions.live.get(participant)
    if live is not None:
        if live.expires_ms <= facts.now_ms:  # its timer is on its way
            raise Rejected("grant.expired", expired_ms=live.expires_ms)
        number = state.participations[participant]
        hold = (True, live.jti, live.expires_ms, live.quantity)
        turn.add(happened.ReleaseEntered(state.room, participant, number, facts.now_ms, *hold))
        return
    quantity = _may_take(turn, data, state.bought.get(participant, 0))
    turn.add(happened.ReleaseEntered(state.room, participant, state.entries + 1, facts.now_ms))
    hold_ms = turn.stock.config.hold_ms
    turn.add(grant(state.room, state.admissions, [(participant, quantity)], facts, valid_ms=hold_ms))
    turn.want(EXPIRY, facts.now_ms + hold_ms)


def _may_take(turn: _ReleaseTurn, data: Mapping[str, Any], bought: int) -> int:
    """The units somebody may take, who has bought some already. Raises Rejected."""
    stock, config = turn.stock, turn.stock.config
    quantity = data.get("quantity", 1)
    if not isinstance(quantity, int) or isinstance(quantity, bool) or quantity < 1:
        raise Rejected("timed_release.bad_quantity", needs="a whole number from 1")
    if stock.phase == "closed" or 0 < config.closes_ms <= turn.now_ms:
        raise Rejected("timed_release.closed")
    if not stock.windows:
        raise Rejected("timed_release.not_open", opens_at_ms=config.windows[0].at_ms)
    if stock.paused:
        raise Rejected("timed_release.paused")
    if bought + quantity > config.limit:
        raise Rejected("timed_release.limit_reached", limit=config.limit, bought=bought)
    if quantity > stock.free:
        if stock.shown == "sold_out":
            raise Rejected("timed_release.sold_out")
        raise Rejected("timed_release.none_free", next_window_at_ms=stock.next_ms)
    return quantity


def _complete(state: ReleaseState, turn: _ReleaseTurn, participant: str, facts: Facts) -> None:
    """After a purchase: sells the held units, where no server has redeemed the hold before."""
    live = state.admissions.live.get(participant)
    if live is not None:
        turn.extend(redeem(state.room, state.admissions, live.jti, "completed", facts))
    elif participant not in state.bought:
        raise Rejected("timed_release.nothing_held")
    turn.add(happened.ReleaseCompleted(state.room, participant, facts.now_ms))


def _standing(state: ReleaseState, turn: _ReleaseTurn, participant: str) -> dict[str, Any]:
    stock = turn.stock
    told: dict[str, Any] = {"phase": stock.shown, "available": stock.free > 0}
    told["opens_at_ms"] = stock.config.windows[0].at_ms
    if stock.next_ms is not None:
        told["next_window_at_ms"] = stock.next_ms
    if stock.config.closes_ms:
        told["closes_at_ms"] = stock.config.closes_ms
    live = state.admissions.live.get(participant)
    if live is not None:
        told |= {"quantity": live.quantity, "expires_ms": live.expires_ms}
    return told


def _configure(turn: _ReleaseTurn, data: Mapping[str, Any]) -> None:
    stock = turn.stock
    config = replace(stock.config, **data)
    windows = config.released(turn.now_ms)
    units = config.stock(windows)
    if units < stock.held + stock.sold:
        raise Rejected("timed_release.stock_below_sold", stock=units, held=stock.held, sold=stock.sold)
    if "closes_ms" in data and 0 < config.closes_ms <= turn.now_ms:
        raise Rejected("timed_release.closes_too_early", closes_at_ms=config.closes_ms)
    turn.add(happened.ReleaseConfigured(turn.room, config, windows, turn.now_ms))


def _steer(turn: _ReleaseTurn, command: Operate) -> None:
    stock, now_ms, room = turn.stock, turn.now_ms, turn.room
    match command.type:
        case "open" if stock.phase == "closed":
            if 0 < stock.config.closes_ms <= now_ms:  # re-opened after its closing time: until it is closed
                config = replace(stock.config, closes_ms=0)
                turn.add(happened.ReleaseConfigured(room, config, stock.windows, now_ms))
            turn.add(happened.ReleaseOpened(room, now_ms))
        case "open" if not stock.windows:
            first, *later = stock.config.windows
            early = replace(stock.config, windows=(Window(now_ms, first.quantity), *later))
            turn.add(happened.ReleaseConfigured(room, early, 0, now_ms))
            turn.release(1)
        case "pause" if not stock.paused and stock.phase != "closed":
            turn.add(happened.ReleasePaused(room, now_ms))
        case "resume" if stock.paused:
            turn.add(happened.ReleaseResumed(room, now_ms))
        case "close" if stock.phase != "closed":
            turn.add(happened.ReleaseClosed(room, now_ms, command.data["reason"]))
        case _:
            raise Rejected(f"timed_release.cannot_{command.type}", phase=stock.shown)


def _read(type: str, data: Mapping[str, Any]) -> dict[str, Any]:
    """The data of a command from outside, checked. Raises Malformed."""
    fields = Fields(type, data, _FIELDS[type])
    return _read_changes(fields) if type == "configure" else read_common(type, fields) or {}


def _read_changes(fields: Fields) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    if "windows" in fields:
        read = (
            Window(one.instant_ms("at"), one.whole("quantity", least=1, most=configs.QUANTITY_MAX))
            for one in fields.parts("windows", ("at", "quantity"), most=configs.WINDOWS_MAX)
        )
        changes["windows"] = configs.in_order(read)
    if "hold" in fields:
        changes["hold_ms"] = fields.span_ms("hold")
    if "limit" in fields:
        changes["limit"] = fields.whole("limit", least=1, most=configs.LIMIT_MAX)
    if "closes_at" in fields:
        changes["closes_ms"] = fields.instant_ms("closes_at")
    if not changes:
        raise fields.no(f"nothing to change; it takes {', '.join(_FIELDS['configure'])}")
    return changes


TIMED_RELEASE: Final = TimedRelease()
