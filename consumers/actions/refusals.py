"""How a message provider ends early, and the ending that says an address is dead."""

from typing import Any

from consumers.actions.base import Failed


class Refused(Exception):
    """Ends a provider's work with a Failed."""

    def __init__(self, failed: Failed) -> None:
        super().__init__(failed.error)
        self.failed = failed


class Undeliverable(Failed, frozen=True):
    """The address takes no messages any more. The journey may read `result` and send a `suppress` command."""

    channel: str = ""  # email | sms | push
    reason: str = ""  # hard_bounce | stop
    address_hashes: tuple[str, ...] = ()  # push alone: which devices, as the customer's record knows them

    @property
    def result(self) -> dict[str, Any]:
        """`{"suppress": {"channel", "reason"}}`, with `address_hashes` for push."""
        return {"suppress": suppress(self.channel, self.reason, self.address_hashes)}


def suppress(channel: str, reason: str, address_hashes: tuple[str, ...] = ()) -> dict[str, Any]:
    """What a result says about an address that is dead.

    Hashes are given for devices alone: their tokens are long and random. That of an email address or a number could be
    found by trying, and a customer has one of each.
    """
    named = {"address_hashes": list(address_hashes)} if address_hashes else {}
    return {"channel": channel, "reason": reason, **named}


def refuse(error: str, detail: str = "") -> Refused:
    """A refusal before anything was sent, which another attempt wouldn't change."""
    return Refused(Failed(error, detail))
