"""What a batch did, counted while deciding and added to the metrics once, after its commit."""

from collections import Counter

from orchestrator import metrics


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
            metrics.FORWARDED.labels(source).inc(n)
        for reason, n in self.dead.items():
            metrics.DEAD_LETTERS.labels(reason).inc(n)
