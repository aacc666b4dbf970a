"""What operators watch. Base units, few labels, never one per journey; children are kept, sums added per batch."""

from bisect import bisect_left
from collections import Counter as Tally
from collections.abc import Iterable, Iterator

from prometheus_client import REGISTRY, Counter, Gauge, Histogram
from prometheus_client.core import HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)
_SIZES = (1, 5, 10, 50, 100, 250, 500, 1000, 2000, 4000)


class BatchHistogram(Collector):
    """A histogram that takes a whole batch of values at once; the library's own costs more than a decision each."""

    def __init__(self, name: str, documentation: str, buckets: tuple[float, ...]) -> None:
        self._name, self._documentation, self._bounds = name, documentation, buckets
        self._counts = [0] * (len(buckets) + 1)
        self._sum = 0.0
        REGISTRY.register(self)

    def observe_all(self, values: Iterable[float]) -> None:
        """Many values of one batch are equal: each is looked up once."""
        for value, times in Tally(values).items():
            self._counts[bisect_left(self._bounds, value)] += times
            self._sum += value * times

    def collect(self) -> Iterator[Metric]:
        """Cumulative buckets, as the exposition format wants them."""
        total, buckets = 0, []
        for bound, count in zip((*self._bounds, float("inf")), self._counts, strict=True):
            total += count
            buckets.append(("+Inf" if bound == float("inf") else str(bound), float(total)))
        family = HistogramMetricFamily(self._name, self._documentation)
        family.add_metric([], buckets, self._sum)
        yield family


COMMANDS = Counter("journey_commands_total", "Commands by what became of them.", ["outcome", "duplicate"])
DECIDE_S = Histogram("journey_decide_seconds", "Loading and deciding one batch.", buckets=_SECONDS)
COMMIT_S = Histogram("journey_commit_seconds", "One lane transaction.", buckets=_SECONDS)
PUBLISH_S = Histogram("journey_publish_seconds", "Sending one run of the log.", ["topic"], buckets=_SECONDS)
APPEND_TO_OUTCOME_S = BatchHistogram(
    "journey_append_to_outcome_seconds",
    "From the broker's append of a command to its acknowledged outcome.",
    _SECONDS,
)
BATCH_SIZE = Histogram("journey_batch_commands", "Commands in one lane transaction.", buckets=_SIZES)
LANE_LAG = Gauge(
    "journey_lane_lag_messages", "Messages appended to a lane's topic and not handled.", ["lane", "topic"]
)
FOLLOWER_LAG = Gauge(
    "journey_follower_lag_events", "Events in the log and not dealt with.", ["lane", "follower"]
)
SIGNALS = Counter("journey_signals_total", "Signs of life of participants, heard or unreadable.", ["result"])
TIMERS_DUE = Counter("journey_timers_fired_total", "Timers that became commands.")
TIMER_LATE_S = Histogram(
    "journey_timer_late_seconds", "From a timer's due time to its decision.", buckets=_SECONDS
)
TIMERS_LATE = Gauge("journey_timers_late", "Due timers seen and not fired yet.", ["lane"])
DEAD_LETTERS = Counter("journey_dead_letters_total", "Messages that can't be decided.", ["reason"])
FORWARDED = Counter("journey_forwarded_total", "Messages that came to the wrong lane.", ["source"])
EFFECTS_REQUESTED = Counter("journey_effects_requested_total", "Effects asked for.", ["type"])
STARTED = Counter("journey_started_total", "Journeys started.", ["kind", "definition"])
TRANSITIONS = Counter(
    "journey_transitions_total", "Changes of a journey's label.", ["definition", "source", "target"]
)
JOURNEYS = Gauge("journey_journeys", "Journeys by definition and state.", ["lane", "definition", "state"])
LANE_READY = Gauge("journey_lane_ready", "1 while the lane is owned here and moving, else 0.", ["lane"])
RESTARTS = Counter(
    "journey_lane_restarts_total", "Times a lane dropped its caches and began again.", ["cause"]
)
DEPENDENCY_UP = Gauge("journey_dependency_up", "1 while Kafka or PostgreSQL answers.", ["dependency"])
