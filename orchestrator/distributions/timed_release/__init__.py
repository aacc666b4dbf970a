"""Units come into stock at set times; who takes some holds them while they buy."""

from orchestrator.distributions.timed_release.mechanism import TIMED_RELEASE

__all__ = ["TIMED_RELEASE"]
