"""`email`: any mail relay that can post JSON, in a shape of our own, signed as Standard Webhooks has it.

Checked: `webhook-id`, `webhook-timestamp` (five minutes at most) and `webhook-signature` over the body, under any of the
secrets. The shape is in docs/callbacks.md.
"""

from typing import Any, ClassVar, Literal

import msgspec
from msgspec import Struct
from standardwebhooks import Webhook, WebhookVerificationError

from consumers.callbacks.adapter import Heard, Received, Tools, near
from consumers.callbacks.errors import Forged, Unreadable, Unsigned
from consumers.callbacks.reports import Report, What

_HEADERS = ("webhook-id", "webhook-timestamp", "webhook-signature")


class _Event(Struct, frozen=True, kw_only=True):
    """`time` is in milliseconds since 1970; without it, when it arrived."""

    id: str
    type: Literal["delivered", "opened", "clicked", "bounced", "complained", "unsubscribed"]
    reference: str
    time: int | None = None
    bounce: Literal["hard", "soft"] = "soft"
    url: str = ""


class _Batch(Struct, frozen=True):
    events: list[_Event]


_decoder = msgspec.json.Decoder(_Batch)


class Relay:
    """A batch of events; one without a reference of ours is counted and passed over."""

    name: ClassVar[str] = "email"

    def configured(self, tools: Tools) -> bool:
        return bool(tools.settings.email_secret)

    async def read(self, received: Received, tools: Tools) -> Heard:
        """The reports of a batch. Raises TurnedAway."""
        _verify(received, tools)
        try:
            batch = _decoder.decode(received.body)
        except (msgspec.MsgspecError, RecursionError) as error:
            raise Unreadable(f"{error}; see docs/callbacks.md") from None
        if len(batch.events) > tools.settings.max_events:
            raise Unreadable(f"more than {tools.settings.max_events} events: send them in parts")
        reports = tuple(r for e in batch.events if (r := _report(e, received.now_ms, tools)) is not None)
        return Heard(reports, unmatched=len(batch.events) - len(reports))


def _report(event: _Event, now_ms: int, tools: Tools) -> Report | None:
    reference = tools.reference(event.reference)
    if reference is None:
        return None
    what = What(event.type)
    return Report(
        what=what,
        reference=reference,
        time_ms=now_ms if event.time is None else near(event.time, now_ms),
        id=event.id[:256],
        hard=event.bounce == "hard" and what == What.BOUNCED,
        url=event.url[:2_000],
        by="mail relay",
    )


def _verify(received: Received, tools: Tools) -> None:
    given: dict[str, Any] = {name: received.headers.get(name, "") for name in _HEADERS}
    if not all(given.values()):
        raise Unsigned
    for secret in tools.settings.email_secret.split():
        try:
            Webhook(secret).verify(received.body, given, json_parse=False)
        except (WebhookVerificationError, ValueError):  # ValueError: a header that is no signature at all
            continue
        return
    raise Forged
