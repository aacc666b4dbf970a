"""Who gave a sign of life when. In memory alone: heartbeats are no events, only their absence is."""

from collections.abc import Iterable


class Beats:
    """The last heartbeat of each participant of each stream, in ms by the broker's clock."""

    def __init__(self) -> None:
        self._last: dict[str, dict[str, int]] = {}

    def hear(self, stream: str, participant: str, at_ms: int) -> None:
        """A heartbeat; one that comes late takes nothing back."""
        beats = self._last.setdefault(stream, {})
        beats[participant] = max(at_ms, beats.get(participant, 0))

    def absent(
        self, stream: str, participants: Iterable[str], *, since_ms: int, timeout_ms: int, now_ms: int
    ) -> list[str]:
        """Those whose last heartbeat is longer ago than `timeout_ms`.

        Nobody is absent before `timeout_ms` after `since_ms`, when we began to listen: what came before, we didn't hear.
        """
        before_ms = now_ms - timeout_ms
        if since_ms > before_ms:
            return []
        beats = self._last.get(stream, {})
        return [name for name in participants if beats.get(name, 0) <= before_ms]

    def keep(self, stream: str, *, after_ms: int) -> None:
        """Forget heartbeats that are older: they say nothing that silence doesn't."""
        beats = self._last.get(stream)
        if beats is not None:
            self._last[stream] = {name: at_ms for name, at_ms in beats.items() if at_ms > after_ms}

    def forget(self, streams: Iterable[str]) -> None:
        """Drop whole streams: somebody else listens for them now."""
        for stream in streams:
            self._last.pop(stream, None)

    @property
    def streams(self) -> list[str]:
        """Those anybody was heard of."""
        return list(self._last)

    def __len__(self) -> int:
        return sum(len(beats) for beats in self._last.values())
