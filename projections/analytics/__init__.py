"""Analytics sinks: one file each, a follower with a position of its own, switched on by its setting.

The next sink goes into a module beside `parquet`, its name into `orchestrator.installation.FOLLOWERS` (which makes the
position), and a function like `_parquet` into `SINKS`.
"""

from collections.abc import Callable

from orchestrator.engine.follower import Follower
from orchestrator.engine.lane import Lane
from orchestrator.settings import Settings

Sink = Callable[[Lane, Settings], Follower | None]
"""A lane's follower for one sink; None when its setting is off."""


def _parquet(lane: Lane, settings: Settings) -> Follower | None:
    if not settings.analytics_dir:
        return None
    from projections.analytics.parquet import Parquet  # noqa: PLC0415 - pyarrow takes 60 MB: only who asked pays

    return Parquet(lane, settings.analytics_dir)


SINKS: tuple[Sink, ...] = (_parquet,)


def sinks(lane: Lane, settings: Settings) -> tuple[Follower, ...]:
    """The followers of every sink that is switched on."""
    made = (make(lane, settings) for make in SINKS)
    return tuple(follower for follower in made if follower is not None)
