"""One assigned partition: its records under way, its turns, and the end of its assignment."""

import asyncio

from aiokafka import TopicPartition

from consumers.effects.offsets import OffsetTracker


class Lane:
    """Lives from assignment to revocation. `closed`: no new calls; `lost`: somebody else may own it."""

    def __init__(self, partition: TopicPartition) -> None:
        self.partition = partition
        self.closed = False
        self.lost = False
        self.committed = -1  # acknowledged in this assignment
        self.jobs: set[asyncio.Task[bool]] = set()
        self.last_of_stream: dict[str, asyncio.Task[bool]] = {}
        self._tracker = OffsetTracker()
        self._turns: dict[int, asyncio.Future[bool]] = {}

    @property
    def pending(self) -> int:
        """Records taken and not yet below the committable offset."""
        return len(self._tracker)

    @property
    def to_commit(self) -> int | None:
        """The offset to commit, None if there is nothing new."""
        at = self._tracker.committable
        return at if at is not None and at > self.committed else None

    def take(self, offset: int) -> None:
        self._tracker.take(offset)

    def finish(self, offset: int) -> None:
        """The record is answered, or must not be read again."""
        self._tracker.finish(offset)
        for waiting in [o for o in self._turns if self._tracker.is_first(o)]:
            self._turns.pop(waiting).set_result(True)

    async def turn(self, offset: int) -> bool:
        """Waits until everything before `offset` is finished; False if the lane closed first."""
        if self.closed:
            return False
        if self._tracker.is_first(offset):
            return True
        self._turns[offset] = future = asyncio.get_running_loop().create_future()
        mine: bool = await future
        return mine

    def close(self) -> None:
        """No new calls from now on; those waiting for their turn are told."""
        self.closed = True
        for future in self._turns.values():
            future.set_result(False)
        self._turns.clear()

    def add(self, job: asyncio.Task[bool], stream: str | None) -> None:
        """Keeps a job until it is done, and as the last of its stream until another comes."""
        self.jobs.add(job)
        job.add_done_callback(self.jobs.discard)
        if stream is not None:
            self.last_of_stream[stream] = job
            job.add_done_callback(lambda done: self._forget(stream, done))

    def _forget(self, stream: str, job: asyncio.Task[bool]) -> None:
        if self.last_of_stream.get(stream) is job:
            del self.last_of_stream[stream]
