"""The kinds of journeys. A new kind is one package here and one entry in KINDS."""

from orchestrator.core.decider import JourneyKind
from orchestrator.customers import POINTS, RECORD
from orchestrator.journeys.lifecycle import LIFECYCLE

KINDS: tuple[JourneyKind, ...] = (LIFECYCLE, RECORD, POINTS)

__all__ = ["KINDS", "LIFECYCLE"]
