"""The journey orchestrator: idempotency-keyed commands in, decided once, every consequence told."""

__version__ = "0.1.0"
