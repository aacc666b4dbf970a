"""Amazon SES: its events and feedback, which come through an SNS topic. What is checked is in sns.py.

Mails carry our reference in a header of their own, which SES repeats among the mail's headers: its own Message-ID replaces
ours. Events of a configuration set always have the headers; for feedback notifications, switch original headers on.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar, Final

import msgspec

from consumers.actions.references import REFERENCE_HEADER
from consumers.callbacks.adapter import Heard, Received, Tools, near
from consumers.callbacks.errors import Unreadable
from consumers.callbacks.reports import Report, What
from consumers.callbacks.sns import Sns

_KINDS: Final = {
    "Delivery": What.DELIVERED,
    "Open": What.OPENED,
    "Click": What.CLICKED,
    "Bounce": What.BOUNCED,
    "DeliveryDelay": What.BOUNCED,
    "Complaint": What.COMPLAINED,
    "Subscription": What.UNSUBSCRIBED,
}
_PARTS: Final = {**{kind: kind.lower() for kind in _KINDS}, "DeliveryDelay": "deliveryDelay"}


class Ses:
    """One event a callback; kinds that say nothing new (Send, Rendering Failure) are passed over."""

    name: ClassVar[str] = "ses"

    def __init__(self) -> None:
        self._sns = Sns()

    def configured(self, tools: Tools) -> bool:
        return bool(tools.settings.ses_topics)

    async def read(self, received: Received, tools: Tools) -> Heard:
        """The report of an event, nothing after a handshake. Raises TurnedAway."""
        text = await self._sns.notification(received, tools)
        if text is None:
            return Heard()
        try:
            event = msgspec.json.decode(text, type=dict[str, Any])
        except (msgspec.MsgspecError, RecursionError):
            return Heard()  # SES sends a sentence when the topic is connected
        kind = str(event.get("eventType") or event.get("notificationType") or "")
        part = event.get(_PARTS.get(kind, ""))
        if kind not in _KINDS:
            return Heard()
        if not isinstance(part, dict):
            raise Unreadable(f"{kind} without its part")
        if not _tells(kind, part):
            return Heard()
        reference = tools.reference(_header(event))
        if reference is None:
            return Heard(unmatched=1)
        what = _KINDS[kind]
        return Heard(
            (
                Report(
                    what=what,
                    reference=reference,
                    time_ms=_time_ms(part, received.now_ms),
                    id=str(part.get("feedbackId") or part.get("timestamp") or "")[:256],
                    hard=kind == "Bounce" and part.get("bounceType") == "Permanent",
                    url=str(part.get("link", ""))[:2_000] if what == What.CLICKED else "",
                    by="ses",
                ),
            )
        )


def _tells(kind: str, part: Mapping[str, Any]) -> bool:
    """Some complaints take one back, and a customer may have changed their topics without leaving all of them."""
    if kind == "Complaint":
        return part.get("complaintFeedbackType") != "not-spam"
    if kind == "Subscription":
        match part:
            case {"newTopicPreferences": {"unsubscribeAll": True}}:
                return True
        return False
    return True


def _header(event: Mapping[str, Any]) -> str:
    match event.get("mail"):
        case {"headers": list(headers)}:
            for header in headers:
                match header:
                    case {"name": str(name), "value": str(value)} if name.lower() == REFERENCE_HEADER.lower():
                        return value
    return ""


def _time_ms(part: Mapping[str, Any], now_ms: int) -> int:
    try:
        return near(int(datetime.fromisoformat(str(part.get("timestamp"))).timestamp() * 1_000), now_ms)
    except ValueError:
        return now_ms
