"""From a report to commands: to the journey that sent the message, and to the customer's record. Pure."""

from collections.abc import Iterator
from typing import Any, Final

from consumers.actions.outgoing import Outgoing, command_id, record_stream
from consumers.callbacks.reports import Report, What
from orchestrator.core.addresses import CUSTOMER, Stream

SOURCE: Final = "journeys/callbacks"
HEARING_KINDS: Final = frozenset({"flow", "lifecycle"})  # of journeys, that take the command `event`
TRIAL_KIND: Final = "trial"  # of test-sends: their author is no customer
TEXT_CHARS_MAX: Final = 1_600
_ONCE: Final = frozenset({What.DELIVERED, What.OPENED, What.READ, What.COMPLAINED})  # for each message


def commands(report: Report, record: str) -> tuple[Outgoing, ...]:
    """Everything that follows from a report. Equal keys always carry equal data, whoever reports.

    `record` is the id of the published `customer` document; "" where there is none.
    """
    return (*_to_journey(report), *(_to_record(report, record) if record else ()))


def _to_journey(report: Report) -> Iterator[Outgoing]:
    reference = report.reference
    if reference.stream.kind not in HEARING_KINDS:
        return
    payload: dict[str, Any] = {
        "message": reference.message,
        "effect": reference.effect,
        "action": reference.action,
        "channel": reference.channel,
        "template": reference.template,
    }
    parts: tuple[str, ...] = (report.id,)
    match report.what:
        case what if what in _ONCE:
            parts = ()
        case What.CLICKED:
            payload["url"], parts = report.url, (report.url,)
        case What.BOUNCED:
            payload["bounce"] = "hard" if report.hard else "soft"
            parts = ("hard",) if report.hard else ("soft", report.id)
        case What.FAILED:
            payload["error"], parts = report.error, (report.error,)
        case What.REPLIED:
            payload["text"] = report.text[:TEXT_CHARS_MAX]
    data = {"type": f"{reference.channel}_{report.what}".upper(), "payload": payload}
    yield _command(
        report, reference.stream, "event", command_id(report.what, reference.message, *parts), data
    )


def _to_record(report: Report, record: str) -> Iterator[Outgoing]:
    reference = report.reference
    if reference.owner.scope != CUSTOMER or reference.stream.kind == TRIAL_KIND:
        return
    stream = record_stream(reference.owner, record)
    channel, hashed = reference.channel, reference.address_hash
    address = {"channel": channel, **({"address_hash": hashed} if hashed else {})}
    consent = {"channel": channel, "source": report.by}
    match report.what:
        case What.BOUNCED | What.FAILED if report.hard:
            key = command_id("suppress", reference.message, "hard_bounce")
            yield _command(report, stream, "suppress", key, {**address, "reason": "hard_bounce"})
        case What.COMPLAINED:
            key = command_id("suppress", reference.message, "complaint")
            yield _command(report, stream, "suppress", key, {**address, "reason": "complaint"})
        case What.UNSUBSCRIBED:
            key = command_id("consent", report.what, reference.message, channel, report.id)
            yield _command(report, stream, "consent", key, {**consent, "granted": False})
        case What.STOPPED:
            # The address is silenced, and so is the next one the customer may have.
            key = command_id("suppress", report.what, channel, report.id)
            yield _command(report, stream, "suppress", key, {**address, "reason": "stop"})
            key = command_id("consent", report.what, channel, report.id)
            yield _command(report, stream, "consent", key, {**consent, "granted": False})
        case What.STARTED:
            key = command_id("unsuppress", report.what, channel, report.id)
            yield _command(report, stream, "unsuppress", key, address)
            key = command_id("consent", report.what, channel, report.id)
            yield _command(report, stream, "consent", key, {**consent, "granted": True})


def _command(report: Report, stream: Stream, type: str, key: str, data: dict[str, Any]) -> Outgoing:
    return Outgoing(stream=stream, type=type, source=SOURCE, id=key, data=data, time_ms=report.time_ms)
