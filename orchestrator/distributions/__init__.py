"""Distribution mechanisms: shared resources with their own rules of who may go on. One file each, one entry here."""

from orchestrator.distributions.base import Distribution

MECHANISMS: tuple[Distribution, ...] = ()

__all__ = ["MECHANISMS", "Distribution"]
