"""An auction recomputed from its log: whether every bid was valid when it came, and the winners follow from the bids."""

from collections.abc import Iterable, Iterator

from orchestrator.core.events import Event
from orchestrator.distributions.auction import events as happened
from orchestrator.distributions.auction.settling import Bid, Standing, put_off, settle
from orchestrator.distributions.auction.state import Sale


def verify(events: Iterable[Event]) -> Iterator[str]:
    """What doesn't follow from the bids, each as a sentence; nothing where all is as it has to be."""
    sale: Sale | None = None
    bids: list[Bid] = []
    standing = Standing(0)
    for event in events:
        if isinstance(event, happened.AuctionPrepared):
            sale = Sale(event.config, event.config.closes_ms)
            standing = Standing(event.config.quantity)
        if sale is None:
            continue
        match event:
            case happened.BidPlaced(bid=bid):
                yield from (_check_bid if sale.config.style == "english" else _check_take)(
                    sale, standing, event
                )
                if sale.config.style == "english":
                    standing.place(bid)
                bids.append(bid)
            case happened.AuctionClosed() if sale.config.style == "english":
                expected = settle(bids, sale.config)
                if list(event.winners) != expected:
                    yield f"the winners are {_shown(event.winners)}, but the bids say {_shown(expected)}"
        sale.apply(event)


def _check_bid(sale: Sale, standing: Standing, event: happened.BidPlaced) -> Iterator[str]:
    bid = event.bid
    minimum = standing.minimum(bid.participant, sale.config)
    yield from _check_any(sale, bid)
    if bid.amount < minimum:
        yield f"bid {bid.sequence} of {bid.amount} is below the minimum of {minimum}"
    if event.displaced != standing.displaced(bid.participant):
        yield f"bid {bid.sequence} doesn't displace whom it says"
    closes_ms = put_off(sale.config, sale.closes_ms, sale.extended, bid.at_ms)
    if event.closes_ms != closes_ms:
        yield f"bid {bid.sequence} moves the close to {event.closes_ms}, but the rules say {closes_ms}"


def _check_take(sale: Sale, standing: Standing, event: happened.BidPlaced) -> Iterator[str]:  # noqa: ARG001
    bid, price = event.bid, sale.price_at(event.bid.at_ms)
    yield from _check_any(sale, bid)
    if bid.amount != price:
        yield f"bid {bid.sequence} pays {bid.amount}, but the price was {price}"
    if not sale.free:
        yield f"bid {bid.sequence} takes a unit where none was left"


def _check_any(sale: Sale, bid: Bid) -> Iterator[str]:
    if bid.sequence != sale.bids + 1:
        yield f"bid {bid.sequence} comes after {sale.bids} bids"
    if sale.phase != "open" or 0 < sale.closes_ms <= bid.at_ms:
        yield f"bid {bid.sequence} came while the auction was not open"


def _shown(bids: Iterable[Bid]) -> str:
    return ", ".join(f"bid {bid.sequence} of {bid.amount}" for bid in bids) or "none"
