"""Experience journeys: one customer's way through gates and a sequence to a distribution, and to admission."""

from orchestrator.journeys.experience.kind import Experience

EXPERIENCE = Experience()
"""The experience kind as the engine sees it."""
