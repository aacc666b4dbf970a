"""Accounts of the message providers from environment variables. Pure: the variables come as an argument."""

from collections.abc import Mapping
from typing import Any

import msgspec

from consumers.actions.delivery_settings import (
    ApnsSettings,
    DeliverySettings,
    FcmSettings,
    LinkSettings,
    SmtpSettings,
    TwilioSettings,
)
from consumers.actions.proof_settings import proofs_from
from orchestrator.core.errors import ConfigurationError

_SECTIONS: dict[str, type[msgspec.Struct]] = {
    "smtp": SmtpSettings,
    "twilio": TwilioSettings,
    "fcm": FcmSettings,
    "apns": ApnsSettings,
    "links": LinkSettings,
}
_OWN_NAMES = {
    ("links", "unsubscribe_url"): "ORCHESTRATOR_UNSUBSCRIBE_URL",
    ("links", "keys"): "ORCHESTRATOR_LINK_KEYS",
}
CA_FILE_VARIABLE = "ORCHESTRATOR_DELIVERY_CA_FILE"
ENVIRONMENT: dict[str, tuple[str, str]] = {
    _OWN_NAMES.get((section, field), f"ORCHESTRATOR_{section}_{field}".upper()): (section, field)
    for section, kind in _SECTIONS.items()
    for field in kind.__struct_fields__
}
"""Variable to section and field of DeliverySettings."""


def delivery_from(environ: Mapping[str, str]) -> DeliverySettings:
    r"""The accounts in an environment; what isn't set keeps its default. Raises ConfigurationError, naming the variable.

    `\n` in a key stands for a line end, which many environments can't carry.
    """
    values: dict[str, dict[str, Any]] = {section: {} for section in _SECTIONS}
    for variable, (section, field) in ENVIRONMENT.items():
        text = environ.get(variable, "")
        if not text:
            continue
        kind = _SECTIONS[section].__annotations__[field]
        try:
            values[section][field] = msgspec.convert(text, kind, strict=False)
        except msgspec.ValidationError as error:
            raise ConfigurationError(f"{variable}: {error}") from None
    if "key" in values["apns"]:
        values["apns"]["key"] = values["apns"]["key"].replace("\\n", "\n")
    return DeliverySettings(
        smtp=SmtpSettings(**values["smtp"]),
        twilio=TwilioSettings(**values["twilio"]),
        fcm=FcmSettings(**values["fcm"]),
        apns=ApnsSettings(**values["apns"]),
        links=LinkSettings(**values["links"]),
        proofs=proofs_from(environ),
        ca_file=environ.get(CA_FILE_VARIABLE, ""),
    )
