"""The state of a customer's flow: active runs, those whose goals still count, and what re-entry has to remember."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from msgspec import UNSET, Struct, UnsetType, convert, to_builtins

from orchestrator.journeys import effects
from orchestrator.journeys.effects import PendingEffects

RUNS_MAX: Final = 20  # active at once
WATCHED_MAX: Final = 20  # ended, with goals that still count
KEYS_MAX: Final = 200  # re-entry keys remembered
ENDED_MAX: Final = 20  # ids of ended runs remembered

NOT_STARTED: Final = "NOT_STARTED"
IN_PROGRESS: Final = "IN_PROGRESS"
WAITING: Final = "WAITING"
PAUSED: Final = "PAUSED"
COMPLETED: Final = "COMPLETED"
FAILED: Final = "FAILED"
CANCELLED: Final = "CANCELLED"


class Wait(Struct, frozen=True, gc=False, omit_defaults=True):
    """What a run waits for. While it is paused the times are None, and what was left of them is kept."""

    reason: str
    timer: str
    due_ms: int | None = None
    timeout_ms: int | None = None
    type: str = ""
    due_left_ms: int | None = None
    timeout_left_ms: int | None = None
    reference: str = ""  # of the contact that was asked for
    answered: bool = False  # while the run was paused

    @property
    def timeout_timer(self) -> str:
        """The timer of the timeout; `timer` is that of the time waited for."""
        return f"{self.timer}:timeout"

    def timers(self) -> Iterator[tuple[str, int]]:
        """The armed timers and when they are due (ms)."""
        if self.due_ms is not None:
            yield self.timer, self.due_ms
        if self.timeout_ms is not None:
            yield self.timeout_timer, self.timeout_ms


class Run(Struct, frozen=True, omit_defaults=True):
    """One walk through the graph. The dicts are never changed in place."""

    id: str
    node: str
    started_ms: int
    version: int
    state: str = IN_PROGRESS
    trigger: str = ""
    key: Any = None
    context: dict[str, Any] = {}
    private: Mapping[str, Any] = {}  # personal values of the context by path
    entry: Mapping[str, Any] = {}  # the event that began it: type, payload, timestamp
    event: Mapping[str, Any] = {}  # the one that moved it on last
    results: Mapping[str, dict[str, Any]] = {}  # of actions by node
    visits: Mapping[str, int] = {}
    splits: Mapping[str, str] = {}
    goals: Mapping[str, int] = {}  # open ones and until when (ms); 0: while the run lasts
    reached: tuple[str, ...] = ()
    wait: Wait | None = None
    effect: str = ""  # whose answer it waits for
    paused: bool = False
    hold_until_ms: int | None = None  # since a cap was used up at this visit: when it is waited for no longer


class LastRun(Struct, frozen=True, gc=False):
    """What became of the run that ended last."""

    run: str
    node: str
    state: str
    reason: str
    at_ms: int


class FlowState(Struct, frozen=True, omit_defaults=True):
    """All runs of one customer through one definition."""

    version: int = 0  # the definition version runs are pinned to; 0: none is active
    runs: Mapping[str, Run] = {}  # active, oldest first
    watched: Mapping[str, Run] = {}
    pending: PendingEffects = {}
    owners: Mapping[str, tuple[str, str]] = {}  # of unanswered effects: run and node
    contacts: Mapping[
        str, tuple[str, str]
    ] = {}  # that unanswered effects used: record's stream, and reference
    entered: int = 0
    last_entry_ms: int = 0
    keys: tuple[str, ...] = ()  # marks of re-entry keys, oldest first
    ended: tuple[str, ...] = ()  # run ids, oldest first
    last: LastRun | None = None


def deadline_ms(state: FlowState | None, timer: str) -> int | None:
    """When the timer is due; None when nothing waits for it."""
    if state is None:
        return None
    if timer.startswith(effects.TIMER_PREFIX):
        return effects.deadline_ms(state.pending, timer)
    found = waiting_for(state, timer)
    return None if found is None else found[1]


def waiting_for(state: FlowState, timer: str) -> tuple[Run, int] | None:
    """The run that waits for a timer, and when it is due."""
    for run in state.runs.values():
        if run.wait is not None:
            for name, due_ms in run.wait.timers():
                if name == timer:
                    return run, due_ms
    return None


def label(state: FlowState | None) -> str:
    """State and node of the newest run, such as `WAITING wait_3d`."""
    if state is None:
        return ""
    if state.runs:
        run = next(reversed(state.runs.values()))  # type: ignore[call-overload]
        return f"{run.state} {run.node}"
    return NOT_STARTED if state.last is None else f"{state.last.state} {state.last.node}"


def dump(state: FlowState) -> dict[str, Any]:
    """JSON form; personal values, and events as they came, only under `private`."""
    pending, pending_private = effects.dump(state.pending)
    private: dict[str, Any] = {}
    data: dict[str, Any] = to_builtins(state)
    for group in ("runs", "watched"):
        if group not in data:
            continue
        data[group] = list(data[group].values())  # their order is part of the state
        for run in data[group]:
            hidden = {name: run.pop(name) for name in ("private", "entry", "event") if name in run}
            if hidden:
                private[run["id"]] = hidden
    data.pop("pending", None)
    if pending:
        data["pending"] = pending
    hidden = {"runs": private, "pending": pending_private}
    hidden = {name: values for name, values in hidden.items() if values}
    return {**data, "private": hidden} if hidden else data


def load(data: Mapping[str, Any]) -> FlowState:
    """The state from its dump; what was private and is gone reads as nothing."""
    private = data.get("private", {})
    hidden = private.get("runs", {})
    shown = {name: value for name, value in data.items() if name not in {"private", "pending"}}
    for group in ("runs", "watched"):
        if group in shown:
            shown[group] = {run["id"]: {**run, **hidden.get(run["id"], {})} for run in shown[group]}
    state = convert(shown, FlowState)
    if "pending" not in data:
        return state
    pending = effects.load(data["pending"], private.get("pending", {}))
    return changed(state, pending=pending)


def view(state: FlowState) -> dict[str, Any]:
    """What others may see: where each run is, without what it knows."""
    return {
        "state": label(state).partition(" ")[0],
        "runs": [
            {"run": run.id, "state": run.state, "node": run.node, "startedAt": run.started_ms}
            | ({"due": min(due for _, due in run.wait.timers())} if _timed(run) and run.wait else {})
            for run in state.runs.values()
        ],
        "last": None if state.last is None else to_builtins(state.last),
        "entered": state.entered,
        "definitionVersion": state.version,
        "pendingEffects": len(state.pending),
    }


def changed(
    state: FlowState,
    *,
    version: int | UnsetType = UNSET,
    runs: Mapping[str, Run] | UnsetType = UNSET,
    watched: Mapping[str, Run] | UnsetType = UNSET,
    pending: PendingEffects | UnsetType = UNSET,
    owners: Mapping[str, tuple[str, str]] | UnsetType = UNSET,
    contacts: Mapping[str, tuple[str, str]] | UnsetType = UNSET,
) -> FlowState:
    """The state with some of its parts replaced."""
    return FlowState(
        version=state.version if version is UNSET else version,
        runs=state.runs if runs is UNSET else runs,
        watched=state.watched if watched is UNSET else watched,
        pending=state.pending if pending is UNSET else pending,
        owners=state.owners if owners is UNSET else owners,
        contacts=state.contacts if contacts is UNSET else contacts,
        entered=state.entered,
        last_entry_ms=state.last_entry_ms,
        keys=state.keys,
        ended=state.ended,
        last=state.last,
    )


def _timed(run: Run) -> bool:
    return run.wait is not None and any(True for _ in run.wait.timers())
