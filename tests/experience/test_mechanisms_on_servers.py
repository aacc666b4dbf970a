"""Every mechanism through Kafka and PostgreSQL: asked by journeys, operated on, restarted, replayed."""

from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from orchestrator import definitions, embedded
from orchestrator.core.addresses import lane_of
from orchestrator.distributions.fairness.seeds import commitment
from orchestrator.journeys import KINDS
from orchestrator.journeys.experience import EXPERIENCE
from orchestrator.replay.run import replay
from tests.support.world import World, world

SECRET = "5e" * 32
DISTRIBUTIONS: dict[str, dict[str, Any]] = {
    "queue": {"concurrent": 1, "admission": {"valid": "1h"}},
    "draw": {"opens_at": "2026-01-05T10:00:00Z", "closes_at": "2036-01-05T10:00:00Z", "winners": 1, "admission": {"valid": "1h"}},
    "auction": {"style": "english", "start": 1, "increment": 1, "closes_at": "2036-01-05T10:20:00Z", "payment": "5m"},
    "timed_release": {"windows": [{"at": "2026-01-05T10:00:00Z", "quantity": 1}], "hold": "1h"},
    "appointment": {
        "slots": [{"id": "s", "starts_at": "2036-01-05T12:00:00Z", "ends_at": "2036-01-05T13:00:00Z", "capacity": 1}],
        "hold": "5m",
    },
}  # fmt: skip
ENTER: dict[str, tuple[str, dict[str, Any]]] = {
    "queue": ("enter_queue", {}),
    "draw": ("enter_draw", {}),
    "auction": ("enter_auction", {}),
    "timed_release": ("enter_timed_release", {}),
    "appointment": ("enter_appointment", {"slot": "s"}),
}


def document() -> dict[str, Any]:
    """A sequence for each mechanism; a trusted producer says who belongs where."""
    made = {
        "kind": "experience",
        "id": "fair",
        "name": "A fair",
        "trusted_sources": ["tests"],
        "sequences": [
            {
                "id": name,
                "priority": number,
                "when": {"===": [{"var": "attributes.want"}, name]},
                "distribution": f"the-{name}",
                "waitlist": "list",
            }
            for number, name in enumerate(DISTRIBUTIONS)
        ],
        "distributions": {
            **{f"the-{name}": {"mechanism": name, **part} for name, part in DISTRIBUTIONS.items()},
            "list": {"mechanism": "waitlist", "offer": {"valid": "1h"}},
        },
    }
    prepared: dict[str, Any] = EXPERIENCE.prepare(made, "0" * 32)
    assert not [p for p in definitions.check(prepared) if p.severity == "error"]
    return prepared


class Fair:
    """Customers and operators of one experience."""

    def __init__(self, one: World) -> None:
        self.one = one
        self._commands = 0

    async def act(self, customer: str, action: str, **data: Any) -> None:
        await self.one.send(customer, action, data, stream="experience:fair")

    async def operate(self, distribution: str, mechanism: str, command: str, **data: Any) -> None:
        self._commands += 1
        owner = f"acme/r/fair.{distribution}"
        headers = [
            ("ce_specversion", b"1.0"),
            ("ce_id", f"operators-{self._commands}".encode()),
            ("ce_source", b"operators"),
            ("ce_type", command.encode()),
            ("ce_subject", f"{owner}/{mechanism}:fair:{distribution}".encode()),
        ]
        lane = lane_of(owner, self.one.settings.lanes)
        await self.one.put("commands", orjson.dumps(data), owner.encode(), headers, lane)

    async def redeem(self, mechanism: str) -> None:
        """The one grant of this mechanism is used."""
        [jti] = [
            grant[1]
            for r in await self.one.read("events")
            if r.header("ce_type") == "distribution.granted.v1" and r.json["room"]["mechanism"] == mechanism
            for grant in r.json["grants"]
        ]
        await self.operate(f"the-{mechanism}", mechanism, "redeem", jti=jti, reference="order-1")

    async def stages(self) -> dict[str, str]:
        found = {}
        for record in await self.one.read("snapshots"):
            text = (record.key or b"").decode()
            if text.endswith("/experience:fair") and record.value is not None:
                found[text.split("/")[2]] = record.json["view"]["sequenceStage"]
        return found

    async def reach(self, **wanted: str) -> None:
        async def there() -> bool:
            stages = await self.stages()
            return all(stages.get(name) == stage for name, stage in wanted.items())

        await self.one.until(there, f"{wanted}")

    async def split(self, mechanism: str, *stages: str) -> dict[str, str]:
        """Wait until the two customers of a mechanism stand there, whoever where; customer by stage."""
        names = (f"{mechanism}-a", f"{mechanism}-b")

        async def there() -> bool:
            found = await self.stages()
            return sorted(found.get(name, "") for name in names) == sorted(stages)

        await self.one.until(there, f"{mechanism}: {stages}")
        found = await self.stages()
        return {found[name]: name for name in names}


@pytest.fixture
async def fair(servers: embedded.Servers, database: str, topic_prefix: str) -> AsyncIterator[Fair]:
    async with world(servers.bootstrap, database, topic_prefix, kinds=KINDS, snapshot_quiet_ms=100) as one:
        one.publish("fair", document=document(), kind="experience")
        await one.start()
        yield Fair(one)


async def test_every_mechanism_serves_two_customers_who_want_one_place(fair: Fair) -> None:
    """One is admitted and the other isn't, by each mechanism's own rule; a restart and a replay agree with it."""
    one = fair.one
    names = [f"{mechanism}-{letter}" for mechanism in DISTRIBUTIONS for letter in "ab"]
    await fair.operate(
        "the-draw", "draw", "commit", commitment=commitment(bytes.fromhex(SECRET)).hex(), salt_key="7a" * 32
    )
    for name in names:
        await fair.act(name, "start", attributes={"want": name.rpartition("-")[0]})
    await fair.reach(**dict.fromkeys(names, "active_enterable"))
    for name in names:
        action, data = ENTER[name.rpartition("-")[0]]
        await fair.act(name, action, **data)
    await fair.split("queue", "admitted", "participating")
    await fair.split("timed_release", "admitted", "active_enterable")
    await fair.split("appointment", "admitted", "active_enterable")
    await fair.split("draw", "participating", "participating")
    await fair.split("auction", "participating", "participating")

    await one.restart()
    await fair.act("auction-a", "place_bid", amount=3)
    await one.settled()
    await fair.act("auction-b", "place_bid", amount=5)
    await one.settled()
    await fair.operate("the-auction", "auction", "close")
    await fair.reach(**{"auction-b": "admitted", "auction-a": "participating"})  # who bid less may follow
    await fair.redeem("auction")
    await fair.reach(**{"auction-a": "ended"})
    await fair.operate("the-draw", "draw", "close")
    await one.settled()
    await fair.operate("the-draw", "draw", "draw", secret=SECRET)
    await fair.split("draw", "admitted", "participating")
    await fair.redeem("draw")
    await fair.split("draw", "admitted", "ended")

    loser = (await fair.split("appointment", "admitted", "active_enterable"))["active_enterable"]
    await fair.act(loser, "enter_waitlist")
    await fair.reach(**{loser: "waitlist_entered"})
    await fair.operate("list", "waitlist", "promote", count=1)

    async def offered() -> bool:
        told = [r for r in await one.read("events") if r.header("ce_type") == "experience.offered.v1"]
        return loser in {r.header("ce_subject").split("/")[2] for r in told}

    await one.until(offered, "the waitlist offers the place")
    assert not one.dead_letters()
    await one.settled()
    await one.stop()
    report = await replay(one.settings, verify=True)
    assert (report.differences, report.ok) == ([], True)
