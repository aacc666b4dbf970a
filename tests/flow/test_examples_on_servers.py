"""The example flows as they are published, walked to each end on real servers; only the lanes' clock runs ahead."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from aiohttp import web

from orchestrator import definitions, embedded
from orchestrator.journeys import KINDS
from orchestrator.messages import TEMPLATE
from tests.effects.receiver import Receiver, receiver
from tests.providers.mail_server import Mailbox, mail_server
from tests.support.clock import Clock
from tests.support.world import World, world

EXAMPLES = Path(__file__).parents[2] / "examples"
HOUR_MS, DAY_MS = 3_600_000, 86_400_000
REFUSED = "+15005550009"  # by the text messages' provider
TOPIC = "cart.reminders"


class Town:
    """An installation with every example published, a mail server, a provider of text messages, and a clock."""

    def __init__(self, one: World, mails: Mailbox, texts: Receiver, clock: Clock) -> None:
        self.one = one
        self.mails = mails
        self.texts = texts
        self.clock = clock

    async def known(self, customer: str, *, phone: str = "+15005550010", **told: Any) -> None:
        """A customer with addresses, who agreed to be reached unless `told` otherwise."""
        attributes = {"email": f"{customer}@example.com", "phone": phone, "first_name": customer.title()}
        attributes |= told.get("attributes", {})
        await self.one.send(customer, "identify", {"attributes": attributes}, stream="customer:profile")
        for channel in ("email", "sms"):
            granted = told.get(channel, True)
            data = {"channel": channel, "granted": granted}
            await self.one.send(customer, "consent", data, stream="customer:profile")

    async def start(self, customer: str, flow: str, **context: Any) -> None:
        await self.one.send(customer, "start", {"context": context} if context else {}, stream=f"flow:{flow}")

    async def states(self, flow: str) -> dict[str, str]:
        """The label of each customer's newest run."""
        found = {}
        for record in await self.one.read("snapshots"):
            text = (record.key or b"").decode()
            if text.endswith(f"/flow:{flow}") and record.value is not None:
                found[text.split("/")[2]] = record.json["state"]
        return found

    async def reach(self, flow: str, **wanted: str) -> None:
        """Wait until these customers' runs stand there."""

        async def there() -> bool:
            states = await self.states(flow)
            return all(states.get(name, "").startswith(state) for name, state in wanted.items())

        await self.one.until(there, f"{flow}: {wanted}")

    async def pass_time(self, ms: int) -> None:
        self.clock.ahead_ms += ms

    async def results(self, flow: str) -> dict[str, tuple[str, str]]:
        """State and result (or reason) of each customer's ended run."""
        found = {}
        for record in await self.one.read("events"):
            subject = record.header("ce_subject")
            if record.header("ce_type") == "flow.run_ended.v1" and subject.endswith(f"/flow:{flow}"):
                event = record.json
                found[subject.split("/")[2]] = (
                    event["state"],
                    event.get("result") or event.get("reason", ""),
                )
        return found

    async def end(self, flow: str, *, hours: int = 0, **wanted: tuple[str, str]) -> None:
        """Wait for these endings, with hours passing until they come."""

        async def ended() -> bool:
            found = await self.results(flow)
            if all(found.get(name) == end for name, end in wanted.items()):
                return True
            if hours and not await self.busy(flow):
                self.clock.ahead_ms += hours * HOUR_MS
            return False

        await self.one.until(ended, f"{flow}: {wanted}")

    async def busy(self, flow: str) -> bool:
        """Whether any run stands at an action: hours must not pass while a provider is being asked."""
        return any(state.startswith("IN_PROGRESS") for state in (await self.states(flow)).values())


async def sms_provider(request: web.Request) -> web.Response:
    to = parse_qs((await request.read()).decode())["To"][0]
    if to == REFUSED:
        error = {"code": 21211, "message": "invalid", "more_info": "", "status": 400}
        return web.Response(status=400, body=json.dumps(error).encode())
    taken = {"sid": "SM" + "1" * 32, "status": "queued", "error_code": None, "to": to}
    return web.Response(status=201, body=json.dumps(taken).encode())


@pytest.fixture
async def town(
    servers: embedded.Servers, database: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Town]:
    clock = Clock(monkeypatch)
    async with (
        mail_server() as mails,
        receiver(sms_provider) as texts,
        world(
            servers.bootstrap, database, topic_prefix, kinds=KINDS,
            snapshot_quiet_ms=100, effects_publish_topics=(TOPIC,),
        ) as one,
    ):  # fmt: skip
        for name, value in {
            "SMTP_HOST": "127.0.0.1", "SMTP_PORT": str(mails.port), "SMTP_SECURITY": "none",
            "SMTP_SENDER": "shop@example.com", "TWILIO_ACCOUNT_SID": "AC" + "0" * 32, "TWILIO_AUTH_TOKEN": "t0ken",
            "TWILIO_SENDER": "+15005550006", "TWILIO_BASE_URL": texts.url(""),
        }.items():  # fmt: skip
            monkeypatch.setenv(f"ORCHESTRATOR_{name}", value)
        publish_examples(one)
        one.role = "all"
        await one.start()
        yield Town(one, mails, texts, clock)


def publish_examples(one: World) -> None:
    for folder in ("customers", "templates", "campaigns", "flow"):
        for file in sorted((EXAMPLES / folder).glob("*.yaml")):
            document = definitions.load(file.read_bytes())
            if document["kind"] == TEMPLATE.name:
                if "email" in document:
                    document["email"].pop("list_unsubscribe", None)  # there is no page here
                document = TEMPLATE.prepare(document)
            one.publish(document["id"], document=document, kind=document["kind"])


async def test_each_way_through_the_welcome(town: Town) -> None:
    """Opened: points. Not opened: a text in the daytime. Refused, closed, not agreed: their own ends. Nobody twice."""
    for name, told in {
        "anna": {},
        "bert": {},
        "cora": {"email": False},
        "dora": {},
        "emil": {"phone": REFUSED},
    }.items():
        await town.known(name, **told)
        await town.one.send(name, "award", {"points": 1, "reason": "x"}, stream="points:ledger")
    await town.one.settled()
    for name in ("anna", "bert", "cora", "dora", "emil"):
        await town.start(name, "welcome")
    waiting = dict.fromkeys(("anna", "bert", "dora", "emil"), "WAITING one_day")
    await town.reach("welcome", **waiting)
    await town.one.raw("anna", "EMAIL_OPENED", 1, "opened")
    await town.one.raw("dora", "ACCOUNT_CLOSED", 1, "closed")
    await town.one.settled()
    await town.pass_time(DAY_MS)
    await town.end(
        "welcome",
        hours=4,
        anna=("COMPLETED", "engaged"),
        bert=("COMPLETED", "reminded"),
        cora=("COMPLETED", "unreached"),
        dora=("CANCELLED", "account_closed"),
        emil=("COMPLETED", "unreached"),
    )
    assert sorted(m["To"] for m in town.mails.mails) == [
        f"{name}@example.com" for name in ("anna", "bert", "dora", "emil")
    ]
    assert len(town.texts.calls) == 2, "one text taken, one refused"
    assert not town.one.dead_letters()


async def test_each_way_through_the_retention(town: Town) -> None:
    """At high risk an offer and a campaign, else a thank-you in points; leaving the segment ends it."""
    for name, risk in {"fred": 0.9, "gina": 0.1, "hugo": 0.9}.items():
        await town.known(name, email=name != "hugo", attributes={"churn_risk": risk})
    await town.one.settled()
    for name in ("fred", "gina", "hugo"):
        await town.one.send(name, "segment.entered", {"segment": "at-risk"}, stream="flow:retention")
    await town.end(
        "retention",
        fred=("COMPLETED", "approached"),
        gina=("COMPLETED", "thanked"),
        hugo=("COMPLETED", "approached"),
    )
    assert "fred@example.com" in {m["To"] for m in town.mails.mails}
    balance = [
        r.json["balance"] for r in await town.one.read("events") if r.header("ce_type") == "points.awarded.v1"
    ]
    assert balance == [50]


async def test_each_way_through_the_abandoned_cart(town: Town) -> None:
    """Two reminders and given up, an order that ends it, and the holdout that is only watched."""
    customers = [f"cus-{n}" for n in range(24)]
    for name in customers:
        await town.one.raw(name, "ITEM_ADDED_TO_CART", 1, f"cart-{name}")
    await town.reach("cart-abandonment", **dict.fromkeys(customers, "WAITING an_hour"))
    ordered = customers[0]
    await town.one.raw(ordered, "ORDER_PLACED", 1, "order")
    await town.one.settled()

    async def all_ended() -> bool:
        found = await town.results("cart-abandonment")
        if len(found) == len(customers):
            return True
        if not await town.busy("cart-abandonment"):
            town.clock.ahead_ms += 2 * HOUR_MS
        return False

    await town.one.until(all_ended, "every run has ended", 120)
    found = await town.results("cart-abandonment")
    assert found[ordered] == ("CANCELLED", "ordered")
    others = {found[name] for name in customers[1:]}
    assert others == {("COMPLETED", "abandoned"), ("COMPLETED", "holdout")}
    abandoned = [name for name, end in found.items() if end == ("COMPLETED", "abandoned")]
    reminders = [r.json["params"]["value"] for r in await town.one.read("effects")]
    assert sorted((r["customer"], r["reminder"]) for r in reminders) == sorted(
        (name, n) for name in abandoned for n in (1, 2)
    )
