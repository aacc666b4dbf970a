"""Lanes without a broker: the engine's own lane, fed with records made here, on a database of the test's own."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from typing import Any, NamedTuple

import msgspec
import orjson

from orchestrator.core.addresses import lane_of
from orchestrator.core.decider import Definition
from orchestrator.engine.catalogue import Catalogue
from orchestrator.engine.codec import Codec
from orchestrator.engine.follower import Follower
from orchestrator.engine.frames import RecordSource
from orchestrator.engine.group_commit import GroupCommit
from orchestrator.engine.lane import Committed, Lane
from orchestrator.engine.migrations import FORMAT
from orchestrator.engine.positions import IN, OUT
from orchestrator.engine.schema import SHARED_TABLES
from orchestrator.engine.store import LaneStore
from orchestrator.installation import FOLLOWERS, Databases
from orchestrator.settings import Settings
from tests.support.toy import TOY

TOPIC = "journeys.commands"
DAY_MS = 86_400_000
START_MS = 1_770_000_000_000  # 2026-02-02T02:40:00Z


class FakeRecord(NamedTuple):
    """A consumed record, as the engine reads it."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]


class Request(NamedTuple):
    """A command to be: `customer` of organization `acme`, for his journey through `definition`."""

    customer: str
    type: str
    data: Mapping[str, Any] = {}
    id: str | None = None  # None: a fresh one
    definition: str = "toy:t"
    at_ms: int | None = None  # append time; None: a second after the last
    headers: tuple[tuple[str, bytes], ...] = ()
    value: bytes | None = None  # other bytes than `data`


class LaneHarness:
    """One lane of an installation with its followers' feeds, driven record by record."""

    def __init__(self, lane: Lane, databases: Databases, lanes: int) -> None:
        self.lane = lane
        self.databases = databases
        self.followers: list[Follower] = []
        self.now_ms = START_MS
        self._lanes = lanes
        self._offset = -1

    @property
    def store(self) -> LaneStore:
        return self.lane.store

    def owner_of(self, customer: str) -> str:
        return f"acme/c/{customer}"

    def customers(self, count: int, prefix: str = "cus") -> list[str]:
        """Customers whose lane is this one."""
        names = (f"{prefix}-{n}" for n in itertools.count())
        mine = (n for n in names if lane_of(self.owner_of(n), self._lanes) == self.lane.number)
        return list(itertools.islice(mine, count))

    async def handle(self, *requests: Request, timers: int = 0) -> Committed:
        """Commit these commands in one transaction, with so many due timers behind them, and tell the followers."""
        records = [self._record(r) for r in requests]
        committed = await self.lane.handle(TOPIC, records, raw=False, timers=timers)
        self.feed(committed)
        return committed

    async def fire_timers(self, now_ms: int) -> None:
        """Fire what is due at `now_ms`."""
        self.now_ms = max(self.now_ms, now_ms)
        committed = await self.lane.fire_timers(now_ms)
        if committed is not None:
            self.feed(committed)
        await self.lane.find_next_due()

    def feed(self, committed: Committed) -> None:
        for follower in self.followers:
            follower.feed(committed)

    @asynccontextmanager
    async def following(self, *followers: Follower) -> AsyncIterator[None]:
        """Run followers meanwhile; an error of theirs ends the block."""
        self.followers += followers
        tasks = [asyncio.create_task(f.run()) for f in followers]
        try:
            yield
        finally:
            for follower in followers:
                self.followers.remove(follower)
            for task in tasks:
                task.cancel()
            for task in tasks:
                with suppress(asyncio.CancelledError):
                    await task

    def _record(self, request: Request) -> FakeRecord:
        self._offset += 1
        self.now_ms = request.at_ms if request.at_ms is not None else self.now_ms + 1000
        owner = self.owner_of(request.customer)
        made = (
            ("ce_specversion", b"1.0"),
            ("ce_id", (request.id or f"id-{self._offset}").encode()),
            ("ce_source", b"tests"),
            ("ce_type", request.type.encode()),
            ("ce_subject", f"{owner}/{request.definition}".encode()),
            ("content-type", b"application/json"),
        )
        value = request.value if request.value is not None else orjson.dumps(dict(request.data))
        return FakeRecord(
            TOPIC,
            self.lane.number,
            self._offset,
            self.now_ms,
            owner.encode(),
            value,
            (*made, *request.headers),
        )


class Installation:
    """Lanes on an empty database, without topics."""

    def __init__(
        self,
        dsn: str,
        *,
        lanes: int = 1,
        record: RecordSource | None = None,
        kinds: Sequence[Any] = (TOY,),
        documents: Iterable[tuple[str, str, Mapping[str, Any]]] = (("toy", "t", {}),),
    ) -> None:
        self.settings = Settings(database_url=dsn, lanes=lanes)
        self.databases = Databases(self.settings)
        self.kinds: dict[str, Any] = {kind.name: kind for kind in kinds}
        self.lanes = lanes
        self.record = record
        self._codec = Codec(event for kind in kinds for event in kind.events)
        self._executor = ThreadPoolExecutor(max_workers=4, thread_name_prefix="test-lanes")
        self._create(documents)

    def _create(self, documents: Iterable[tuple[str, str, Mapping[str, Any]]]) -> None:
        with self.databases.main.transaction() as cursor:
            for statement in SHARED_TABLES.split(";"):
                if statement.strip():
                    cursor.execute(statement.strip())
            cursor.execute(
                "INSERT INTO orchestrator.installation (lanes, format) VALUES (%s, %s) ON CONFLICT DO NOTHING",
                (self.lanes, FORMAT),
            )
            for kind, definition, document in documents:
                cursor.execute(
                    "INSERT INTO orchestrator.definitions (kind, id, version, document, digest)"
                    " VALUES (%s, %s, 1, %s, '') ON CONFLICT DO NOTHING",
                    (kind, definition, orjson.dumps(document).decode()),
                )
        for lane in range(self.lanes):
            positions = [(IN + TOPIC, -1), *((OUT + name, 0) for name in FOLLOWERS), ("suspect", 0)]
            LaneStore(self.databases.of_lane(lane), lane).create(positions, bytes([lane + 1]) * 32)

    async def in_thread(self, call: Callable[..., Any], *args: Any) -> Any:
        """A store call, as workers make it."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, call, *args)

    async def lane(self, number: int = 0, *, group: GroupCommit | None = None) -> LaneHarness:
        """A new owner of a lane, at the point where the database stands; `group`: it commits together with others."""
        lane = Lane(
            LaneStore(self.databases.of_lane(number), number),
            lanes=self.lanes,
            kinds=self.kinds,
            catalogue=Catalogue(self.databases.main, self._build),
            codec=self._codec,
            executor=self._executor,
            default_organization="acme",
            cache_streams=lambda: 10_000,
            record=self.record,
            group=group,
        )
        await lane.open()
        harness = LaneHarness(lane, self.databases, self.lanes)
        harness._offset = lane.offsets[TOPIC]
        harness.now_ms = max(START_MS, lane.log.lane_ms)
        return harness

    def _build(self, kind: str, definition: str, version: int, document: str) -> Definition:
        made = self.kinds[kind]
        parsed = msgspec.json.decode(document, type=dict[str, Any])
        return Definition(kind, definition, version, parsed, made.compile(parsed), made.listens(parsed))

    def close(self) -> None:
        self._executor.shutdown(wait=True, cancel_futures=True)
        self.databases.close()


async def until(condition: Any, what: str, *, within_s: float = 30.0) -> None:
    """Wait until `condition()` is true."""
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.01)
    assert condition(), what
