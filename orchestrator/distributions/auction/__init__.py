"""English: the highest bids win at the close. Dutch: the price falls until somebody takes it."""

from orchestrator.distributions.auction.mechanism import AUCTION

__all__ = ["AUCTION"]
