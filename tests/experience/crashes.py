"""One mechanism's experience on real servers, with a worker process that is killed while it serves; and what is left.

A `Show` publishes commands and keeps books of them, kills the worker at a moment of the log, starts it again, and at
the end hands over the `Evidence`: everything the log and the topics hold.
"""

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import psycopg

from orchestrator import definitions, embedded
from orchestrator.core.addresses import lane_of
from orchestrator.core.events import Event
from orchestrator.core.messages import TELLING_SOURCE
from orchestrator.distributions.base import distribution_stream
from orchestrator.engine.codec import Codec
from orchestrator.engine.envelope import Envelope
from orchestrator.journeys import KINDS
from orchestrator.journeys.experience import EXPERIENCE
from orchestrator.replay.report import Report
from orchestrator.replay.run import replay
from tests.support.worker_process import WorkerProcess, environment_of
from tests.support.world import Read, World, world

ID = "drop"
MAIN = "main"  # the distribution that everybody enters
FANS = tuple(f"fan-{n:02d}" for n in range(30))
WAIT_S = 60.0
_LOOK_EVERY_S = 0.002
_REST_S = 0.1
_FOLLOWERS = ("publisher", "exactly_once", "journeys")
_CODEC = Codec(event for kind in KINDS for event in kind.events)
Key = tuple[str, str, str]  # stream, source, id


class Entry(NamedTuple):
    """One event of a lane's log."""

    lane: int
    position: int
    version: int
    envelope: Envelope

    @property
    def event(self) -> Event:
        event: Event = self.envelope.data
        return event

    @property
    def stream(self) -> str:
        return self.envelope.stream

    @property
    def key(self) -> Key:
        return self.stream, self.envelope.source, self.envelope.id

    @property
    def of_lane(self) -> bool:
        return self.stream.startswith("/")


class Scene(NamedTuple):
    """What is published before the worker dies, at which event of the room it dies, and what comes while it is dead."""

    before: Callable[["Show"], Awaitable[None]]
    event: str
    count: int
    after: Callable[["Show"], Awaitable[None]]


class Death(NamedTuple):
    """What the log held when the worker died, and what not yet."""

    decided: int  # published commands
    to_come: int
    on_the_way: int  # commands that streams had told each other, and that nobody had heard


class Evidence(NamedTuple):
    """All that is left of a show."""

    log: list[Entry]
    published: Counter[Key]
    outcomes: list[Read]
    stages: dict[str, str]  # of the sequence, by fan, as the newest snapshots say
    dead_letters: list[dict[str, Any]]
    deaths: list[Death]
    report: Report
    commands_before: Any
    commands_after: Any

    def of(self, stream: str) -> list[Event]:
        """A stream's events, in order."""
        return [entry.event for entry in self.log if entry.stream == stream]


class Show:
    """An experience whose only sequence leads to one distribution, and everybody who acts on it."""

    def __init__(self, one: World, worker: WorkerProcess, distributions: Mapping[str, Any]) -> None:
        self.one = one
        self.worker = worker
        self.published: Counter[Key] = Counter()
        self.deaths: list[Death] = []
        self.distributions = distributions
        self.seen: Counter[str] = Counter()  # the room's events by name, when all was quiet last
        self._scene: list[tuple[Any, ...]] = []
        self._database = psycopg.connect(one.settings.database_url, autocommit=True)

    def room(self, distribution: str = MAIN) -> str:
        return room_of(distribution, self.distributions[distribution]["mechanism"])

    # ------------------------------------------------------------ commands

    async def act(self, fan: str, action: str, id: str = "", **data: Any) -> None:
        """A fan's action; every third fan sends each of them twice."""
        copies = 2 if int(fan[-2:]) % 3 == 0 else 1
        stream = f"acme/c/{fan}/experience:{ID}"
        await self._publish(stream, "tests", id or f"{fan}-{action}", action, data, copies)

    async def all_act(self, fans: Iterable[str], action: str, **data: Any) -> None:
        for fan in fans:
            await self.act(fan, action, **data)

    async def operate(self, command: str, id: str = "", **data: Any) -> None:
        """An operator's command to the main distribution, always sent twice."""
        await self._publish(self.room(), "operators", id or command, command, data, 2)

    async def redeem(self, jti: str, reference: str) -> None:
        await self.operate("redeem", f"redeem-{reference}-{jti}", jti=jti, reference=reference)

    async def _publish(self, *command: Any) -> None:
        self._scene.append(command)
        stream, source, id, type, data, copies = command
        owner = stream.rpartition("/")[0]
        headers = {"specversion": "1.0", "id": id, "source": source, "type": type, "subject": stream}
        made = [(f"ce_{name}", value.encode()) for name, value in headers.items()]
        lane = lane_of(owner, self.one.settings.lanes)
        self.published[stream, source, id] += copies
        for _ in range(copies):
            await self.one.put("commands", orjson.dumps(data), owner.encode(), made, lane)

    # ------------------------------------------------------------ the worker

    async def starts(self) -> None:
        self.worker.start()
        await asyncio.to_thread(self.worker.wait_ready)

    async def plays(self, scene: Scene) -> None:
        """The worker dies in the middle of a scene and comes back to all of it, published once more."""
        self._scene.clear()
        await scene.before(self)
        await self._dies(scene.event, scene.count)
        again = list(self._scene)
        await scene.after(self)
        log = self.log()
        decided = {entry.key for entry in log}
        done = sum(key in decided for key in self.published)
        self.deaths.append(Death(done, len(self.published) - done, len(told(log) - decided)))
        for command in again:  # a producer that doesn't know whether it was heard
            await self._publish(*command[:-1], 1)
        await self.starts()
        await self.quiet()

    async def _dies(self, event: str, count: int) -> None:
        lane = lane_of(self.room().rpartition("/")[0], self.one.settings.lanes)
        query = f"SELECT count(*) FROM lane_{lane:03d}.stored_events WHERE topic = %s"
        before = self.seen[event]
        deadline_s = time.monotonic() + WAIT_S
        while self._database.execute(query, (event,)).fetchone()[0] < before + count:
            assert time.monotonic() < deadline_s, (
                f"no {count} {event} in {WAIT_S} s\n{self.worker.log()[-3000:]}"
            )
            await asyncio.sleep(_LOOK_EVERY_S)
        self.worker.kill()

    # ------------------------------------------------------------ the log

    def log(self) -> list[Entry]:
        """Every event, lane by lane in order; what is private stays sealed."""
        found = []
        for lane in range(self.one.settings.lanes):
            rows = self._database.execute(
                f"SELECT notification_id, originator_version, topic, state FROM lane_{lane:03d}.stored_events ORDER BY 1"
            )
            found += [Entry(lane, at, version, _CODEC.decode(name, bytes(stored), _no_key))
                      for at, version, name, stored in rows]  # fmt: skip
        return found

    def events(self, distribution: str = MAIN) -> list[Event]:
        """The events of a distribution so far."""
        return [entry.event for entry in self.log() if entry.stream == self.room(distribution)]

    def jtis(self, distribution: str = MAIN) -> dict[str, str]:
        """The newest grant of each fan who was ever granted one."""
        granted = (e.grants for e in self.events(distribution) if e.NAME == "distribution.granted.v1")
        return {grant.participant: grant.jti for grants in granted for grant in grants}

    async def quiet(self, idle: Callable[[], Awaitable[bool]] | None = None) -> None:
        """Until every command and telling is decided, no timer is due, and `idle` has nothing more to do."""
        deadline_s, before = time.monotonic() + WAIT_S, -1
        while True:
            log = self.log()
            open = self._open(log)
            if not open and before == len(log) and (idle is None or await idle()):
                self.seen = Counter(e.event.NAME for e in log if e.stream == self.room())
                return
            before = len(log)
            assert self.worker.running, self.worker.log()[-3000:]
            assert time.monotonic() < deadline_s, f"still open: {open[:5]}\n{self.worker.log()[-3000:]}"
            await asyncio.sleep(_REST_S)

    def _open(self, log: list[Entry]) -> list[Any]:
        decided = {entry.key for entry in log}
        open: list[Any] = [key for key in (*self.published, *told(log)) if key not in decided]
        for lane in range(self.one.settings.lanes):
            query = f"SELECT stream, timer FROM lane_{lane:03d}.timers WHERE due_ms <= %s"
            open += self._database.execute(query, (int(time.time() * 1_000),)).fetchall()
        return open

    async def ends(self) -> Evidence:
        """Stop the worker once its followers have followed, and collect what is left."""
        await self.one.until(self._followed, "followed", 15)
        assert self.worker.terminate() == 0
        log = self.log()
        self._database.close()
        topic = self.one.settings.topic("commands")
        before = await self.one.ends(topic)
        report = await replay(self.one.settings, verify=True)
        stages = {}
        for record in await self.one.read("snapshots"):
            text = (record.key or b"").decode()
            if text.endswith(f"/experience:{ID}") and record.value is not None:
                stages[text.split("/")[2]] = record.json["view"]["sequenceStage"]
        return Evidence(
            log, self.published, await self.one.read("outcomes"), stages, self.one.dead_letters(), self.deaths,
            report, before, await self.one.ends(topic),
        )  # fmt: skip

    def _followed(self) -> bool:
        for lane in range(self.one.settings.lanes):
            positions = dict(
                self._database.execute(f"SELECT name, at FROM lane_{lane:03d}.positions").fetchall()
            )
            if any(positions[f"out:{name}"] < positions["log"] for name in _FOLLOWERS):
                return False
        return True


def room_of(distribution: str, mechanism: str) -> str:
    """Where a distribution of the show stands."""
    return distribution_stream("acme", ID, distribution, mechanism).text


def told(log: Iterable[Entry]) -> set[Key]:
    """The key of every command that streams told each other: each has to be decided, once."""
    return {
        (one.stream, TELLING_SOURCE, f"{entry.stream}/{entry.version}/{index}")
        for entry in log
        if entry.event.TELLS
        for index, one in enumerate(entry.event.tells())
    }


def decisions(log: Iterable[Entry]) -> Counter[Key]:
    """How often each key was decided."""
    return Counter(entry.key for entry in log if entry.envelope.index == 0 and not entry.of_lane)


def by_stream(log: Iterable[Entry]) -> dict[str, list[Entry]]:
    found: dict[str, list[Entry]] = defaultdict(list)
    for entry in log:
        found[entry.stream].append(entry)
    return found


def document(distributions: Mapping[str, Any], waitlist: str) -> Any:
    """The experience's document: everybody is routed to the same sequence."""
    sequence = {"id": "only", "name": "Only", "distribution": MAIN}
    if waitlist:
        sequence = {**sequence, "distribution": "behind", "waitlist": waitlist}
    made = {
        "kind": "experience",
        "id": ID,
        "name": "A drop",
        "sequences": [sequence],
        "distributions": dict(distributions),
    }
    prepared = EXPERIENCE.prepare(made, "0" * 32)
    assert not [p for p in definitions.check(prepared) if p.severity == "error"]
    return prepared


async def performed(
    servers: embedded.Servers,
    dsn: str,
    topic_prefix: str,
    log_path: Path,
    distributions: Mapping[str, Any],
    play: Callable[[Show], Awaitable[None]],
) -> Evidence:
    """The evidence of a play on a new installation."""
    settings = {"lanes": 3, "session_timeout_ms": 3_000, "consumer_group": f"{topic_prefix}group"}
    async with world(servers.bootstrap, dsn, topic_prefix, kinds=KINDS, **settings) as one:
        waitlist = MAIN if distributions[MAIN]["mechanism"] == "waitlist" else ""
        one.publish(ID, document=document(distributions, waitlist), kind="experience")
        # Snapshots are written as late as in production: a death finds some that are not written yet.
        environment = environment_of(
            servers,
            topic_prefix=topic_prefix,
            DATABASE_URL=dsn,
            ORCHESTRATOR_CONSUMER_GROUP=one.settings.consumer_group,
            ORCHESTRATOR_SESSION_TIMEOUT_MS="3000",
            ORCHESTRATOR_HEARTBEAT_INTERVAL_MS="500",
            ORCHESTRATOR_BATCH_COMMANDS="4",  # many small transactions: a death lands between two of them
        )
        with WorkerProcess(environment, log_path, program=("orchestrator.worker_process", "lanes")) as worker:
            show = Show(one, worker, distributions)
            await show.starts()
            await show.all_act(FANS, "start")
            await show.quiet()
            await play(show)
            return await show.ends()


def _no_key(subject: str) -> bytes:
    raise KeyError(subject)
