"""Who wins an auction: the same few functions for the decision at the close and for whoever recomputes it.

A participant's bids only rise, so the last one counts. The highest bids win; of equal ones the earlier, by sequence.
"""

from bisect import insort
from collections.abc import Iterable

from msgspec import Struct

from orchestrator.distributions.auction.config import AuctionConfig


class Bid(Struct, frozen=True, array_like=True, gc=False):
    """A bid that was accepted; `sequence` counts them from 1."""

    sequence: int
    participant: str
    amount: int
    at_ms: int


def ranked(bids: Iterable[Bid]) -> list[Bid]:
    """The best bid of each participant, the best of all first."""
    best: dict[str, Bid] = {}
    for bid in bids:
        held = best.get(bid.participant)
        if held is None or _rank(bid) < _rank(held):
            best[bid.participant] = bid
    return sorted(best.values(), key=_rank)


def candidates(bids: Iterable[Bid], config: AuctionConfig) -> list[Bid]:
    """Those who may win, in order: the winners first, then who comes next when one of them doesn't pay."""
    return [bid for bid in ranked(bids) if bid.amount >= config.reserve]


def settle(bids: Iterable[Bid], config: AuctionConfig) -> list[Bid]:
    """The winning bids of an English auction, the best first."""
    return candidates(bids, config)[: config.quantity]


def put_off(config: AuctionConfig, closes_ms: int, extended: int, now_ms: int) -> int:
    """When an auction closes after a bid at `now_ms`, having been put off `extended` times."""
    if closes_ms - now_ms > config.extend_within_ms or extended >= config.extensions:
        return closes_ms
    return max(closes_ms, now_ms + config.extend_by_ms)


class Standing:
    """How an English auction stands: everybody's best bid, and the leading ones in order. Mutable."""

    __slots__ = ("best", "leaders", "places")

    def __init__(self, places: int) -> None:
        self.places = places  # how many can lead
        self.best: dict[str, Bid] = {}
        self.leaders: list[Bid] = []  # the best first

    def leads(self, participant: str) -> bool:
        held = self.best.get(participant)
        return held is not None and _rank(held) <= _rank(self.leaders[-1])

    def minimum(self, participant: str, config: AuctionConfig) -> int:
        """The lowest amount that a participant may bid now."""
        if self.leads(participant):
            return self.best[participant].amount + config.increment
        return self._to_lead(self.leaders, config)

    def displaced(self, participant: str) -> str:
        """Who leads no more when a participant places a valid bid; "" for nobody."""
        if self.leads(participant) or len(self.leaders) < self.places:
            return ""
        return self.leaders[-1].participant

    def outlook(self, bid: Bid, config: AuctionConfig) -> tuple[int, int]:
        """The highest amount after a valid bid, and what somebody who doesn't lead then has to bid."""
        leaders = self._with(bid)
        return leaders[0].amount, self._to_lead(leaders, config)

    def place(self, bid: Bid) -> None:
        """Take in a valid bid."""
        self.leaders = self._with(bid)
        self.best[bid.participant] = bid

    def _with(self, bid: Bid) -> list[Bid]:
        leaders = [one for one in self.leaders if one.participant != bid.participant]
        insort(leaders, bid, key=_rank)
        return leaders[: self.places]

    def _to_lead(self, leaders: list[Bid], config: AuctionConfig) -> int:
        return config.start if len(leaders) < self.places else leaders[-1].amount + config.increment


def _rank(bid: Bid) -> tuple[int, int]:
    return -bid.amount, bid.sequence
