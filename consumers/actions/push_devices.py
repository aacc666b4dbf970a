"""One notification to several devices of one customer: what happened at each, and what that makes of the effect."""

from typing import Any

from msgspec import Struct

from consumers.actions.base import Done, Ending, Failed
from consumers.actions.refusals import Undeliverable, suppress
from orchestrator.customers.record.addresses import address_hash

DEVICES_MAX = 20


class Device(Struct, frozen=True):
    """A device and its token, as the app registered it. `platform` is fcm or apns; others are told apart by name."""

    platform: str
    token: str


class Sent(Struct, frozen=True):
    """The service took the notification under `id`."""

    id: str


Outcome = Sent | Failed


def ending(devices: tuple[Device, ...], outcomes: list[Outcome], about: dict[str, Any]) -> Ending:
    """Done if any device was reached; else the failure that says most about what to do next."""
    dead = tuple(
        address_hash("push", device.token)
        for device, outcome in zip(devices, outcomes, strict=True)
        if isinstance(outcome, Undeliverable)
    )
    failures = [outcome for outcome in outcomes if isinstance(outcome, Failed)]
    if len(failures) < len(outcomes):
        shown = [_shown(device, outcome) for device, outcome in zip(devices, outcomes, strict=True)]
        result = {"sent": len(outcomes) - len(failures), "failed": len(failures), "devices": shown, **about}
        return Done({**result, "suppress": suppress("push", "hard_bounce", dead)} if dead else result)
    if len(dead) == len(outcomes):
        return Undeliverable(
            failures[0].error, failures[0].detail, channel="push", reason="hard_bounce", address_hashes=dead
        )
    return max(failures, key=lambda failed: (failed.in_doubt, failed.retryable, failed.retry_after_ms or 0))


def _shown(device: Device, outcome: Outcome) -> dict[str, str]:
    """Never the token: it addresses a person's device."""
    what = {"id": outcome.id} if isinstance(outcome, Sent) else {"error": outcome.error}
    return {"platform": device.platform, **what}
