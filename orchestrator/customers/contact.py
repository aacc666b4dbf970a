"""The words in which flows, the record and the ledger of one customer speak to each other.

A flow asks the record for a contact before it sends a message; the record alone counts, so that flows of one customer
can't pass a cap together. The ledger tells the record its balance.
"""

from typing import Final

from orchestrator.core.addresses import Owner, stream_of

ASK: Final = "contact.ask"
RELEASE: Final = "contact.release"
GRANTED: Final = "contact.granted"
REFUSED: Final = "contact.refused"
BALANCE: Final = "account.balance"

CHANNEL: Final = r"^[a-z][a-z0-9_]{0,31}$"
CLASS: Final = r"^[a-z][a-z0-9_-]{0,31}$"
REFERENCE_CHARS_MAX: Final = 256
REASONS: Final = ("no_record", "suppressed", "no_consent", "cap", "late")
"""Why a record refuses; `late`: the asker has stopped waiting."""

RECORD_KIND: Final = "customer"
LEDGER_KIND: Final = "points"


def record_of(owner: Owner, definition: str) -> str:
    """The text of the stream that is the customer's record."""
    return stream_of(owner, RECORD_KIND, definition).text


def ledger_of(owner: Owner, definition: str) -> str:
    """The text of the stream that is the customer's ledger."""
    return stream_of(owner, LEDGER_KIND, definition).text


def is_record_of(owner: Owner, stream: str) -> bool:
    """Whether a stream's text is a record of this customer."""
    return stream.startswith(f"{owner.text}/{RECORD_KIND}:")


def is_stream_of(owner: Owner, stream: str) -> bool:
    """Whether a stream's text is one of this customer's."""
    return stream.startswith(f"{owner.text}/")
