"""The kinds of journeys. A new kind is one package here and one entry in KINDS."""

from orchestrator.core.decider import JourneyKind
from orchestrator.customers import POINTS, RECORD
from orchestrator.distributions import ACCESS_CODES, MECHANISMS
from orchestrator.journeys.bulk import BULK
from orchestrator.journeys.experience import EXPERIENCE
from orchestrator.journeys.flow import FLOW
from orchestrator.journeys.lifecycle import LIFECYCLE

DOCUMENTED: tuple[JourneyKind, ...] = (LIFECYCLE, FLOW, RECORD, POINTS, BULK, EXPERIENCE)
"""Kinds with documents of their own."""

KINDS: tuple[JourneyKind, ...] = (*DOCUMENTED, *MECHANISMS, ACCESS_CODES)
"""Every kind of stream: resources are described by the documents of an experience."""

__all__ = ["BULK", "DOCUMENTED", "EXPERIENCE", "FLOW", "KINDS", "LIFECYCLE"]
