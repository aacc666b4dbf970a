"""Accounts of the message providers: where to send, with which credentials. No I/O.

These hosts are trusted because an operator configured them; what a definition names is never called from here.
"""

import re
from base64 import b64decode
from binascii import Error as Base64Error
from typing import Any, Literal
from urllib.parse import urlsplit

from msgspec import Struct
from msgspec.structs import fields

from consumers.actions.proof_settings import ProofSettings
from orchestrator.core.errors import ConfigurationError
from orchestrator.messages.addresses import is_address

_LOCAL_HOSTS = frozenset({"127.0.0.1", "::1", "localhost"})
_KEY_BYTES_MIN = 32
_CONNECTIONS_MAX = 256
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SECRETS = frozenset({"password", "auth_token", "service_account", "key", "keys"})


def _check_url(name: str, url: str) -> None:
    if not url:
        return
    parts = urlsplit(url)
    if parts.username or parts.password or not parts.hostname:
        raise ConfigurationError(f"{name}: write https://host/…, without a user name")
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOCAL_HOSTS):
        raise ConfigurationError(f"{name}: must begin with https://; plain http is for this machine alone")


class _Secretive(Struct, frozen=True, kw_only=True):
    """Settings whose secrets are never shown."""

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in self.__rich_repr__())
        return f"{type(self).__name__}({shown})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        values = ((field.name, getattr(self, field.name)) for field in fields(self))
        return [(n, "***" if n in _SECRETS and value else value) for n, value in values]


class SmtpSettings(_Secretive, frozen=True, kw_only=True):
    """The mail server. `security`: starttls (587), tls (465), or none (25), which sends in clear and never logs in."""

    host: str = ""
    port: int = 0  # 0: the usual one of `security`
    security: Literal["starttls", "tls", "none"] = "starttls"
    username: str = ""
    password: str = ""
    sender: str = ""  # From of templates without one: "Shop <news@example.com>"
    hello_name: str = "localhost"  # what the server is told in EHLO
    connect_timeout_s: float = 10.0
    connections: int = 8  # at a time; kept open for `idle_s` after a mail
    idle_s: float = 30.0
    relay: Literal["", "ses", "sendgrid"] = ""  # whose headers a mail carries, so that reports name it
    configuration_set: str = ""  # of SES: where its events go

    def __post_init__(self) -> None:
        if self.username and self.security == "none":
            raise ConfigurationError(
                "smtp.security (ORCHESTRATOR_SMTP_SECURITY): a login needs starttls or tls"
            )
        if self.sender and not is_address(self.sender):
            raise ConfigurationError(
                f"smtp.sender (ORCHESTRATOR_SMTP_SENDER): {self.sender!r} is no address; write Shop <news@example.com>"
            )
        if not self.connect_timeout_s > 0:
            raise ConfigurationError("smtp.connect_timeout_s must be above 0")
        if not 1 <= self.connections <= _CONNECTIONS_MAX or self.idle_s < 0:
            raise ConfigurationError(
                f"smtp.connections (ORCHESTRATOR_SMTP_CONNECTIONS) must be 1 to {_CONNECTIONS_MAX},"
                " smtp.idle_s (ORCHESTRATOR_SMTP_IDLE_S) not below 0"
            )
        if self.configuration_set and not _PLAIN_NAME.fullmatch(self.configuration_set):
            raise ConfigurationError(
                "smtp.configuration_set (ORCHESTRATOR_SMTP_CONFIGURATION_SET): up to 64 letters, digits, '-' or '_'"
            )


class TwilioSettings(_Secretive, frozen=True, kw_only=True):
    """The account text messages are sent from: a messaging service, or one sender."""

    account_sid: str = ""
    auth_token: str = ""
    messaging_service_sid: str = ""
    sender: str = ""  # a number (+1…) or a name
    status_callback_url: str = ""  # where reports go, if not to our own page; a token is added as `effect`
    base_url: str = "https://api.twilio.com"

    def __post_init__(self) -> None:
        _check_url("twilio.base_url (ORCHESTRATOR_TWILIO_BASE_URL)", self.base_url)
        _check_url(
            "twilio.status_callback_url (ORCHESTRATOR_TWILIO_STATUS_CALLBACK_URL)", self.status_callback_url
        )


class FcmSettings(_Secretive, frozen=True, kw_only=True):
    """Firebase Cloud Messaging. `service_account` is the JSON of a key file, not its path."""

    service_account: str = ""
    base_url: str = "https://fcm.googleapis.com"
    token_url: str = "https://oauth2.googleapis.com/token"  # noqa: S105  an address

    def __post_init__(self) -> None:
        _check_url("fcm.base_url (ORCHESTRATOR_FCM_BASE_URL)", self.base_url)
        _check_url("fcm.token_url (ORCHESTRATOR_FCM_TOKEN_URL)", self.token_url)


class ApnsSettings(_Secretive, frozen=True, kw_only=True):
    """Apple's push service. `key` is the PEM text of a .p8 file; `topic` the app's bundle id."""

    key: str = ""
    key_id: str = ""
    team_id: str = ""
    topic: str = ""
    base_url: str = "https://api.push.apple.com"

    def __post_init__(self) -> None:
        _check_url("apns.base_url (ORCHESTRATOR_APNS_BASE_URL)", self.base_url)


class LinkSettings(_Secretive, frozen=True, kw_only=True):
    """Links that come back: unsubscribing, opens, clicks and reports. The first of `keys` seals, any of them opens."""

    base_url: str = ""  # where the public reaches our own pages and callbacks
    track_opens: bool = False
    track_clicks: bool = False
    unsubscribe_url: str = ""  # a page of your own: a token is added as its last path segment
    keys: str = ""  # base64 of 32 to 64 random bytes each, split by a space while rotating

    def __post_init__(self) -> None:
        _check_url("links.unsubscribe_url (ORCHESTRATOR_UNSUBSCRIBE_URL)", self.unsubscribe_url)
        _check_url("links.base_url (ORCHESTRATOR_LINKS_BASE_URL)", self.base_url)
        if any(mark in self.base_url for mark in "?#"):
            raise ConfigurationError(
                "links.base_url (ORCHESTRATOR_LINKS_BASE_URL): leave out what follows ? or #"
            )
        for key in self.keys.split():
            try:
                long_enough = len(b64decode(key, validate=True)) >= _KEY_BYTES_MIN
            except (Base64Error, ValueError):
                long_enough = False
            if not long_enough:
                raise ConfigurationError(
                    f"links.keys (ORCHESTRATOR_LINK_KEYS): each key is base64 of {_KEY_BYTES_MIN} to 64 random bytes"
                )
        if (self.unsubscribe_url or self.base_url) and not self.keys:
            raise ConfigurationError(
                "links.keys (ORCHESTRATOR_LINK_KEYS): unsubscribe links and others need a key to be sealed"
            )

    @property
    def unsubscribe_page(self) -> str:
        """The address that an unsubscribe token is added to; "" without one."""
        if self.unsubscribe_url:
            return self.unsubscribe_url.rstrip("/")
        return f"{self.base_url.rstrip('/')}/u" if self.base_url else ""


class DeliverySettings(Struct, frozen=True, kw_only=True):
    """All accounts. One that is left empty makes its provider answer `not_configured`."""

    smtp: SmtpSettings = SmtpSettings()
    twilio: TwilioSettings = TwilioSettings()
    fcm: FcmSettings = FcmSettings()
    apns: ApnsSettings = ApnsSettings()
    links: LinkSettings = LinkSettings()
    proofs: ProofSettings = ProofSettings()
    ca_file: str = ""  # PEM of authorities beside the system's, for all of them
    connect_timeout_s: float = 5.0
    max_response_bytes: int = 65_536
