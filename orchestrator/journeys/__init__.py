"""The kinds of journeys. A new kind is one package here and one entry in KINDS."""

from orchestrator.core.decider import JourneyKind
from orchestrator.customers import POINTS, RECORD
from orchestrator.journeys.bulk import BULK
from orchestrator.journeys.flow import FLOW
from orchestrator.journeys.lifecycle import LIFECYCLE

KINDS: tuple[JourneyKind, ...] = (LIFECYCLE, FLOW, RECORD, POINTS, BULK)

__all__ = ["BULK", "FLOW", "KINDS", "LIFECYCLE"]
