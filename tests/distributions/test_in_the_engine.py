"""A distribution in the engine's own lanes: asked and answered by streams, rebuilt from its log, never half changed."""

from collections.abc import Iterator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, ClassVar, cast

import pytest

from orchestrator import embedded
from orchestrator.core.addresses import lane_of
from orchestrator.core.decider import Facts
from orchestrator.core.errors import LaneStopped, Rejected
from orchestrator.core.events import Event, Told
from orchestrator.core.messages import TELLING_SOURCE
from orchestrator.core.resource import Summary
from orchestrator.distributions.base import Ask, Distribution, Operate, Room
from orchestrator.engine import frames
from projections.journeys import Journeys
from tests.support.lanes import FakeRecord, Installation, LaneHarness, until
from tests.support.toy import TOY
from tests.support.world import World, world

ROOM = "acme/r/shoes.main/counter:shoes:main"


class Prepared(Event, frozen=True):
    NAME: ClassVar[str] = "counter.prepared.v1"
    room: Room
    most: int


class Entered(Event, frozen=True):
    NAME: ClassVar[str] = "counter.entered.v1"
    TELLS: ClassVar[bool] = True
    room: Room
    participant: str
    at_ms: int

    def tells(self) -> Sequence[Told]:
        return (self.room.told(self.participant, "entered", self.at_ms, participation=self.participant),)


class Broken(Event, frozen=True):
    NAME: ClassVar[str] = "counter.broken.v1"


class Inside:
    """Changed in place."""

    def __init__(self, event: Prepared) -> None:
        self.room = event.room
        self.most = event.most
        self.names: list[str] = []


class Counter(Distribution):
    """Lets in so many."""

    name = "counter"
    mechanism_events = (Prepared, Entered, Broken)
    operations = frozenset({"break"})

    def compile_config(self, document: Mapping[str, Any]) -> int:
        return int(document["most"])

    def prepare(self, room: Room, config: int, facts: Facts) -> Sequence[Event]:
        return (Prepared(room, config),)

    def ask(self, state: Inside, participant: str, ask: Ask, facts: Facts) -> Sequence[Event]:
        if len(state.names) == state.most:
            raise Rejected("counter.full", most=state.most)
        return (Entered(state.room, participant, facts.now_ms),)

    def operate(self, state: Inside, command: Operate, facts: Facts) -> Sequence[Event]:
        return (Broken(),)

    def evolve(self, state: Inside | None, event: Event) -> Inside | None:
        match event:
            case Prepared():
                return Inside(event)
            case Entered():
                cast("Inside", state).names.append(event.participant)
            case Broken():
                raise RuntimeError("no state can follow")
        return state

    def deadline_ms(self, state: Any, timer: str) -> int | None:
        return None

    def capture(self, state: Inside) -> Summary:
        return Summary("open", {"inside": len(state.names)})


COUNTER = Counter()


class Experience(type(TOY)):  # type: ignore[misc]
    """Stands in for the kind whose documents describe distributions."""

    name = "experience"

    def compile(self, document: Mapping[str, Any]) -> Any:
        config = SimpleNamespace(mechanism="counter", config=COUNTER.compile_config(document))
        return SimpleNamespace(distributions={"main": config})


KINDS = (Experience(), COUNTER)
DOCUMENTS = (("experience", "shoes", {"most": 3}),)


@pytest.fixture
def installation(database: str) -> Iterator[Installation]:
    made = Installation(database, kinds=KINDS, documents=DOCUMENTS)
    yield made
    made.close()


def asked(harness: LaneHarness, participant: str, kind: str = "enter", number: int = 1) -> FakeRecord:
    """What a journey of the experience tells the counter."""
    harness._offset += 1
    harness.now_ms += 1
    made = (
        ("ce_id", f"acme/c/{participant}/experience:shoes/{number}/0".encode()),
        ("ce_source", TELLING_SOURCE.encode()),
        ("ce_type", kind.encode()),
        ("ce_subject", ROOM.encode()),
    )
    return FakeRecord(
        "journeys.commands", 0, harness._offset, harness.now_ms, b"acme/r/shoes.main", b"{}", made
    )


async def handle(harness: LaneHarness, *records: FakeRecord) -> list[Event]:
    committed = await harness.lane.handle("journeys.commands", records, raw=False)
    harness.feed(committed)
    return [r.envelope.data for r in committed.events]


async def test_a_distribution_is_rebuilt_from_its_log(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new owner reads it page by page and stands where the old one stood: who was inside counts, repeats are repeats."""
    monkeypatch.setattr(frames, "_PAGE_EVENTS", 2)
    first = await installation.lane()
    await handle(first, *(asked(first, name) for name in ("anna", "bert")))
    second = await installation.lane()
    events = await handle(
        second, asked(second, "anna"), asked(second, "cora"), asked(second, "dora"), asked(second, "dora")
    )
    told = [t for e in events if e.TELLS for t in e.tells()]
    assert [(t.stream, t.type) for t in told] == [
        ("acme/c/cora/experience:shoes", "distribution.entered"),
        ("acme/c/dora/experience:shoes", "distribution.refused"),
    ]
    assert told[-1].data["reason"] == "counter.full"


async def test_its_row_is_looked_at_and_never_restored_from(installation: Installation) -> None:
    """The read model shows a distribution as it was captured, and whoever loads it reads the log all the same."""
    lane = await installation.lane()
    journeys = Journeys(lane.lane, growth_events=1, quiet_ms=10, dirty_max=lambda: 10)
    async with lane.following(journeys):
        await handle(lane, asked(lane, "anna"))
        await until(lambda: journeys.lag_events == 0, "the row is written")
    [row] = installation.databases.main.rows("SELECT label, fold_version, version FROM lane_000.journeys")
    assert (row["label"], row["fold_version"], row["version"]) == ("open", 0, 3)
    second = await installation.lane()
    [event] = await handle(second, asked(second, "bert"))
    assert isinstance(event, Entered)


async def test_a_state_that_cannot_follow_stops_the_lane(installation: Installation) -> None:
    """What is changed in place can't be taken back: nothing of the batch is kept, and the lane says so."""
    lane = await installation.lane()
    await handle(lane, asked(lane, "anna"))
    with pytest.raises(LaneStopped, match="can't follow"):
        await handle(lane, asked(lane, "bert"), asked(lane, "x", "break"))
    again = await installation.lane()
    [event] = await handle(again, asked(again, "bert"))
    assert isinstance(event, Entered), "bert's first ask was never committed"


async def test_whoever_is_no_participant_is_refused(installation: Installation) -> None:
    """Only journeys of the experience ask in a customer's name; a producer that tries is answered with a rejection."""
    lane = await installation.lane()
    record = asked(lane, "anna")
    headers = tuple((n, b"shop" if n == "ce_source" else v) for n, v in record.headers)
    events = await handle(lane, record._replace(headers=headers))
    assert type(events[-1]).__name__ == "CommandRejected"
    assert events[-1].rule == "distribution.not_a_participant"  # type: ignore[attr-defined]


@pytest.fixture
async def one(servers: embedded.Servers, database: str, topic_prefix: str) -> Any:
    async with world(servers.bootstrap, database, topic_prefix, kinds=KINDS) as made:
        yield made


async def test_an_ask_is_answered_to_the_journey_that_asked(one: World) -> None:
    """Through Kafka and back: what a distribution tells arrives as a command in the participant's own stream."""
    one.publish("shoes", document={"most": 1}, kind="experience")
    await one.start()
    journey = "acme/c/anna/experience:shoes"
    headers = [
        ("ce_id", f"{journey}/1/0".encode()),
        ("ce_source", TELLING_SOURCE.encode()),
        ("ce_type", b"enter"),
        ("ce_subject", ROOM.encode()),
    ]
    lane = lane_of("acme/r/shoes.main", one.settings.lanes)
    await one.put("commands", b"{}", b"acme/r/shoes.main", headers, lane)

    async def answered() -> Any:
        found = [r for r in await one.read("commands") if r.header("ce_subject") == journey]
        return found or None

    [answer] = await one.until(answered, "answered")
    assert (answer.header("ce_type"), answer.json["participation"]) == ("distribution.entered", "anna")
    assert answer.header("ce_id") == f"{ROOM}/3/0"
