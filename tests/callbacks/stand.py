"""A callbacks' server on this machine whose commands go into a list, and callers who sign as providers do."""

import asyncio
import hmac
import time
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha1
from os import urandom
from typing import Any
from urllib.parse import urlencode

import orjson
from aiohttp import ClientResponse, ClientSession
from aiokafka.errors import KafkaConnectionError
from prometheus_client import CollectorRegistry
from standardwebhooks import Webhook

from consumers.actions.base import Headers
from consumers.actions.delivery_settings import DeliverySettings, LinkSettings, TwilioSettings
from consumers.actions.guard import Lookup
from consumers.actions.references import REPORT, Reference, make_reference
from consumers.callbacks import CallbackServer, CallbackSettings
from consumers.callbacks.metrics import CallbackMetrics
from orchestrator.core.addresses import parse_stream
from orchestrator.customers.record import address_hash
from tests.providers.stage import new_key

STREAM = "acme/c/cus-1/flow:welcome"
RECORD = "acme/c/cus-1/customer:profile"
PUBLIC = "https://links.example.com"
MAIL = Reference(
    parse_stream(STREAM),
    "e2-0",
    "welcome_email",
    "email",
    "welcome_email",
    address_hash("email", "anna@example.com"),
)
NUMBER = "+4915112345678"
TEXT = Reference(
    parse_stream(STREAM), "e7-0", "reminder_sms", "sms", "welcome_reminder", address_hash("sms", NUMBER)
)
ABOUT_MAIL = {
    "message": f"{STREAM}/e2-0",
    "effect": "e2-0",
    "action": "welcome_email",
    "channel": "email",
    "template": "welcome_email",
}


@dataclass(frozen=True)
class Sent:
    """A command as it was published."""

    key: str
    headers: dict[str, str]
    data: dict[str, Any]

    @property
    def what(self) -> tuple[str, str, dict[str, Any]]:
        """Subject, type and data."""
        return self.headers["ce_subject"], self.headers["ce_type"], self.data


@dataclass
class Bus:
    """Where commands go. `away`: Kafka isn't there; `hangs`: it never answers."""

    sent: list[Sent] = field(default_factory=list)
    away: bool = False
    hangs: bool = False

    async def produce(self, topic: str, *, key: bytes | None, value: bytes, headers: Headers) -> None:
        assert topic == "journeys.commands"
        if self.hangs:
            await asyncio.Event().wait()
        if self.away:
            raise KafkaConnectionError
        found = {name: text.decode() for name, text in headers}
        self.sent.append(Sent((key or b"").decode(), found, orjson.loads(value)))

    @property
    def events(self) -> list[tuple[str, dict[str, Any]]]:
        """Type and payload of what journeys hear."""
        return [(s.data["type"], s.data["payload"]) for s in self.sent if s.headers["ce_type"] == "event"]

    @property
    def to_record(self) -> list[tuple[str, dict[str, Any]]]:
        """Type and data of what the customer's record is told."""
        return [(s.headers["ce_type"], s.data) for s in self.sent if s.headers["ce_subject"] == RECORD]


class Book:
    """An address book in memory."""

    def __init__(self, *references: Reference, away: bool = False) -> None:
        self.references = list(references)
        self.away = away

    async def remember(self, reference: Reference) -> None:
        if self.away:
            raise OSError
        self.references.append(reference)

    async def find(self, channel: str, address_hash: str) -> Sequence[Reference]:
        if self.away:
            raise OSError
        return [r for r in self.references if (r.channel, r.address_hash) == (channel, address_hash)]


@dataclass
class Stand:
    """A server at work; `url` is where this machine reaches it."""

    bus: Bus
    http: ClientSession
    server: CallbackServer
    registry: CollectorRegistry
    keys: str
    email_secret: str
    auth_token: str

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server.port}{path}"

    def token(self, reference: Reference = MAIL) -> str:
        """What a provider gives back with a report."""
        return make_reference(reference, REPORT, self.keys)

    def counted(self, provider: str, result: str) -> float:
        labels = {"provider": provider, "result": result}
        return self.registry.get_sample_value("journey_callbacks_total", labels) or 0.0

    def reported(self, provider: str, what: str) -> float:
        labels = {"provider": provider, "what": what}
        return self.registry.get_sample_value("journey_callback_reports_total", labels) or 0.0

    async def status(self, method: str, path: str, **options: Any) -> int:
        async with self.http.request(method, self.url(path), allow_redirects=False, **options) as answer:
            return answer.status

    async def twilio(
        self, form: Mapping[str, str], query: str = "", *, token: str = "", base: str = PUBLIC
    ) -> ClientResponse:
        """A form post signed as Twilio does."""
        target = f"/callbacks/twilio{query}"
        signature = twilio_signature(base + target, form, token or self.auth_token)
        return await self.http.post(
            self.url(target),
            data=urlencode(form),
            headers={
                "Content-Type": "application/x-www-form-urlencoded",
                "X-Twilio-Signature": signature,
            },
        )

    async def relay(
        self, body: Any, *, secret: str = "", age_s: float = 0, changed: bytes = b"", id: str = "msg-1"
    ) -> ClientResponse:
        """A batch signed as Standard Webhooks has it."""
        text = body if isinstance(body, bytes) else orjson.dumps(body)
        at = datetime.fromtimestamp(time.time() - age_s, UTC)
        signature = Webhook(secret or self.email_secret).sign(id, at, text.decode())
        return await self.http.post(
            self.url("/callbacks/email"),
            data=changed or text,
            headers={
                "webhook-id": id,
                "webhook-timestamp": str(int(at.timestamp())),
                "webhook-signature": signature,
            },
        )


def twilio_signature(url: str, form: Mapping[str, str], token: str) -> str:
    """X-Twilio-Signature of a form post."""
    text = url + "".join(name + form[name] for name in sorted(form))
    return b64encode(hmac.new(token.encode(), text.encode(), sha1).digest()).decode()


def new_secret() -> str:
    return "whsec_" + b64encode(urandom(24)).decode()


@asynccontextmanager
async def stand(
    *, book: Book | None = None, lookup: Lookup | None = None, delivery: Any = None, **settings: Any
) -> AsyncIterator[Stand]:
    """A server with secrets of its own; `settings` are CallbackSettings'."""
    keys, secret, auth_token = new_key(), new_secret(), new_key()
    bus, registry = Bus(), CollectorRegistry()
    accounts = delivery or DeliverySettings(
        links=LinkSettings(base_url=PUBLIC, keys=keys),
        twilio=TwilioSettings(account_sid="AC1", auth_token=auth_token),
    )
    server = CallbackServer(
        CallbackSettings(**{"port": 0, "email_secret": secret, **settings}),
        accounts,
        commands_topic="journeys.commands",
        addresses=book,
        metrics=CallbackMetrics(registry),
        lookup=lookup,
    )
    async with server.running(bus.produce), ClientSession() as http:
        yield Stand(bus, http, server, registry, keys, secret, auth_token)
