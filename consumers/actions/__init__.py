"""Action providers, one a file. A new one is a file here and a line in PROVIDERS."""

from typing import Any

from consumers.actions.award_points import AwardPointsProvider
from consumers.actions.base import Provider
from consumers.actions.log import LogProvider
from consumers.actions.lookup_profile import LookupProfileProvider
from consumers.actions.publish import PublishProvider
from consumers.actions.send_email import SendEmailProvider
from consumers.actions.send_push import SendPushProvider
from consumers.actions.send_sms import SendSmsProvider
from consumers.actions.siteverify import SiteverifyProvider
from consumers.actions.start_journey import StartJourneyProvider
from consumers.actions.trigger_campaign import TriggerCampaignProvider
from consumers.actions.update_profile import UpdateProfileProvider
from consumers.actions.verify_id_token import VerifyIdTokenProvider
from consumers.actions.webhook import WebhookProvider

PROVIDERS: tuple[Provider[Any], ...] = (
    WebhookProvider(),
    PublishProvider(),
    LogProvider(),
    SendEmailProvider(),
    SendSmsProvider(),
    SendPushProvider(),
    AwardPointsProvider(),
    UpdateProfileProvider(),
    StartJourneyProvider(),
    LookupProfileProvider(),
    VerifyIdTokenProvider(),
    SiteverifyProvider(),
    TriggerCampaignProvider(),
)
