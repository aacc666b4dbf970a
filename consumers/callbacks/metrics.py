"""Prometheus series of the callbacks' server; labels are providers and outcomes, never customers."""

from functools import cache

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge


class CallbackMetrics:
    """One per process and registry.

    Providers: twilio, email, sendgrid, ses, open, click, unsubscribe, other. Results: accepted, malformed, unsigned,
    forged, unavailable, limited, busy, unknown (no such page or token), lost (a visit that couldn't be told).
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.requests = Counter(
            "journey_callbacks_total",
            "Requests of providers and customers, by what became of them.",
            ("provider", "result"),
            registry=registry,
        )
        self.reports = Counter(
            "journey_callback_reports_total",
            "What providers and customers reported, by kind; unmatched: about no message of ours.",
            ("provider", "what"),
            registry=registry,
        )
        self.repeated = Counter(
            "journey_callback_commands_repeated_total",
            "Commands that this process had published already.",
            registry=registry,
        )
        self.in_flight = Gauge("journey_callbacks_in_flight", "Requests under way.", registry=registry)


@cache
def process_metrics() -> CallbackMetrics:
    """Those of this process: its registry takes each name once."""
    return CallbackMetrics(REGISTRY)
