"""The counts of a whole log, stream by stream, whatever its tables say: to compare them with it, or write them anew."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from orchestrator.core.events import Event
from projections.flow_analytics.counting import Cell, Counts, Open, count, counts, definition_of


class Recount:
    """Takes each stream's events in order, one stream after another; those after `until` (a position) don't count."""

    def __init__(self, until: int) -> None:
        self.counts: Counts = Counter()
        self._until = until
        self._open = Open()

    def event(self, position: int, stream: str, event: Event) -> None:
        """One event of the present stream."""
        if position <= self._until and counts(event) and (definition := definition_of(stream)) is not None:
            count(self._open, definition, event, self.counts)

    def end(self) -> Open:
        """The present stream has ended; what is open of it. The next event is another's."""
        open, self._open = self._open, Open()
        return open


def differences(
    wanted: Mapping[Cell, int], found: Iterable[tuple[Cell, int]]
) -> Iterator[tuple[Cell, int, int]]:
    """Each number that the table and the log don't agree on: the place, the table's, the log's."""
    missing = dict(wanted)
    for cell, n in found:
        expected = missing.pop(cell, 0)
        if n != expected:
            yield cell, n, expected
    for cell, expected in missing.items():
        yield cell, 0, expected
