"""Flow journeys: node graphs a customer walks through, many runs per customer, configured by documents."""

from orchestrator.core.decider import JourneyKind
from orchestrator.journeys.flow.kind import Flow

FLOW: JourneyKind = Flow()
