"""What an answer says about dead addresses, as commands to the customer's record. Pure."""

from collections.abc import Sequence
from typing import Any, Final

from consumers.actions.base import Done, EffectRequest, Ending
from consumers.actions.outgoing import Outgoing, command_id, record_stream
from consumers.actions.refusals import Undeliverable
from orchestrator.core.addresses import CUSTOMER
from orchestrator.customers.record import address_hash

SOURCE: Final = "journeys/effects"
_CHANNELS: Final = frozenset({"email", "sms"})  # of one address, which the request's `to` names


def suppressions(request: EffectRequest, ending: Ending, record: str, now_ms: int) -> Sequence[Outgoing]:
    """A `suppress` command for each dead address; none without a `record` to tell, or where no customer is behind it.

    The same effect gives the same keys whichever attempt found out, so that the record decides each once.
    """
    match ending:
        case Undeliverable():
            found = ending.result.get("suppress")
        case Done(result=result):
            found = result.get("suppress")
        case _:
            found = None
    if not isinstance(found, dict) or not record or request.stream.owner.scope != CUSTOMER:
        return ()
    channel, reason = str(found.get("channel", "")), str(found.get("reason", ""))
    hashes: Sequence[str] = found.get("address_hashes") or _address(request, channel)
    return tuple(
        Outgoing(
            stream=record_stream(request.stream.owner, record),
            type="suppress",
            source=SOURCE,
            id=command_id("suppress", request.idempotency_key, channel, reason, hashed),
            data=_data(channel, reason, hashed),
            time_ms=now_ms,
        )
        for hashed in hashes
    )


def _address(request: EffectRequest, channel: str) -> Sequence[str]:
    """The hash of the address the message went to; "" means the customer's present one."""
    to = request.params.get("to")
    if isinstance(to, dict):  # of an action that chooses the channel itself
        to = to.get(channel)
    to = to.get(channel) if isinstance(to, dict) else to  # a campaign's addresses, by channel
    return (address_hash(channel, to),) if channel in _CHANNELS and isinstance(to, str) and to else ("",)


def _data(channel: str, reason: str, hashed: str) -> dict[str, Any]:
    return {"channel": channel, "reason": reason, **({"address_hash": hashed} if hashed else {})}
