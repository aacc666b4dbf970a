"""What a batch did, counted while deciding and added to the metrics once, after its commit."""

from collections import Counter

from orchestrator import metrics

_SOURCES_MAX = 100
_sources: set[str] = set()


def _known(source: str) -> str:
    """A producer's name as a label; producers choose their names, so only so many become one."""
    if source not in _sources:
        if len(_sources) >= _SOURCES_MAX:
            return "other"
        _sources.add(source)
    return source


class Tally:
    """Counts of one batch; dropped with it."""

    __slots__ = ("dead", "effects", "forwarded", "outcomes", "started", "transitions")

    def __init__(self) -> None:
        self.outcomes: Counter[tuple[str, bool]] = Counter()
        self.transitions: Counter[tuple[str, str, str]] = Counter()
        self.started: Counter[tuple[str, str]] = Counter()
        self.effects: Counter[str] = Counter()
        self.forwarded: Counter[str] = Counter()
        self.dead: Counter[str] = Counter()

    def add(self) -> None:
        """Tell the metrics."""
        for (outcome, duplicate), n in self.outcomes.items():
            metrics.COMMANDS.labels(outcome, str(duplicate).lower()).inc(n)
        for (definition, source, target), n in self.transitions.items():
            metrics.TRANSITIONS.labels(definition, source, target).inc(n)
        for (kind, definition), n in self.started.items():
            metrics.STARTED.labels(kind, definition).inc(n)
        for effect, n in self.effects.items():
            metrics.EFFECTS_REQUESTED.labels(effect).inc(n)
        for source, n in self.forwarded.items():
            metrics.FORWARDED.labels(_known(source)).inc(n)
        for reason, n in self.dead.items():
            metrics.DEAD_LETTERS.labels(reason).inc(n)
