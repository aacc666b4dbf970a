"""Shop traffic: who comes, what they look at, who buys; the same for the same seed. Nothing here is sent."""

import heapq
import random
from bisect import bisect
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import accumulate
from typing import Any, NamedTuple

import msgspec

from orchestrator.core.addresses import customer
from orchestrator.engine.inbound import RAW_SOURCE
from orchestrator.feeding import Message

ORGANIZATION = "shop"
DEFINITION = "lifecycle:shop"
CRM_SOURCE = "crm"
SPAN_MS = 6 * 3_600_000  # the time that one run pretends to cover
_REPEATED, _MALFORMED, _BY_CRM = 0.05, 0.002, 0.01
_RECENT = 200  # a repeat comes this many messages later at most
_ZIPF = 0.7
_EVENTS_A_SESSION = 7.5  # about; sets how many sessions begin in a run's span
_encode = msgspec.json.encode

# What a visitor does next, and how often; None ends the session. Think times are seconds on average.
_FUNNEL: dict[str, tuple[tuple[float, str | None, float], ...]] = {
    "USER_CREATED": ((0.6, "PROFILE_COMPLETED", 60), (0.3, "PRODUCT_VIEWED", 30), (0.1, None, 0)),
    "PROFILE_COMPLETED": ((0.85, "PRODUCT_VIEWED", 20), (0.15, None, 0)),
    "EMAIL_OPENED": ((0.7, "PRODUCT_VIEWED", 15), (0.3, None, 0)),
    "PRODUCT_VIEWED": ((0.68, "PRODUCT_VIEWED", 40), (0.17, "ITEM_ADDED_TO_CART", 25), (0.15, None, 0)),
    "ITEM_ADDED_TO_CART": ((0.45, "PRODUCT_VIEWED", 30), (0.4, "CHECKOUT_STARTED", 45), (0.15, None, 0)),
    "CHECKOUT_STARTED": ((0.8, "PAYMENT_STARTED", 60), (0.12, "CHECKOUT_CANCELLED", 30), (0.08, None, 0)),
    "PAYMENT_STARTED": ((0.82, "PAYMENT_SUCCESSFUL", 20), (0.13, "PAYMENT_FAILED", 25), (0.05, None, 0)),
    "PAYMENT_FAILED": ((0.7, "PAYMENT_STARTED", 40), (0.3, None, 0)),
    "PAYMENT_SUCCESSFUL": ((0.95, "ORDER_PLACED", 2), (0.05, None, 0)),
    "CHECKOUT_CANCELLED": ((0.5, "PRODUCT_VIEWED", 60), (0.5, None, 0)),
    "ORDER_PLACED": ((0.2, "PRODUCT_VIEWED", 120), (0.8, None, 0)),
}
_FIRST = ((0.75, "PRODUCT_VIEWED"), (0.15, "EMAIL_OPENED"), (0.10, "ITEM_ADDED_TO_CART"))


class Visit(NamedTuple):
    """One customer's session; `step` counts its events."""

    customer: str
    session: str
    device: str
    source: str
    step: int


def sessions(seed: int, commands: int, start_ms: int = 0) -> Iterator[Message]:
    """Exactly `commands` messages in the order they occur: raw events of sessions that overlap, some commands of a
    back office, 5 % repeats of recent messages, 0.2 % malformed. `start_ms` is when the first session begins.
    """
    chance = random.Random(seed)  # noqa: S311  traffic, no secret
    fresh = _with_back_office(chance, _visits(chance, commands, start_ms, f"{seed:x}"), f"{seed:x}")
    recent: list[Message] = []
    for number in range(commands):
        dice = chance.random()
        if dice < _REPEATED and recent:
            yield chance.choice(recent)
            continue
        if dice < _REPEATED + _MALFORMED:
            yield _malformed(chance, f"{seed:x}-bad-{number}", number)
            continue
        message = next(fresh)
        recent.append(message)
        if len(recent) > _RECENT:
            del recent[0]
        yield message


def _visits(
    chance: random.Random, commands: int, start_ms: int, run: str
) -> Iterator[tuple[int, str, Message]]:
    """Raw events by time: when, whose, what. Endless."""
    crowd = max(20, commands // 8)
    ranks = list(accumulate(1 / rank**_ZIPF for rank in range(1, crowd + 1)))
    gap_ms = SPAN_MS * _EVENTS_A_SESSION / max(1, commands)
    begins_ms = float(start_ms)
    under_way: list[tuple[int, int, str, Visit]] = []
    count = 0
    while True:
        while not under_way or under_way[0][0] >= begins_ms:
            rank = bisect(ranks, chance.random() * ranks[-1])
            device = chance.choices(("mobile", "desktop", "tablet"), (6, 3, 1))[0]
            source = chance.choices(("search", "newsletter", "direct", "social"), (4, 2, 3, 1))[0]
            visit = Visit(f"customer-{rank + 1:05d}", f"{run}-{count}", device, source, 0)
            first = "USER_CREATED" if chance.random() < 0.12 else _pick(chance, _FIRST)
            heapq.heappush(under_way, (int(begins_ms), count, first, visit))
            count += 1
            begins_ms += chance.expovariate(1 / gap_ms)
        at_ms, order, event, visit = heapq.heappop(under_way)
        yield at_ms, visit.customer, _raw_event(chance, visit, event, at_ms)
        dice = chance.random()
        for share, following, think_s in _FUNNEL[event]:
            dice -= share
            if dice < 0:
                if following is not None:
                    later_ms = at_ms + 1 + int(chance.expovariate(1 / think_s) * 1000)
                    heapq.heappush(
                        under_way, (later_ms, order, following, visit._replace(step=visit.step + 1))
                    )
                break


def _with_back_office(
    chance: random.Random, visits: Iterator[tuple[int, str, Message]], run: str
) -> Iterator[Message]:
    """Now and then a service tells a journey something about its customer."""
    for number, (at_ms, customer_id, message) in enumerate(visits):
        yield message
        if chance.random() < _BY_CRM:
            data = {"context": {"metadata.source": chance.choice(("search", "newsletter", "direct"))}}
            yield addressed(customer_id, "set_context", f"{run}-crm-{number}", data, at_ms)


def _raw_event(chance: random.Random, visit: Visit, event: str, at_ms: int) -> Message:
    payload: dict[str, Any] = {}
    if event in {"PRODUCT_VIEWED", "ITEM_ADDED_TO_CART"}:
        payload = {"sku": f"sku-{chance.randint(1, 500)}", "price": chance.randint(199, 19_999) / 100}
    elif event == "USER_CREATED":
        payload = {"source": visit.source, "deviceType": visit.device}
    elif event in {"PAYMENT_SUCCESSFUL", "ORDER_PLACED"}:
        payload = {"total": chance.randint(999, 49_999) / 100}
    key = f"{visit.session}-{visit.step}"
    value = {
        "eventId": key, "userId": visit.customer, "sessionId": visit.session, "type": event, "payload": payload,
        "timestamp": at_ms, "idempotencyKey": key,
    }  # fmt: skip
    owner = customer(ORGANIZATION, visit.customer).text
    return Message("raw", owner.encode(), _encode(value), _ORGANIZATION, (RAW_SOURCE, key))


def addressed(customer_id: str, command: str, command_id: str, data: dict[str, Any], at_ms: int) -> Message:
    """A command to the shop journey of a customer, from the back office."""
    owner = customer(ORGANIZATION, customer_id).text
    headers = _headers(
        id=command_id, source=CRM_SOURCE, type=command, subject=f"{owner}/{DEFINITION}", time=rfc3339(at_ms)
    )
    return Message("commands", owner.encode(), _encode(data), headers, (CRM_SOURCE, command_id))


def _malformed(chance: random.Random, command_id: str, number: int) -> Message:
    """One of the ways in which producers go wrong; an outcome follows only where source and id can be read."""
    who = f"customer-{chance.randint(1, 20):05d}"
    owner = customer(ORGANIZATION, who).text
    key = owner.encode()
    event = {
        "userId": who,
        "type": "PRODUCT_VIEWED",
        "payload": {},
        "idempotencyKey": command_id,
        "timestamp": 0,
    }
    subject = f"{owner}/{DEFINITION}"
    match number % 6:
        case 0:
            return Message("raw", key, _encode(event)[:-9], _ORGANIZATION, None)  # cut off
        case 1:
            del event["idempotencyKey"]
            return Message("raw", key, _encode(event), _ORGANIZATION, None)
        case 2:
            event["type"] = "NO_SUCH_EVENT"
            return Message("raw", key, _encode(event), _ORGANIZATION, (RAW_SOURCE, command_id))
        case 3:
            headers = _headers(id=command_id, source=CRM_SOURCE, type="no_such_command", subject=subject)
            return Message("commands", key, b"{}", headers, (CRM_SOURCE, command_id))
        case 4:
            headers = _headers(
                id=command_id,
                source=CRM_SOURCE,
                type="event",
                subject=subject.replace(":shop", ":no-such-shop"),
            )
            return Message("commands", key, b'{"type":"PRODUCT_VIEWED"}', headers, (CRM_SOURCE, command_id))
        case _:
            return Message(
                "commands", key, b"\xff\xfe not JSON", _headers(type="event", subject=subject), None
            )


def rfc3339(ms: int) -> str:
    """UTC, to the millisecond."""
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _headers(**attributes: str) -> tuple[tuple[str, bytes], ...]:
    given = tuple((f"ce_{name}", value.encode()) for name, value in attributes.items())
    return (("ce_specversion", b"1.0"), *given, ("content-type", b"application/json"))


def _pick(chance: random.Random, shares: tuple[tuple[float, str], ...]) -> str:
    return chance.choices([name for _, name in shares], [share for share, _ in shares])[0]


_ORGANIZATION = (("ce_organization", ORGANIZATION.encode()),)
