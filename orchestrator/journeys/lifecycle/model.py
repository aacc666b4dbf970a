"""A compiled definition: for each leaf state, everything a decision needs, looked up once at publishing."""

from collections.abc import Mapping
from typing import Any, Literal

from msgspec import Struct

from orchestrator.core.rules import Rule
from orchestrator.core.templates import Template
from orchestrator.journeys.effects import EffectPolicy
from orchestrator.journeys.paths import overlaps

ActionType = Literal["webhook", "publish", "log"]


class Action(Struct, frozen=True):
    """One thing to do outside: its provider, its parameters and how often to try."""

    name: str
    type: ActionType
    params: dict[str, Template]
    private_params: frozenset[str]  # parameters that may hold personal values
    policy: EffectPolicy


class Assignments(Struct, frozen=True):
    """The values a transition sets; `constant` ones are shared by all decisions."""

    constant: dict[str, Any] = {}
    constant_private: dict[str, Any] = {}
    computed: tuple[tuple[str, Template, bool], ...] = ()  # path, value, whether it is personal
    counters: tuple[
        tuple[str, tuple[str, ...], int], ...
    ] = ()  # all of `computed`, if each adds a whole number


class Change(Struct, frozen=True):
    """Leaving one leaf for another: actions of exactly the levels left and entered, timers to cancel and arm."""

    target: str
    left: tuple[Action, ...]
    entered: tuple[Action, ...]
    cancel: tuple[str, ...]
    arm: tuple[tuple[str, int], ...]  # timer and delay in ms


class Branch(Struct, frozen=True):
    """One candidate of a state and event type (or of inactivity). Without `change` the state stays."""

    id: str
    when: Rule | None
    assign: Assignments
    actions: tuple[Action, ...]
    change: Change | None
    plain: bool  # nothing to do but to record: no actions, no timers


class Guard(Struct, frozen=True):
    """The event types a state accepts, and the actions they cause there."""

    id: str
    pointer: str
    events: frozenset[str]
    when: Rule | None
    actions: tuple[Action, ...]


class Leaf(Struct, frozen=True):
    """A state without states inside, with all it inherits."""

    name: str
    terminal: bool
    guard: Guard | None
    on: dict[str, tuple[Branch, ...]]
    needs: dict[str, frozenset[str] | None]  # variables the rules of an event type read here; None: any
    timers: dict[str, int]  # inactivity timers armed here, delay in ms
    expiries: dict[str, Branch]  # what each of them leads to


class Compiled(Struct, frozen=True):
    """What `decide` reads of a definition."""

    events: frozenset[str]
    initial: str
    begin: tuple[Action, ...]  # entry actions of the initial levels
    context: dict[str, Any]  # defaults without personal values
    private: dict[str, Any]
    personal: tuple[str, ...]  # paths of context and event which are stored encrypted
    declared: frozenset[str]  # top-level names of the context
    record: dict[str, Assignments]
    leaves: dict[str, Leaf]
    policies: Mapping[str, EffectPolicy]

    def is_personal(self, path: str) -> bool:
        """Whether a value at `path` may hold personal data."""
        return any(overlaps(path, own) for own in self.personal)
