"""Lifecycle journeys: versioned, hierarchical state machines configured by documents."""

from orchestrator.core.decider import JourneyKind
from orchestrator.journeys.lifecycle.kind import Lifecycle

LIFECYCLE: JourneyKind = Lifecycle()
