"""A compiled definition: for each node, everything a decision needs, looked up once at publishing."""

from collections.abc import Mapping
from typing import Any, Final, Literal

from msgspec import Struct

from orchestrator.core.rules import Rule
from orchestrator.core.templates import Template
from orchestrator.journeys.effects import EffectPolicy
from orchestrator.journeys.flow.local_time import Quiet
from orchestrator.journeys.flow.placeholders import Param

NEXT: Final = "next"  # the branch of an edge that names none
DEFAULT: Final = "default"
TIMEOUT: Final = "timeout"
FAILURE: Final = "failure"
EXHAUSTED: Final = "exhausted"

NodeKind = Literal["start", "action", "condition", "split", "wait", "end"]
Unknown = Literal["retry", "fail", "skip", "ask"]


class Reach(Struct, frozen=True):
    """How the customer is reached: the channel that has to be allowed, and whether caps count it.

    `hold_ms`: how long a used-up cap is waited for; 0: not at all.
    """

    channel: str
    capped: bool = False
    message_class: str = ""
    hold_ms: int = 0


class Action(Struct, frozen=True):
    """One thing to do outside: its provider, its parameters and how often to try."""

    type: str
    params: dict[str, Param]
    policy: EffectPolicy
    unknown: Unknown = "fail"
    wait: bool = True  # for the answer
    reach: Reach | None = None


class Branch(Struct, frozen=True):
    """One way out of a condition."""

    id: str
    pointer: str
    when: Rule


class Bucket(Struct, frozen=True):
    """One way out of a split, for buckets below `below` (0 to 10000)."""

    id: str
    below: int
    holdout: bool


class Local(Struct, frozen=True):
    """A time of day on some weekdays (0 is Monday)."""

    minute: int
    weekdays: frozenset[int]


class WaitPlan(Struct, frozen=True):
    """What a wait node waits for: exactly one of the first four."""

    for_ms: int | None = None
    until: Template | None = None  # a constant instant in ms, or a rule
    local: Local | None = None
    type: str = ""  # of an event
    match: Rule | None = None
    pointer: str = ""
    timeout_ms: int | None = None


class Node(Struct, frozen=True):
    """A node with its edges: branch and target."""

    id: str
    kind: NodeKind
    pointer: str
    edges: dict[str, str]
    max_visits: int = 0
    zone: str = ""
    quiet: Quiet | None = None
    action: Action | None = None
    branches: tuple[Branch, ...] = ()
    buckets: tuple[Bucket, ...] = ()
    salt: str = ""
    wait: WaitPlan | None = None
    result: str = ""


class Trigger(Struct, frozen=True):
    """An entry, exit or goal: an event type (empty: at any time), perhaps a segment, perhaps a condition."""

    id: str
    pointer: str
    type: str
    when: Rule | None
    segment: str = ""
    reason: str = ""
    within_ms: int = 0  # 0: while the run lasts
    ends: bool = False

    def about(self, type: str, payload: Mapping[str, Any]) -> bool:
        """Whether an event is of the type, and of the segment, that is meant."""
        return self.type == type and (not self.segment or payload.get("segment") == self.segment)


class Reentry(Struct, frozen=True):
    """When a customer may enter again, and how many runs may be active at once."""

    mode: Literal["once", "always", "after", "key"]
    after_ms: int = 0
    key: Template | None = None
    at_once: int = 1


class Compiled(Struct, frozen=True):
    """What `decide` reads of a definition."""

    events: frozenset[str]
    start: str
    nodes: dict[str, Node]
    entries: tuple[Trigger, ...]
    manual: Trigger | None
    reentry: Reentry
    start_ms: int
    stop_ms: int
    exits: tuple[Trigger, ...]
    goals: tuple[Trigger, ...]
    context: dict[str, Any]  # first values without personal ones
    private: dict[str, Any]  # personal ones by path
    personal: tuple[str, ...]
    declared: frozenset[str]
    record: dict[str, dict[str, Template]]
    policies: Mapping[str, EffectPolicy]  # by node: an effect is called after its node
    zone: str
    keeps_entry: bool  # whether anything reads it later
    keeps_event: bool
