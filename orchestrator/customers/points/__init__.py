"""The points ledger: awards, redemptions, reversals and expiries of one customer, with the balance after each."""

from orchestrator.core.decider import JourneyKind
from orchestrator.customers.points.kind import PointsLedger

POINTS: JourneyKind = PointsLedger()

__all__ = ["POINTS"]
