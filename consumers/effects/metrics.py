"""Prometheus series of the effect runner; labels are types and outcomes, never journeys."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class EffectMetrics:
    """One per process and registry. Result labels: succeeded, retryable, failed, unknown."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.performed = Counter(
            "journey_effects_performed_total",
            "Effect attempts answered.",
            ("type", "result"),
            registry=registry,
        )
        self.duration = Histogram(
            "journey_effect_duration_seconds",
            "Time of one call to a provider.",
            ("type",),
            buckets=_SECONDS,
            registry=registry,
        )
        self.in_flight = Gauge(
            "journey_effects_in_flight", "Calls to providers under way.", registry=registry
        )
        self.pending = Gauge(
            "journey_effects_pending", "Effect records taken and not yet answered.", registry=registry
        )
        self.unreadable = Counter(
            "journey_effect_records_unreadable_total",
            "Effect records that couldn't be performed, by what became of them.",
            ("ending",),  # answered, dead_lettered
            registry=registry,
        )
        self.commit_errors = Counter(
            "journey_effect_commit_errors_total",
            "Offset commits that failed or timed out.",
            registry=registry,
        )
        self.produce_errors = Counter(
            "journey_effect_produce_errors_total",
            "Tries to produce an answer that failed.",
            registry=registry,
        )
        self.kafka_up = Gauge(
            "journey_effects_kafka_up", "1 while the runner is connected to Kafka.", registry=registry
        )
