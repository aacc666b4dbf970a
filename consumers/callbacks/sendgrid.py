"""SendGrid's Event Webhook.

Checked: `X-Twilio-Email-Event-Webhook-Signature`, an ECDSA signature (P-256, SHA-256) over the timestamp header and the
body, under the key SendGrid shows; and that the timestamp isn't older than SendGrid goes on trying. Mails carry our
reference as a unique argument, which comes back in each event.
"""

from base64 import b64decode
from binascii import Error as Base64Error
from typing import Any, ClassVar, Final

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
from cryptography.hazmat.primitives.hashes import SHA256

from consumers.callbacks.adapter import Heard, Received, Tools, is_recent, near
from consumers.callbacks.errors import Forged, Unreadable, Unsigned
from consumers.callbacks.reports import Report, What
from consumers.callbacks.settings import sendgrid_key

SIGNATURE: Final = "x-twilio-email-event-webhook-signature"
TIMESTAMP: Final = "x-twilio-email-event-webhook-timestamp"
_KINDS: Final = {
    "delivered": What.DELIVERED,
    "open": What.OPENED,
    "click": What.CLICKED,
    "bounce": What.BOUNCED,
    "dropped": What.BOUNCED,
    "deferred": What.BOUNCED,
    "spamreport": What.COMPLAINED,
    "unsubscribe": What.UNSUBSCRIBED,
    "group_unsubscribe": What.UNSUBSCRIBED,
}
_DEAD: Final = frozenset({"bounced address", "invalid"})  # why SendGrid dropped a mail without trying


class SendGrid:
    """A batch of events; kinds that say nothing new (processed) are passed over."""

    name: ClassVar[str] = "sendgrid"

    def configured(self, tools: Tools) -> bool:
        return bool(tools.settings.sendgrid_public_key)

    async def read(self, received: Received, tools: Tools) -> Heard:
        """The reports of a batch. Raises TurnedAway."""
        _verify(received, tools)
        try:
            events = msgspec.json.decode(received.body, type=list[dict[str, Any]])
        except (msgspec.MsgspecError, RecursionError) as error:
            raise Unreadable(str(error)) from None
        if len(events) > tools.settings.max_events:
            raise Unreadable(f"more than {tools.settings.max_events} events")
        reports: list[Report] = []
        unmatched = 0
        for event in events:
            what = _KINDS.get(str(event.get("event", "")))
            if what is None:
                continue
            reference = tools.reference(str(event.get("reference", "")))
            if reference is None:
                unmatched += 1
                continue
            reports.append(
                Report(
                    what=what,
                    reference=reference,
                    time_ms=_time_ms(event, received.now_ms),
                    id=str(event.get("sg_event_id", ""))[:256],
                    hard=_is_hard(event),
                    url=str(event.get("url", ""))[:2_000] if what == What.CLICKED else "",
                    by="sendgrid",
                )
            )
        return Heard(tuple(reports), unmatched)


def _is_hard(event: dict[str, Any]) -> bool:
    """A bounce may be a block that passes; a drop says why the mail wasn't tried."""
    match event.get("event"):
        case "bounce":
            return event.get("type") == "bounce" and not str(event.get("status", "")).startswith("4")
        case "dropped":
            return str(event.get("reason", "")).strip().lower() in _DEAD
    return False


def _time_ms(event: dict[str, Any], now_ms: int) -> int:
    """Whole seconds: the end of the one it happened in, so that what came just before isn't taken for later."""
    stamp = event.get("timestamp")
    is_time = isinstance(stamp, int) and not isinstance(stamp, bool)
    return near(stamp * 1_000 + 999, now_ms) if is_time and stamp is not None else now_ms


def _verify(received: Received, tools: Tools) -> None:
    signature, timestamp = received.headers.get(SIGNATURE, ""), received.headers.get(TIMESTAMP, "")
    if not signature or not timestamp:
        raise Unsigned
    key = sendgrid_key(tools.settings.sendgrid_public_key)
    try:
        raw = b64decode(signature, validate=True)
        key.verify(raw, timestamp.encode() + received.body, ECDSA(SHA256()))
        signed_ms = int(timestamp) * 1_000
    except (InvalidSignature, Base64Error, ValueError):
        raise Forged from None
    if not is_recent(signed_ms, received.now_ms):
        raise Forged
