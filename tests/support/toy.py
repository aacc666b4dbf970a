"""A journey kind for engine tests: a counter with timers, and commands that misbehave on request."""

import math
import os
import signal
import threading
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import msgspec

from orchestrator.core.decider import EffectResult, Facts, Problem, TimerFired
from orchestrator.core.errors import Malformed, Rejected
from orchestrator.core.events import (
    CommandIgnored,
    CommandRejected,
    EffectRequested,
    EffectSucceeded,
    Event,
    JourneyStarted,
    TimerArmed,
    TimerCancelled,
    timers_of,
)


class Added(Event, frozen=True):
    """The counter grew."""

    NAME: ClassVar[str] = "toy.added.v1"
    n: int
    private: dict[str, Any] = {}


class Unfoldable(Event, frozen=True):
    """No state can follow from it."""

    NAME: ClassVar[str] = "toy.unfoldable.v1"


class Unregistered(Event, frozen=True):
    """Missing from the kind's events."""

    NAME: ClassVar[str] = "toy.unregistered.v1"


class State(msgspec.Struct, frozen=True):
    total: int = 0
    timers: tuple[tuple[str, int], ...] = ()
    private: dict[str, Any] = {}


class Toy:
    """`add {n}`, `arm {timer, delay_ms, carried}`, `disarm {timer, carried}`, `ask {}`, `misbehave {how}`."""

    name = "toy"
    reads_record = False
    events: tuple[type[Event], ...] = (Added, Unfoldable)
    fold_version = 1
    schema: Mapping[str, Any] = {"type": "object"}

    def check(self, document: Mapping[str, Any]) -> Sequence[Problem]:
        return ()

    def compile(self, document: Mapping[str, Any]) -> Any:
        """What journeys of this definition do with raw events: a word for `misbehave`, or None."""
        return document.get("misbehave")

    def listens(self, document: Mapping[str, Any]) -> frozenset[str]:
        return frozenset(document.get("events", ()))

    def parse(self, type: str, data: Mapping[str, Any]) -> Any:
        if type not in ("add", "arm", "disarm", "ask", "misbehave"):
            raise Malformed(f"unknown command type {type!r}", reason="unknown_type")
        if type == "add" and (not isinstance(data.get("n"), int) or isinstance(data["n"], bool)):
            raise Malformed("add needs a whole number n")
        if data.get("how") == "parse":
            raise KeyError("a bug in a parser")
        return (type, dict(data))

    def parse_raw(self, type: str, data: Mapping[str, Any]) -> Any:
        return ("add", {"n": data.get("payload", {}).get("n", 1)})

    def decide(self, state: State | None, command: Any, facts: Facts) -> Sequence[Event]:
        if isinstance(command, TimerFired):
            if command.timer == "explode":
                raise ZeroDivisionError("a bug in a decider of timers")
            return [Added(1000)]
        if isinstance(command, EffectResult):
            return [EffectSucceeded(command.effect, command.attempt, command.result)]
        if facts.definition.compiled:
            return misbehave(facts.definition.compiled)
        begun = [] if state is not None else [JourneyStarted(facts.definition.version, facts.now_ms)]
        match command:
            case "add", {"n": n, **rest}:
                if n < 0:
                    raise Rejected("toy.negative", n=n)
                private: Any = rest.get("private", {})
                return [*begun, Added(n, private)]
            case "arm", {"timer": timer, "delay_ms": delay_ms, **rest}:
                due_ms = facts.occurred_ms + delay_ms
                armed: Event = TimerArmed(timer, due_ms)
                return [*begun, Added(0, timers={timer: due_ms}) if "carried" in rest else armed]
            case "disarm", {"timer": timer, **rest}:
                gone: Event = TimerCancelled(timer)
                return [*begun, Added(0, timers={timer: None}) if "carried" in rest else gone]
            case "ask", {}:
                effect = f"e{facts.version + 1}"
                return [
                    *begun,
                    EffectRequested(effect, "ask", "log", {}, suppressed=not facts.perform_effects),
                ]
            case "misbehave", {"how": how}:
                return misbehave(how)
        return []

    def evolve(self, state: State | None, event: Event) -> State | None:
        if isinstance(event, Unfoldable):
            raise ZeroDivisionError("a bug in evolve")
        if isinstance(event, CommandRejected | CommandIgnored):
            return state
        state = state or State()
        for timer, due_ms in timers_of(event).items():
            armed = () if due_ms is None else ((timer, due_ms),)
            state = msgspec.structs.replace(state, timers=(*_without(state, timer), *armed))
        if isinstance(event, Added):
            return msgspec.structs.replace(
                state, total=state.total + event.n, private=state.private | event.private
            )
        return state

    def deadline_ms(self, state: State | None, timer: str) -> int | None:
        return dict(state.timers).get(timer) if state else None

    def label(self, state: State | None) -> str:
        return "" if state is None else "COUNTING"

    def dump(self, state: State) -> dict[str, Any]:
        return {"total": state.total, "timers": state.timers, "private": state.private}

    def load(self, data: Mapping[str, Any]) -> State:
        return msgspec.convert(data, State)

    def view(self, state: State) -> dict[str, Any]:
        return {"total": state.total}


def _without(state: State, timer: str) -> tuple[tuple[str, int], ...]:
    return tuple(t for t in state.timers if t[0] != timer)


def misbehave(how: str) -> Sequence[Event]:
    """What no decider should do."""
    match how:
        case "raise":
            raise ZeroDivisionError("a bug in a decider")
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "hang":
            threading.Event().wait()
        case "unstorable":
            return [Added(math.nan)]  # type: ignore[arg-type]
        case "unregistered":
            return [Unregistered()]
        case "evolve":
            return [Added(1), TimerArmed("lost", 1), Unfoldable()]
        case "deep":
            return [JourneyStarted(1, 0, _deep(2_000))]
        case "bloat":
            return [JourneyStarted(1, 0, {"text": "x" * (4 << 20)})]
    return []


def _deep(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels):
        value = {"a": value}
    return value


TOY = Toy()
