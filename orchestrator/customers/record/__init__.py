"""The customer record: attributes, zone, consent, suppressions and device tokens of one customer."""

from orchestrator.core.decider import JourneyKind
from orchestrator.customers.record.addresses import address_hash
from orchestrator.customers.record.kind import CustomerRecord
from orchestrator.customers.record.shown import shown

RECORD: JourneyKind = CustomerRecord()

__all__ = ["RECORD", "address_hash", "shown"]
