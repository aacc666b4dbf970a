"""The providers whose callbacks are understood, one a file. A new one is a file here and a line in ADAPTERS."""

from consumers.callbacks.adapter import Adapter
from consumers.callbacks.relay import Relay
from consumers.callbacks.sendgrid import SendGrid
from consumers.callbacks.ses import Ses
from consumers.callbacks.twilio import Twilio

ADAPTERS: tuple[Adapter, ...] = (Twilio(), Relay(), Ses(), SendGrid())
