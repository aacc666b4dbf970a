"""`send_push`: one notification to a customer's devices, through FCM (Android, web) and APNs (Apple)."""

import asyncio
from hashlib import blake2b
from typing import Any, ClassVar

from msgspec import Struct

from consumers.actions import apns, fcm
from consumers.actions.base import Context, EffectRequest, Ending, Failed
from consumers.actions.contents import MessageParams, rendered
from consumers.actions.delivery import Delivery, delivery_of
from consumers.actions.push_devices import DEVICES_MAX, Device, Outcome, ending
from consumers.actions.refusals import Refused, refuse
from orchestrator.messages import PushMessage

_SENDERS = {"fcm": fcm.send, "apns": apns.send}


class PushParams(MessageParams, frozen=True, kw_only=True):
    """`to`: devices, at most DEVICES_MAX; none fails the effect. `title`, `body` and the texts of `data` are Liquid."""

    to: tuple[Device, ...] | None = None
    title: str = ""
    body: str = ""
    data: dict[str, str] = {}


class SendPushProvider:
    """Neither service takes an idempotency key. A repeat replaces the notification on the screen (collapse id)."""

    name: ClassVar[str] = "send_push"
    idempotent: ClassVar[bool] = False
    params: ClassVar[type[Struct]] = PushParams

    async def perform(self, request: EffectRequest, params: PushParams, context: Context) -> Ending:
        """Done with `{"sent", "failed", "devices"}` if any device was reached. See docs/messages.md."""
        try:
            delivery = delivery_of(context)
            devices = _devices(params)
            own: dict[str, Any] = {n: v for n in ("title", "body", "data") if (v := getattr(params, n))}
            message, about = await rendered("push", params, own, delivery)
        except Refused as refused:
            return refused.failed
        assert isinstance(message, PushMessage)
        now_ms = context.now_ms()
        calls = (_to_one(device, message, delivery, request, now_ms) for device in devices)
        return ending(devices, list(await asyncio.gather(*calls)), about)


def _devices(params: PushParams) -> tuple[Device, ...]:
    if not params.to:
        raise refuse("missing_address", "the customer has no device")
    if len(params.to) > DEVICES_MAX:
        raise refuse("invalid_params", f"more than {DEVICES_MAX} devices")
    if not all(device.token and device.token.isprintable() for device in params.to):
        raise refuse("address_refused", "a device's token is empty or holds control characters")
    return params.to


async def _to_one(
    device: Device, message: PushMessage, delivery: Delivery, request: EffectRequest, now_ms: int
) -> Outcome:
    collapse = blake2b(request.idempotency_key.encode(), digest_size=16, person=b"journeys.push").hexdigest()
    send = _SENDERS.get(device.platform)
    if send is None:
        return Failed("unsupported_platform", f"there are: {', '.join(_SENDERS)}")
    try:
        return await send(
            message, device.token, delivery, collapse=collapse, timeout_ms=request.timeout_ms, now_ms=now_ms
        )
    except Refused as refused:
        return refused.failed
