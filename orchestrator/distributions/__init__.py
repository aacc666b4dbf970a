"""Distribution mechanisms: shared resources with their own rules of who may go on. A package each, one entry here."""

from orchestrator.distributions.access_code import ACCESS_CODES
from orchestrator.distributions.appointment import APPOINTMENT
from orchestrator.distributions.auction import AUCTION
from orchestrator.distributions.base import Distribution
from orchestrator.distributions.draw import DRAW
from orchestrator.distributions.queue import QUEUE
from orchestrator.distributions.timed_release import TIMED_RELEASE
from orchestrator.distributions.waitlist import WAITLIST

MECHANISMS: tuple[Distribution, ...] = (QUEUE, DRAW, AUCTION, TIMED_RELEASE, APPOINTMENT, WAITLIST)

__all__ = ["ACCESS_CODES", "MECHANISMS", "Distribution"]
