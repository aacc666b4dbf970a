"""Slots with so many places each, held for a while, booked, moved, cancelled in time, used at the visit."""

from orchestrator.distributions.appointment.mechanism import APPOINTMENT

__all__ = ["APPOINTMENT"]
