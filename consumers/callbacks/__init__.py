"""Callbacks: what providers and customers report about messages, as commands to journeys and records."""

from consumers.callbacks.address_store import PostgresAddressBook
from consumers.callbacks.composing import composed
from consumers.callbacks.server import CallbackServer
from consumers.callbacks.settings import CallbackSettings, callbacks_from

__all__ = ["CallbackServer", "CallbackSettings", "PostgresAddressBook", "callbacks_from", "composed"]
