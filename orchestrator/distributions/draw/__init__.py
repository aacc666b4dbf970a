"""A chance by weight for everyone who enters before the close; who wins can be recomputed by anyone."""

from orchestrator.distributions.draw.mechanism import DRAW

__all__ = ["DRAW"]
