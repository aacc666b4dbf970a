"""Bulk operations: pausing, resuming or cancelling many runs of a flow, as a journey of its own."""

from orchestrator.core.decider import JourneyKind
from orchestrator.journeys.bulk.kind import Bulk

BULK: JourneyKind = Bulk()

__all__ = ["BULK"]
