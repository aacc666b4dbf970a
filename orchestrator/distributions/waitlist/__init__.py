"""Who waits for places that may come, in which order, and who was offered one until when."""

from orchestrator.distributions.waitlist.mechanism import WAITLIST

__all__ = ["WAITLIST"]
