"""Distribution mechanisms: shared resources with their own rules of who may go on. One file each, one entry here."""

from orchestrator.distributions.appointment import APPOINTMENT
from orchestrator.distributions.base import Distribution
from orchestrator.distributions.draw import DRAW
from orchestrator.distributions.queue import QUEUE
from orchestrator.distributions.waitlist import WAITLIST

MECHANISMS: tuple[Distribution, ...] = (QUEUE, DRAW, APPOINTMENT, WAITLIST)

__all__ = ["MECHANISMS", "Distribution"]
