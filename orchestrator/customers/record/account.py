"""What the customer's ledgers say of their balances, kept beside the attributes for rules and templates to read."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from orchestrator.core.decider import Facts
from orchestrator.core.errors import Rejected
from orchestrator.core.events import CommandIgnored, Event
from orchestrator.customers.contact import ledger_of
from orchestrator.customers.record.events import BalanceTold
from orchestrator.customers.record.state import Account, RecordState
from orchestrator.customers.record.told import TellBalance

LEDGERS_MAX: Final = 20
MAIN_LEDGER: Final = "ledger"
"""Of several ledgers, the one that `account.points_balance` means; it is also where points are awarded by default."""


def keep(known: RecordState, command: TellBalance, facts: Facts) -> Sequence[Event]:
    """The newest balance of a ledger; what a ledger told before doesn't come back. Raises Rejected."""
    if facts.teller != ledger_of(facts.stream.owner, command.ledger):
        raise Rejected("customer.not_told_by_the_ledger", ledger=command.ledger)
    if known.forgotten_ms is not None and facts.occurred_ms < known.forgotten_ms:
        return (CommandIgnored(reason="older_than_forgetting"),)
    account = known.accounts.get(command.ledger)
    if account is None and len(known.accounts) >= LEDGERS_MAX:
        raise Rejected("customer.too_many_ledgers", ledgers_max=LEDGERS_MAX)
    if account is not None and command.revision <= account.revision:
        return (CommandIgnored(reason="older_than_stored"),)
    return (BalanceTold(command.ledger, command.balance, command.currency, command.revision, facts.now_ms),)


def shown_account(accounts: Mapping[str, Account]) -> dict[str, Any]:
    """What rules read as `account`: each ledger by its id, and the one balance that is meant by `points_balance`."""
    account: dict[str, Any] = {
        ledger: {"balance": one.balance, "currency": one.currency} for ledger, one in accounts.items()
    }
    main = accounts.get(MAIN_LEDGER) or (next(iter(accounts.values())) if len(accounts) == 1 else None)
    return account if main is None else {**account, "points_balance": main.balance}
