"""The read model of dead letters: what is open, what was retried, what was given up and why."""

from orchestrator.core.lane_events import DeadLetterDiscarded, DeadLettered, DeadLetterRetried
from orchestrator.engine.envelope import Recorded
from orchestrator.engine.follower import LogFeed
from orchestrator.engine.lane import Committed, Lane
from orchestrator.engine.positions import OUT
from orchestrator.engine.store import Move

NAME = "dead_letters"
_DEALT_WITH = (DeadLettered, DeadLetterRetried, DeadLetterDiscarded)
_SAVE_EVERY_EVENTS = 10_000
_INSERT = (
    "INSERT INTO {lane}.dead_letters (id, version, topic, reason, error, source, command_id, command_type, subject, at_ms)"
    " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING"
)
_SETTLE = "UPDATE {lane}.dead_letters SET status = %s, note = %s WHERE id = %s"


class DeadLetters:
    """One lane's. Its position moves with each dead letter, else only every so many events."""

    name = NAME
    tells = False

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self._feed = LogFeed(lane)
        self._position = 0
        self._saved = 0

    def feed(self, committed: Committed) -> None:
        self._feed.feed(committed)

    @property
    def lag_events(self) -> int:
        return self._lane.position - self._position

    async def run(self) -> None:
        positions = await self._lane.run(self._lane.store.positions)
        self._position = self._saved = positions[OUT + NAME].at
        while True:
            run = await self._feed.next(self._position)
            for recorded in run.events:
                if isinstance(recorded.envelope.data, _DEALT_WITH):  # one in thousands
                    await self._deal(recorded)
            self._position = run.last
            if self._position - self._saved >= _SAVE_EVERY_EVENTS:
                await self._save(self._position, "", [])

    async def _deal(self, recorded: Recorded) -> None:
        event = recorded.envelope.data
        if isinstance(event, DeadLettered):
            row = (
                event.id, recorded.version, event.topic, event.reason, event.error.replace("\x00", "�"),
                event.source, event.command_id, event.command_type, event.subject, recorded.envelope.at_ms,
            )  # fmt: skip
            await self._save(recorded.position, _INSERT, [row])
        elif isinstance(event, DeadLetterRetried):
            await self._save(recorded.position, _SETTLE, [("retried", "", event.id)])
        elif isinstance(event, DeadLetterDiscarded):
            await self._save(recorded.position, _SETTLE, [("discarded", event.reason, event.id)])

    async def _save(self, position: int, statement: str, rows: list[tuple[object, ...]]) -> None:
        move = Move(OUT + NAME, self._saved, position)
        store = self._lane.store
        await self._lane.run(store.follow, move, store.statement(statement or "SELECT 1"), rows)
        self._saved = position
