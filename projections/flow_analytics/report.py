"""What people ask of a flow: who entered and how it ended, what became of them node by node, and what converted."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from msgspec import Struct

from orchestrator.journeys.flow.state import CANCELLED, COMPLETED, FAILED
from projections.flow_analytics.buckets import quantile_ms

SETTLED_BY_LOG = ("suppressed", "forgotten")


class Total(NamedTuple):
    """A count over all lanes and the days that were asked for."""

    version: int
    node: str
    measure: str
    key: str
    n: int


class Ending(Struct, frozen=True):
    """How runs ended."""

    state: str
    reason: str
    runs: int


class Conversion(Struct, frozen=True):
    """Runs that reached a goal within its window; `share` is of those that could."""

    goal: str
    runs: int
    share: float


class NodeReport(Struct, frozen=True):
    """One node. `reached` = `left` + `ended` (by reason) + `here`; visits, not runs: a loop's second pass counts again."""

    node: str
    kind: str  # empty when the document doesn't have the node
    reached: int
    left: int
    here: int
    dropped: int  # runs that failed or were cancelled here
    ended: list[Ending]
    branches: dict[str, int]  # ways out
    failures: dict[str, int]  # by reason, whether or not an edge caught them
    effects: dict[str, int]  # asked, then by result; `unanswered`: neither settled nor forgotten
    p50_ms: int | None  # of stays that are over, within a sixteenth
    p95_ms: int | None


class Bucket(Struct, frozen=True):
    """A branch of a split: runs that were put into it, and which of them converted."""

    node: str
    branch: str
    holdout: bool
    runs: int
    goals: list[Conversion]


class FlowReport(Struct, frozen=True):
    """One version of a flow. `entered` = `in_progress` + `completed` + `failed` + `cancelled`."""

    version: int
    entered: int
    in_progress: int
    completed: int
    failed: int
    cancelled: int
    entries: dict[str, int]  # by event type, or `manual`
    endings: list[Ending]
    goals: list[Conversion]
    splits: list[Bucket]
    nodes: list[NodeReport]


def reports(totals: Iterable[Total], documents: Mapping[int, Mapping[str, Any]]) -> list[FlowReport]:
    """A report for each version anyone entered, newest first; `documents` give the nodes their order and kinds."""
    by_version: dict[int, list[Total]] = defaultdict(list)
    for total in totals:
        by_version[total.version].append(total)
    return [
        _report(version, by_version[version], documents.get(version, {}))
        for version in sorted(by_version, reverse=True)
    ]


class _Numbers:
    """The totals of one version by node and measure."""

    def __init__(self, totals: Sequence[Total]) -> None:
        self._keys: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
        for total in totals:
            self._keys[(total.node, total.measure)][total.key] += total.n
        self.nodes = dict.fromkeys(total.node for total in totals if total.node)

    def of(self, node: str, measure: str) -> Counter[str]:
        return self._keys.get((node, measure), Counter())

    def sum(self, node: str, measure: str) -> int:
        return self.of(node, measure).total()

    def all(self, measure: str) -> Iterator[tuple[str, Counter[str]]]:
        return ((node, keys) for (node, own), keys in self._keys.items() if own == measure)


def _report(version: int, totals: Sequence[Total], document: Mapping[str, Any]) -> FlowReport:
    numbers = _Numbers(totals)
    kinds = {node: str(body.get("kind", "")) for node, body in document.get("nodes", {}).items()}
    order = [*kinds, *sorted(set(numbers.nodes) - set(kinds))]
    endings: Counter[str] = Counter()
    for _, keys in numbers.all("ended"):
        endings.update(keys)
    by_state: Counter[str] = Counter()
    for key, n in endings.items():
        by_state[key.partition(":")[0]] += n
    entered = numbers.sum("", "entered")
    goal_ids = [goal["id"] for goal in document.get("goals", ())]
    return FlowReport(
        version=version,
        entered=entered,
        in_progress=entered - by_state.total(),
        completed=by_state[COMPLETED],
        failed=by_state[FAILED],
        cancelled=by_state[CANCELLED],
        entries=_sorted(numbers.of("", "entered")),
        endings=_endings(endings),
        goals=_conversions(numbers.of("", "goal"), entered, goal_ids),
        splits=[bucket for node in order for bucket in _split(node, numbers, document, goal_ids)],
        nodes=[_node(node, kinds.get(node, ""), numbers) for node in order],
    )


def _node(node: str, kind: str, numbers: _Numbers) -> NodeReport:
    reached, left, ended = (numbers.sum(node, measure) for measure in ("reached", "left", "ended"))
    endings = _endings(numbers.of(node, "ended"))
    stays = {int(bucket): n for bucket, n in numbers.of(node, "stay").items()}
    return NodeReport(
        node=node,
        kind=kind,
        reached=reached,
        left=left,
        here=reached - left - ended,
        dropped=sum(ending.runs for ending in endings if ending.state != COMPLETED),
        ended=endings,
        branches=_sorted(numbers.of(node, "branch")),
        failures=_sorted(numbers.of(node, "failed")),
        effects=_effects(numbers.of(node, "effect")),
        p50_ms=quantile_ms(stays, 0.50),
        p95_ms=quantile_ms(stays, 0.95),
    )


def _effects(results: Counter[str]) -> dict[str, int]:
    settled = sum(
        n
        for key, n in results.items()
        if key in ("succeeded", *SETTLED_BY_LOG) or key.startswith(("failed:", "unknown:"))
    )
    open = results["asked"] - settled
    return {**_sorted(results), **({"unanswered": open} if open else {})}


def _split(
    node: str, numbers: _Numbers, document: Mapping[str, Any], goal_ids: Sequence[str]
) -> Iterator[Bucket]:
    through = {branch: (False, n) for branch, n in numbers.of(node, "split").items()}
    through |= {branch: (True, n) for branch, n in numbers.of(node, "holdout").items()}
    body = document.get("nodes", {}).get(node, {})
    drawn = body.get("branches", ()) if body.get("kind") == "split" else ()
    for one in drawn:
        through.setdefault(one["id"], (bool(one.get("holdout")), 0))
    reached: dict[str, Counter[str]] = defaultdict(Counter)
    for key, n in numbers.of(node, "split_goal").items():
        branch, _, goal = key.partition(":")
        reached[branch][goal] += n
    order = [*dict.fromkeys(one["id"] for one in drawn), *sorted(through)]
    for branch in dict.fromkeys(order):
        holdout, runs = through[branch]
        yield Bucket(node, branch, holdout, runs, _conversions(reached[branch], runs, goal_ids))


def _conversions(reached: Counter[str], of: int, goal_ids: Sequence[str]) -> list[Conversion]:
    names = dict.fromkeys([*goal_ids, *sorted(reached)])
    return [Conversion(goal, reached[goal], reached[goal] / of if of else 0.0) for goal in names]


def _endings(keys: Mapping[str, int]) -> list[Ending]:
    found = [Ending(*key.partition(":")[::2], n) for key, n in keys.items() if n]
    return sorted(found, key=lambda ending: (-ending.runs, ending.state, ending.reason))


def _sorted(keys: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(((key, n) for key, n in keys.items() if n), key=lambda pair: (-pair[1], pair[0])))
