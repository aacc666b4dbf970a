"""What happens in a flow, beside the events every kind shares. Every event of a run names the run and the node."""

from typing import Any, ClassVar

from orchestrator.core.events import Event


class RunStarted(Event, frozen=True):
    """A customer entered; `entry` is the place in the definition (JSON Pointer) that let them in."""

    NAME: ClassVar[str] = "flow.run_started.v1"
    run: str
    node: str
    at_ms: int
    definition_version: int
    trigger: str  # the event type, or `manual`
    entry: str
    inputs: dict[str, Any] = {}  # what the entry rule read
    key: Any = None  # the value of the re-entry key
    key_mark: str = ""  # a short hash of it, kept after the run
    context: dict[str, Any] = {}
    goals: dict[str, int] = {}  # goal and until when it counts; 0: while the run lasts
    private: dict[str, Any] = {}  # `context` by path, and the `entry` event


class NodeEntered(Event, frozen=True):
    """The run is at a node, for the `visit`-th time."""

    NAME: ClassVar[str] = "flow.node_entered.v1"
    run: str
    node: str
    visit: int
    at_ms: int


class BranchTaken(Event, frozen=True):
    """Why the run left a node as it did: the rule (JSON Pointer), what it read, and the edge's branch."""

    NAME: ClassVar[str] = "flow.branch_taken.v1"
    run: str
    node: str
    branch: str
    to: str
    rule: str = ""
    index: int = -1  # of the branch that held; -1: none, or no list of branches
    inputs: dict[str, Any] = {}
    bucket: int = -1  # of a split: 0 to 9999
    holdout: bool = False


class Waiting(Event, frozen=True):
    """The run stays at a node until a time, an event or a person moves it on. Times are ms, UTC."""

    NAME: ClassVar[str] = "flow.waiting.v1"
    run: str
    node: str
    visit: int
    at_ms: int
    reason: str  # for | until | local | event | quiet_hours | decision | contact | cap
    due_ms: int | None = None
    timeout_ms: int | None = None
    type: str = ""  # of the event waited for
    zone: str = ""  # by which local times were read
    reference: str = ""  # of the contact that was asked for
    hold_until_ms: int | None = None  # when a used-up cap is waited for no longer


class Resumed(Event, frozen=True):
    """The wait is over; `by` is time, timeout, event, continue, failure, or contact: the record has answered."""

    NAME: ClassVar[str] = "flow.resumed.v1"
    run: str
    node: str
    at_ms: int
    by: str
    type: str = ""  # of the event that did it
    inputs: dict[str, Any] = {}
    private: dict[str, Any] = {}  # the `event`


class ActionStarted(Event, frozen=True):
    """The node's action is being asked for as this effect; its ending comes as the shared events of effects."""

    NAME: ClassVar[str] = "flow.action_started.v1"
    run: str
    node: str
    visit: int
    effect: str
    awaited: bool = True
    contact: str = ""  # the reference under which the record counts it; empty: it doesn't
    record: str = ""  # the stream of that record


class ContactAnswered(Event, frozen=True):
    """The customer's record said whether the run may reach the customer; the record's own event says why."""

    NAME: ClassVar[str] = "flow.contact_answered.v1"
    run: str
    node: str
    reference: str
    granted: bool
    at_ms: int
    reason: str = ""
    free_at_ms: int | None = None


class ActionSkipped(Event, frozen=True):
    """The action was not asked for: no_record, no_consent, suppressed or cap."""

    NAME: ClassVar[str] = "flow.action_skipped.v1"
    run: str
    node: str
    visit: int
    reason: str


class NodeFailed(Event, frozen=True):
    """Something at a node went wrong, by a stable word; a failure edge or the run's end follows."""

    NAME: ClassVar[str] = "flow.node_failed.v1"
    run: str
    node: str
    reason: str
    detail: str = ""  # a place or a path, never a value


class RuleBroken(Event, frozen=True):
    """A rule about an event (record, goal, exit, match) could not be read; it counts as not met."""

    NAME: ClassVar[str] = "flow.rule_broken.v1"
    run: str
    node: str
    rule: str
    reason: str


class ContextSet(Event, frozen=True):
    """An event the definition records changed values of the run's context."""

    NAME: ClassVar[str] = "flow.context_set.v1"
    run: str
    node: str
    type: str
    set: dict[str, Any] = {}
    private: dict[str, Any] = {}


class GoalReached(Event, frozen=True):
    """A conversion, once a run and goal; `splits` are the buckets' branches the run went through."""

    NAME: ClassVar[str] = "flow.goal_reached.v1"
    run: str
    node: str
    goal: str
    at_ms: int
    inputs: dict[str, Any] = {}
    splits: dict[str, str] = {}


class Paused(Event, frozen=True):
    """The run stands still; what was left of its wait is kept (ms)."""

    NAME: ClassVar[str] = "flow.paused.v1"
    run: str
    node: str
    at_ms: int
    reason: str = ""
    due_left_ms: int | None = None
    timeout_left_ms: int | None = None


class Unpaused(Event, frozen=True):
    """The run goes on; its wait ends at these times."""

    NAME: ClassVar[str] = "flow.unpaused.v1"
    run: str
    node: str
    at_ms: int
    due_ms: int | None = None
    timeout_ms: int | None = None


class RunEnded(Event, frozen=True):
    """The run is over: COMPLETED, FAILED or CANCELLED, and the reason in a stable word or the document's own."""

    NAME: ClassVar[str] = "flow.run_ended.v1"
    run: str
    node: str
    at_ms: int
    state: str
    reason: str
    result: str = ""  # the end node's label
    rule: str = ""  # of the exit or goal that ended it
    inputs: dict[str, Any] = {}


class EntryRefused(Event, frozen=True):
    """An event that moved other runs could not start one, by a stable word."""

    NAME: ClassVar[str] = "flow.entry_refused.v1"
    entry: str
    reason: str


class FlowIdle(Event, frozen=True):
    """No run is active and no effect unanswered. Only in older logs: the last event before it says so itself now."""

    NAME: ClassVar[str] = "flow.idle.v1"
    unpins: bool = True


EVENTS: tuple[type[Event], ...] = (
    RunStarted,
    NodeEntered,
    BranchTaken,
    Waiting,
    Resumed,
    ActionStarted,
    ContactAnswered,
    ActionSkipped,
    NodeFailed,
    RuleBroken,
    ContextSet,
    GoalReached,
    Paused,
    Unpaused,
    RunEnded,
    EntryRefused,
    FlowIdle,
)
