"""`trigger_campaign`: a published campaign's message to the customer, by its channel or another one it has."""

from typing import Any, ClassVar

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from consumers.actions.base import ActionParams, Context, Done, EffectRequest, Ending, Failed, Provider
from consumers.actions.campaigns import Campaigns, UnknownCampaign
from consumers.actions.refusals import Refused, refuse
from consumers.actions.send_email import SendEmailProvider
from consumers.actions.send_push import SendPushProvider
from consumers.actions.send_sms import SendSmsProvider
from orchestrator.messages.campaign import Campaign, Part, execution

SENDERS: dict[str, Provider[Any]] = {
    "email": SendEmailProvider(),
    "sms": SendSmsProvider(),
    "push": SendPushProvider(),
}


class TriggerCampaignParams(ActionParams, frozen=True, kw_only=True):
    """`channel` and `variables` go over the campaign's. `to`: the customer's addresses by channel."""

    campaign_id: str | int
    channel: str = ""
    variables: dict[str, Any] = {}
    to: dict[str, Any] = {}


class TriggerCampaignProvider:
    """Delivers through the provider of the channel; like there, an interrupted send is never repeated by itself."""

    name: ClassVar[str] = "trigger_campaign"
    idempotent: ClassVar[bool] = False
    params: ClassVar[type[Struct]] = TriggerCampaignParams

    def __init__(self, campaigns: Campaigns | None = None) -> None:
        self._campaigns = campaigns

    async def perform(
        self, request: EffectRequest, params: TriggerCampaignParams, context: Context
    ) -> Ending:
        """Done with the record of the execution; a failure of the delivery is the campaign's."""
        try:
            version, campaign = await self._find(str(params.campaign_id))
            channel, part = _way(campaign, params.channel, context.now_ms())
        except Refused as refused:
            return refused.failed
        sender = SENDERS[channel]
        own = {
            "to": params.to.get(channel),
            "template": part.template,
            "version": part.version,
            "variables": {**campaign.variables, **params.variables},
        }
        try:
            message = msgspec.convert(own, sender.params)
        except msgspec.ValidationError as error:
            return Failed("invalid_params", str(error))
        ending = await sender.perform(replace(request, type=sender.name, params=own), message, context)
        if not isinstance(ending, Done):
            return ending
        delivery = dict(ending.result)
        dead = {"suppress": delivery.pop("suppress")} if "suppress" in delivery else {}
        return Done(
            {
                "execution_id": execution(request.idempotency_key),
                "campaign": campaign.id,
                "version": version,
                "channel": channel,
                "message_id": _message_id(delivery),
                "delivery": delivery,
                **dead,  # where those look who suppress dead addresses
            }
        )

    async def _find(self, id: str) -> tuple[int, Campaign]:
        if self._campaigns is None:
            raise refuse("not_configured", "this runner knows no campaigns")
        try:
            return await self._campaigns.get(id)
        except UnknownCampaign as unknown:
            raise refuse("unknown_campaign", f"no campaign {id[:64]!r} is published") from unknown
        except Exception as error:  # whatever a store raises while it is away: nothing was sent yet
            failed = Failed("campaigns_unavailable", type(error).__name__, retryable=True)
            raise Refused(failed) from error


def _way(campaign: Campaign, wanted: str, now_ms: int) -> tuple[str, Part]:
    """The channel and what it sends. Raises Refused outside the campaign's time, or without such a template."""
    if campaign.from_ms and now_ms < campaign.from_ms:
        raise refuse("campaign_not_started", f"the campaign {campaign.id} begins later")
    if campaign.until_ms and now_ms >= campaign.until_ms:
        raise refuse("campaign_ended", f"the campaign {campaign.id} is over")
    channel = wanted or campaign.channel
    part = campaign.parts.get(channel)
    if part is None:
        known = ", ".join(sorted(campaign.parts))
        raise refuse("no_alternative", f"the campaign {campaign.id} has templates for {known}")
    return channel, part


def _message_id(result: dict[str, Any]) -> str:
    """What the provider calls the message; of several notifications, the first that was taken over."""
    devices = [device.get("id") for device in result.get("devices", ())]
    ids = (result.get("message_id"), result.get("sid"), *devices)
    return next((id for id in ids if isinstance(id, str)), "")
