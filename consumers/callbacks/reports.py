"""What became of a message, in the same words whoever reports it."""

from enum import StrEnum

from msgspec import Struct

from consumers.actions.references import Reference


class What(StrEnum):
    """Kinds of reports. The event a journey hears is the channel and this word: EMAIL_OPENED, SMS_STOPPED."""

    DELIVERED = "delivered"
    OPENED = "opened"
    READ = "read"
    CLICKED = "clicked"
    BOUNCED = "bounced"
    FAILED = "failed"
    COMPLAINED = "complained"
    UNSUBSCRIBED = "unsubscribed"
    REPLIED = "replied"
    STOPPED = "stopped"
    STARTED = "started"
    HELP_ASKED = "help_asked"


class Report(Struct, frozen=True, kw_only=True):
    """One thing that happened to one message, at `time_ms` (since 1970).

    `id` is the provider's own for this report; it tells repeats from news where a thing can happen more than once.
    `hard`: the address takes no messages any more.
    """

    what: What
    reference: Reference
    time_ms: int
    id: str = ""
    hard: bool = False
    url: str = ""  # of a click
    error: str = ""  # the provider's code of a failure
    text: str = ""  # of a reply
    by: str = ""  # who says so, where consent changes: "unsubscribe link"
