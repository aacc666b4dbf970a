"""Who may enter: entry rules, dates, re-entry, and how many runs may be active."""

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

from msgspec.json import encode

from orchestrator.core.errors import Rejected
from orchestrator.core.rules import RuleFailed
from orchestrator.journeys.flow.bounds import CONTEXT_CHARS_MAX, EVENT_CHARS_MAX, NESTING_MAX, fits
from orchestrator.journeys.flow.commands import Start
from orchestrator.journeys.flow.compile import MANUAL
from orchestrator.journeys.flow.events import EntryRefused, RunStarted
from orchestrator.journeys.flow.model import Compiled, Trigger
from orchestrator.journeys.flow.state import RUNS_MAX
from orchestrator.journeys.flow.travel import travel
from orchestrator.journeys.flow.turn import Turn
from orchestrator.journeys.paths import assign, leaves, overlaps, overlay

KEY_CHARS_MAX = 128


def enter_by_event(turn: Turn) -> str:
    """Start a run if the event at hand lets the customer in; else why it doesn't, as a stable word."""
    assert turn.heard is not None
    why = "no_entry"
    for entry in turn.compiled.entries:
        if not entry.about(turn.heard["type"], turn.heard["payload"]):
            continue
        inputs: dict[str, Any] = {}
        try:
            if turn.holds(entry.when, None, inputs):
                why = _admit(turn, entry, "", inputs)
                if not why:
                    return ""
            else:
                why = "entry_condition"
        except RuleFailed as failure:
            if not turn.events:
                raise Rejected("flow.rule_failed", entry=entry.pointer, reason=failure.reason) from failure
            turn.add(EntryRefused(entry=entry.pointer, reason=failure.reason))
    return why


def enter_by_hand(turn: Turn, command: Start) -> None:
    """The `start` command. Raises Rejected."""
    entry = turn.compiled.manual
    if entry is None:
        raise Rejected("flow.no_manual_entry")
    turn.given = _given(turn.compiled, command.context)
    inputs: dict[str, Any] = {}
    state = turn.state
    if command.run in {*state.runs, *state.watched, *state.ended}:
        raise Rejected("flow.run_exists", run=command.run)
    try:
        why = "entry_condition" if not turn.holds(entry.when, None, inputs) else ""
        why = why or _admit(turn, entry, command.run, inputs)
    except RuleFailed as failure:
        raise Rejected("flow.rule_failed", entry=entry.pointer, reason=failure.reason) from failure
    if why:
        raise Rejected(f"flow.{why}", active=len(state.runs), entered=state.entered)


def _admit(turn: Turn, entry: Trigger, name: str, inputs: dict[str, Any]) -> str:
    """Start the run, or say why not. Raises RuleFailed."""
    compiled, facts, state = turn.compiled, turn.facts, turn.state
    reentry = compiled.reentry
    at_ms = min(facts.occurred_ms if turn.heard is None else turn.heard["timestamp"], facts.now_ms)
    if compiled.start_ms and facts.now_ms < compiled.start_ms:
        return "not_open_yet"
    if compiled.stop_ms and facts.now_ms >= compiled.stop_ms:
        return "closed"
    if reentry.mode == "once" and state.entered:
        return "entered_before"
    if reentry.mode == "after" and state.entered and at_ms < state.last_entry_ms + reentry.after_ms:
        return "too_soon"
    if len(state.runs) >= min(reentry.at_once, RUNS_MAX):
        return "too_many_runs"
    key, mark = _key(turn)
    if reentry.mode == "key" and (mark in state.keys or not mark):
        return "entered_with_key" if mark else "no_key"
    event: dict[str, Any] = {} if turn.heard is None else dict(turn.heard)
    if not compiled.keeps_entry:
        event = {}
    if not fits(event, EVENT_CHARS_MAX):
        return "event_too_large"
    public, private = _context(compiled, turn.given)
    hidden = {"context": private, "entry": event}
    turn.pin()
    run_id = name or f"r{facts.version + 1}"
    turn.add(
        RunStarted(
            run=run_id,
            node=compiled.start,
            at_ms=at_ms,
            definition_version=facts.definition.version,
            trigger=MANUAL if turn.heard is None else turn.heard["type"],
            entry=entry.pointer,
            inputs=inputs,
            key=key,
            key_mark=mark,
            context=public,
            goals={goal.id: at_ms + goal.within_ms if goal.within_ms else 0 for goal in compiled.goals},
            private={part: values for part, values in hidden.items() if values},
        )
    )
    travel(turn, run_id, compiled.start)
    return ""


def _key(turn: Turn) -> tuple[Any, str]:
    """The value of the re-entry key and its mark; no mark for a value that is no key. Raises RuleFailed."""
    template = turn.compiled.reentry.key
    if template is None:
        return None, ""
    if turn.personal(template, None):
        raise RuleFailed("personal_key", "the key reads personal values")
    key = turn.value(template, None)
    if not isinstance(key, str | int) or isinstance(key, bool) or not 0 < len(str(key)) <= KEY_CHARS_MAX:
        return None, ""
    return key, blake2b(encode(key), digest_size=8).hexdigest()


def _context(compiled: Compiled, given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The first values of a run's context: those anyone may see, and the personal ones by path."""
    public, private = dict(compiled.context), dict(compiled.private)
    for path, value in given.items():
        if any(overlaps(path, own) for own in compiled.personal):
            private = overlay(private, {path: value})
        else:
            public = assign(public, {path: value})
    return public, private


def _given(compiled: Compiled, context: Mapping[str, Any]) -> Mapping[str, Any]:
    """The values by path; only what the definition declares. Raises Rejected."""
    if not fits(context, CONTEXT_CHARS_MAX):
        raise Rejected("flow.context_too_large", characters_max=CONTEXT_CHARS_MAX, nesting_max=NESTING_MAX)
    given = leaves(context)
    for path in given:
        if path.split(".")[0] not in compiled.declared:
            raise Rejected("flow.unknown_variable", path=path[:200], variables=sorted(compiled.declared))
    return given
