"""How many customers a flow's entries would let in, judged from customer records alone, before anything happens.

A record says nothing about events to come: conditions on their payload are left out and named, so that a count is the
number of customers who would enter if the event came, or more exactly the most who could.
"""

from collections.abc import Iterator, Mapping
from math import ceil, floor, sqrt
from typing import Any, Final

from msgspec import Struct

from orchestrator.core.addresses import Owner, Stream
from orchestrator.core.decider import Definition, Facts
from orchestrator.core.rules import Data, Rule, RuleFailed
from orchestrator.journeys.flow.model import Compiled, Trigger
from orchestrator.journeys.flow.values import needs_of, variables

_KNOWN: Final = frozenset({"customer", "account", "customer_id", "journey_id", "organization", "now_ms"})
_Z_95: Final = 1.96


class EntryPlan(Struct, frozen=True):
    """One way in: what lets customers in, the conditions a record can answer, and what it can't say."""

    pointer: str
    on: str
    judged: tuple[Rule, ...]
    not_judged: tuple[str, ...]


class Verdict(Struct, frozen=True):
    """What a record says about an entry; `failed` when a condition can't be evaluated, which lets nobody in."""

    enters: bool
    failed: bool = False


class Audience:
    """A flow's entries, and what records say about them."""

    def __init__(self, definition: Definition) -> None:
        self._definition = definition
        compiled: Compiled = definition.compiled
        entries = [*compiled.entries, *((compiled.manual,) if compiled.manual is not None else ())]
        self.entries = tuple(self._plan(entry, by_hand=entry is compiled.manual) for entry in entries)

    def judge(self, owner: Owner, record: Mapping[str, Any], now_ms: int) -> tuple[Verdict, ...]:
        """One verdict an entry about the customer whose record shows this (see customers/record/shown.py)."""
        stream = Stream(owner, self._definition.kind, self._definition.id)
        facts = Facts(now_ms, now_ms, stream, self._definition, 0, record=record)
        return tuple(_verdict(entry, facts) for entry in self.entries)

    def _plan(self, entry: Trigger, *, by_hand: bool) -> EntryPlan:
        known = _KNOWN if by_hand else _KNOWN | self._definition.compiled.context.keys()
        if by_hand:
            on, missing = "by hand", ["who is started by hand"]
        elif entry.segment:
            on, missing = f"segment {entry.segment}", [f"who enters the segment {entry.segment}"]
        else:
            on, missing = f"event {entry.type}", [f"to whom {entry.type} happens"]
        judged = []
        for part in () if entry.when is None else _parts(entry.when.source):
            rule = Rule(part)
            strange = sorted(
                {".".join(path) or "everything" for path in rule.reads if path[:1] and path[0] not in known}
            )
            if strange or not rule.reads_all or not all(rule.reads):
                missing += [path for path in strange if path not in missing] or [
                    "a path that is only known then"
                ]
            else:
                judged.append(rule)
        return EntryPlan(entry.pointer, on, tuple(judged), tuple(missing))


def interval(hits: int, looked_at: int, total: int) -> tuple[int, int]:
    """Between which numbers of all `total` customers the true one lies, with 95 % confidence (Wilson's interval, for a
    sample drawn without putting back). Exact when all were looked at; (0, total) when none was.
    """
    if looked_at >= total:
        return hits, hits
    if not looked_at:
        return 0, total
    size = looked_at * (total - 1) / (total - looked_at)
    share, z2 = hits / looked_at, _Z_95**2
    middle = (share + z2 / (2 * size)) / (1 + z2 / size)
    half = _Z_95 * sqrt(share * (1 - share) / size + z2 / (4 * size**2)) / (1 + z2 / size)
    low, high = floor((middle - half) * total), ceil((middle + half) * total)
    return max(hits, low), min(total - (looked_at - hits), high)


def _verdict(entry: EntryPlan, facts: Facts) -> Verdict:
    try:
        for rule in entry.judged:
            values = variables(None, facts, None, needs_of(rule.reads, complete=True))
            if not rule.holds(Data(values)):
                return Verdict(enters=False)
    except RuleFailed:
        return Verdict(enters=False, failed=True)
    return Verdict(enters=True)


def _parts(source: Any) -> Iterator[Any]:
    """The conditions that all have to hold: those of an `and`, however nested, else the one there is."""
    if isinstance(source, dict) and len(source) == 1 and isinstance(source.get("and"), list):
        for part in source["and"]:
            yield from _parts(part)
    else:
        yield source
