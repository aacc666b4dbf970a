"""What is kept about a customer beside journeys: the record and the points ledger.

Both are decided like journeys, but always by the newest version of their document: neither is ever pinned.
"""

from orchestrator.customers.points import POINTS
from orchestrator.customers.record import RECORD

__all__ = ["POINTS", "RECORD"]
