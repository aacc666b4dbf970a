"""First come, first served, at a rate and with so many inside at once; before the opening, by lot."""

from orchestrator.distributions.queue.mechanism import QUEUE, now_serving, position

__all__ = ["QUEUE", "now_serving", "position"]
