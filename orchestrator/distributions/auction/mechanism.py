"""The auction. English: the highest bids win at the close, which late bids put off. Dutch: the price falls until
somebody takes it.

A winner gets a grant for the time they have to pay. In an English auction the unit of one who doesn't pay goes to the
next bid that reaches the reserve; in a Dutch one it is for sale again until the close.
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
from orchestrator.distributions.auction import config as configs
from orchestrator.distributions.auction import events as happened
from orchestrator.distributions.auction.commands import OPERATIONS, read
from orchestrator.distributions.auction.config import AuctionConfig
from orchestrator.distributions.auction.settling import Bid, candidates, put_off
from orchestrator.distributions.auction.state import AuctionState
from orchestrator.distributions.base import Ask, Distribution, Operate, Room
from orchestrator.distributions.reading import WHOLE_MAX
from orchestrator.distributions.turn import Turn

OPEN, CLOSE, TICK, EXPIRY = "open", "close", "tick", "expiry"
TOLD_AT_ONCE_MAX: Final = 1_000


class _AuctionTurn(Turn):
    """A decision of an auction, with the numbers as its events so far leave them."""

    def __init__(self, state: AuctionState, facts: Facts, fired: str = "") -> None:
        super().__init__(state.armed, fired)
        self.state = state
        self.room = state.room
        self.facts = facts
        self.now_ms = facts.now_ms
        self.sale = copy(state.sale)
        self._line = state.line

    def add(self, event: Event) -> None:
        super().add(event)
        self.sale.apply(event)

    def open_when_due(self) -> None:
        """Open at the opening time; a command that comes before the timer finds the auction open all the same."""
        if self.sale.phase == "scheduled" and self.sale.config.opens_ms <= self.now_ms:
            self.add(happened.AuctionOpened(self.room, self.now_ms))

    def close(self, reason: str) -> None:
        """End the bidding; the winners follow from the bids."""
        config = self.sale.config
        winners: tuple[Bid, ...] = ()
        if config.style == "english":
            found = candidates(self.state.standing.best.values(), config)
            self._line = [bid.participant for bid in found]
            winners = tuple(found[: config.quantity])
        self.add(happened.AuctionClosed(self.room, winners, self.now_ms, reason))
        self.want(TICK, self.now_ms)

    def grant(self, prices: Mapping[str, int]) -> None:
        """Units for these, at a price each."""
        payment_ms = self.sale.config.payment_ms
        chosen = [(participant, 1) for participant in prices]
        self.add(
            grant(self.room, self.state.admissions, chosen, self.facts, valid_ms=payment_ms, prices=prices)
        )
        self.want(EXPIRY, self.now_ms + payment_ms)

    def done(self) -> list[Event]:
        sale, state = self.sale, self.state
        if sale.phase == "open" and sale.sold == sale.config.quantity:
            self.close("sold_out")
        if sale.phase == "closed":
            chosen = self._line[state.promoted : state.promoted + sale.free]
            if chosen:
                self.grant({participant: state.standing.best[participant].amount for participant in chosen})
            if sale.final and not state.sale.final:
                self.want(TICK, self.now_ms)
        if sale.phase == "scheduled":
            self.want(OPEN, sale.config.opens_ms)
        if sale.phase != "closed" and sale.closes_ms:
            self.want(CLOSE, sale.closes_ms)
        return super().done()


class Auction(Distribution):
    """See the module."""

    name = "auction"
    schema = configs.SCHEMA
    mechanism_events = happened.AUCTION_EVENTS
    operations = OPERATIONS

    def check(self, document: Mapping[str, Any]) -> Sequence[Problem]:
        return list(configs.check(document))

    def compile_config(self, document: Mapping[str, Any]) -> AuctionConfig:
        return configs.compile_config(document)

    def read(self, type: str, data: Mapping[str, Any]) -> Mapping[str, Any]:
        return read(type, data)

    def prepare(self, room: Room, config: AuctionConfig, facts: Facts) -> Sequence[Event]:
        prepared = happened.AuctionPrepared(room, config, facts.now_ms)
        turn = _AuctionTurn(AuctionState(prepared), facts)
        turn.add(prepared)
        turn.open_when_due()
        return turn.done()

    def ask(self, state: AuctionState, participant: str, ask: Ask, facts: Facts) -> Sequence[Event]:
        turn = _AuctionTurn(state, facts)
        turn.open_when_due()
        match ask.action:
            case "enter":
                _enter(turn, participant)
            case "bid":
                _bid(turn, participant, ask.data)
            case "leave":
                _leave(turn, participant)
            case "complete":
                _complete(turn, participant)
            case "refresh":
                standing = _standing(turn, participant)
                turn.add(happened.AuctionTold(state.room, participant, facts.now_ms, standing))
            case _:
                raise Rejected("auction.not_possible", action=ask.action)
        return turn.done()

    def operate(self, state: AuctionState, command: Operate, facts: Facts) -> Sequence[Event]:
        turn = _AuctionTurn(state, facts)
        turn.open_when_due()
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

    def fire(self, state: AuctionState, timer: str, facts: Facts) -> Sequence[Event]:
        turn = _AuctionTurn(state, facts, fired=timer)
        turn.open_when_due()
        match timer:
            case "close":
                if turn.sale.phase == "open" and 0 < turn.sale.closes_ms <= facts.now_ms:
                    turn.close("closing_time")
            case "tick":
                _tell(turn)
            case "expiry":
                turn.extend(expire_due(state.room, state.admissions, facts))
                turn.want(EXPIRY, state.admissions.next_end_after_ms(facts.now_ms))
        return turn.done()

    def evolve(self, state: AuctionState | None, event: Event) -> AuctionState | None:
        if state is None:
            return AuctionState(event) if isinstance(event, happened.AuctionPrepared) else None
        state.evolve(event)
        return state

    def label(self, state: AuctionState | Summary | None) -> str:
        if isinstance(state, Summary):
            return state.label
        return "none" if state is None else state.sale.shown

    def capture(self, state: AuctionState | None) -> Summary:
        if state is None:
            return Summary("none", {})
        sale, config = state.sale, state.sale.config
        view: dict[str, Any] = {
            "phase": sale.shown,
            "style": config.style,
            "opens_at_ms": config.opens_ms or None,
            "closes_at_ms": sale.closes_ms or None,
        }
        if config.style == "english":
            leaders = state.standing.leaders
            view["leading_amount"] = leaders[0].amount if leaders else None
            view["minimum"] = state.standing.minimum("", config)
        else:
            view["available"] = sale.phase == "open" and sale.free > 0
            view["price"] = {
                "start": config.start,
                "drop": config.drop,
                "every_ms": config.drop_every_ms,
                "since_ms": sale.opened_ms or None,
            }
        return Summary(sale.shown, view)


def _enter(turn: _AuctionTurn, participant: str) -> None:
    state, now_ms = turn.state, turn.now_ms
    number = state.numbers.get(participant)
    if number is None:
        if turn.sale.phase == "closed" or 0 < turn.sale.closes_ms <= now_ms:
            raise Rejected("auction.closed")
        turn.add(happened.AuctionEntered(turn.room, participant, state.entries + 1, now_ms))
        return
    live, held = state.admissions.live.get(participant), {}
    if live is None and turn.sale.phase == "closed":
        raise Rejected("auction.closed")
    if live is not None:
        if live.expires_ms <= now_ms:  # its timer is on its way
            raise Rejected("grant.expired", expired_ms=live.expires_ms)
        held = {
            "jti": live.jti,
            "expires_ms": live.expires_ms,
            "quantity": 1,
            "price": state.prices[participant],
        }
    turn.add(happened.AuctionEntered(turn.room, participant, number, now_ms, again=True, grant=held))


def _bid(turn: _AuctionTurn, participant: str, data: Mapping[str, Any]) -> None:
    sale, state = turn.sale, turn.state
    amount = data.get("amount")
    if not isinstance(amount, int) or isinstance(amount, bool) or not 0 < amount <= WHOLE_MAX:
        raise Rejected("auction.bad_amount", needs="a whole number of the currency's smallest unit")
    if sale.phase == "closed" or 0 < sale.closes_ms <= turn.now_ms:  # the close counts, not its timer
        raise Rejected("auction.closed")
    if participant not in state.numbers:
        raise Rejected("auction.not_entered")
    if sale.phase == "scheduled":
        raise Rejected("auction.not_open", opens_at_ms=sale.config.opens_ms)
    if sale.paused:
        raise Rejected("auction.paused")
    if sale.config.style == "dutch":
        _take(turn, participant, amount)
        return
    minimum = state.standing.minimum(participant, sale.config)
    if amount < minimum:
        raise Rejected("auction.bid_too_low", amount=amount, minimum=minimum)
    bid = Bid(sale.bids + 1, participant, amount, turn.now_ms)
    leading, next_minimum = state.standing.outlook(bid, sale.config)
    closes_ms = put_off(sale.config, sale.closes_ms, sale.extended, turn.now_ms)
    displaced = state.standing.displaced(participant)
    extended = closes_ms > sale.closes_ms
    turn.add(happened.BidPlaced(turn.room, bid, leading, next_minimum, closes_ms, displaced, extended))


def _take(turn: _AuctionTurn, participant: str, amount: int) -> None:
    """A bid in a Dutch auction takes a unit at the price of the moment."""
    state, price = turn.state, turn.sale.price_at(turn.now_ms)
    if participant in state.admissions.live or participant in state.sold_to:
        raise Rejected("auction.already_won")
    if amount < price:
        raise Rejected("auction.bid_too_low", amount=amount, minimum=price)
    if not turn.sale.free:
        raise Rejected("auction.none_left")
    bid = Bid(turn.sale.bids + 1, participant, price, turn.now_ms)
    turn.add(happened.BidPlaced(turn.room, bid, price, price, turn.sale.closes_ms))
    turn.grant({participant: price})


def _leave(turn: _AuctionTurn, participant: str) -> None:
    state = turn.state
    returned = give_back(turn.room, state.admissions, participant, turn.facts)
    if returned is not None:
        turn.add(returned)
    elif participant not in state.numbers or participant in state.sold_to or turn.sale.final:
        raise Rejected("auction.not_in")
    elif participant in state.standing.best:
        raise Rejected("auction.bids_are_binding")
    elif turn.sale.phase == "closed":
        raise Rejected("auction.not_in")
    else:
        turn.add(happened.AuctionLeft(turn.room, participant, turn.now_ms))


def _complete(turn: _AuctionTurn, participant: str) -> None:
    """After paying: sells the unit, where no server has redeemed the grant before."""
    state = turn.state
    live = state.admissions.live.get(participant)
    if live is not None:
        turn.extend(redeem(turn.room, state.admissions, live.jti, "completed", turn.facts))
    elif participant not in state.sold_to:
        raise Rejected("auction.nothing_won")
    turn.add(happened.AuctionCompleted(turn.room, participant, turn.now_ms))


def _standing(turn: _AuctionTurn, participant: str) -> dict[str, Any]:
    """What somebody may know of the auction and of their own bid."""
    sale, standing = turn.sale, turn.state.standing
    told: dict[str, Any] = {"phase": sale.shown}
    if sale.config.opens_ms:
        told["opens_at_ms"] = sale.config.opens_ms
    if sale.closes_ms:
        told["closes_at_ms"] = sale.closes_ms
    if sale.config.style == "dutch":
        if sale.phase == "open":
            told |= {"price": sale.price_at(turn.now_ms), "available": sale.free > 0}
        return told
    if standing.leaders:
        told["leading_amount"] = standing.leaders[0].amount
    if sale.phase != "closed":
        told["minimum"] = standing.minimum(participant, sale.config)
        if participant in standing.best:
            told["bid"] = standing.best[participant].amount
            told["standing"] = "leading" if standing.leads(participant) else "outbid"
    return told


def _tell(turn: _AuctionTurn) -> None:
    """After the close everybody learns where they stand, so many at a time."""
    state, limit = turn.state, TOLD_AT_ONCE_MAX
    if turn.sale.phase != "closed":
        return
    lost = state.losers[state.told_lost : state.told_lost + limit]
    if lost:
        turn.add(happened.AuctionNotWon(turn.room, tuple(lost), "not_won", turn.now_ms))
        turn.want(TICK, turn.now_ms)
        return
    final = turn.sale.final
    start = max(state.told_outbid if final else state.told_settling, state.promoted)
    waiting = tuple(state.line[start : start + limit])
    if waiting:
        if final:
            turn.add(happened.AuctionNotWon(turn.room, waiting, "outbid", turn.now_ms))
        else:
            turn.add(happened.AuctionSettling(turn.room, waiting, turn.now_ms))
        turn.want(TICK, turn.now_ms)


def _configure(turn: _AuctionTurn, data: Mapping[str, Any]) -> None:
    sale, config = turn.sale, replace(turn.sale.config, **data)
    if sale.phase == "closed":
        raise Rejected("auction.closed")
    if "closes_ms" in data and config.style == "english" and not config.closes_ms:
        raise Rejected("auction.closing_needed")
    if "closes_ms" in data and 0 < config.closes_ms <= max(turn.now_ms, config.opens_ms):
        raise Rejected("auction.closes_too_early", closes_at_ms=config.closes_ms)
    if config.reserve > sale.config.reserve and (sale.bids or config.style == "dutch"):
        raise Rejected("auction.reserve_raised", cure="it may only be lowered once there are bids")
    turn.add(happened.AuctionConfigured(turn.room, config, turn.now_ms))


def _steer(turn: _AuctionTurn, command: Operate) -> None:
    sale, now_ms, room = turn.sale, turn.now_ms, turn.room
    match command.type:
        case "open" if sale.phase == "scheduled":
            turn.add(happened.AuctionOpened(room, now_ms))
        case "pause" if not sale.paused and sale.phase != "closed":
            turn.add(happened.AuctionPaused(room, now_ms))
        case "resume" if sale.paused:
            turn.add(happened.AuctionResumed(room, now_ms))
        case "close" if sale.phase != "closed":
            turn.close(command.data["reason"])
        case _:
            raise Rejected(f"auction.cannot_{command.type}", phase=sale.shown)


AUCTION: Final = Auction()
