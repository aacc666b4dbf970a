"""The bookkeeping of effects every kind of journey shares: request, answer, retry, silence.

A journey keeps its unanswered effects in its state (`PendingEffects`) and one timer per effect, which is either
the wait for the answer or the wait before the next attempt. All functions return events; `evolve` folds them.
"""

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any, ClassVar, Final, Literal

from msgspec import Struct, to_builtins
from msgspec.json import encode

from orchestrator.core.decider import EffectResult, Facts
from orchestrator.core.events import (
    EffectFailed,
    EffectRequested,
    EffectSucceeded,
    Event,
    TimerArmed,
    TimerCancelled,
)

PENDING_MAX: Final = 64
PARAMS_BYTES_MAX: Final = 65_536  # they stay in the journey's state until the answer
RETRY_AFTER_MAX_MS: Final = 86_400_000
TIMER_PREFIX: Final = "effect:"
TIMED_OUT: Final = "no_answer"


class EffectPolicy(Struct, frozen=True):
    """What a definition says about an action's attempts. `on_*` are event types the journey sends itself."""

    attempts: int = 5
    initial_ms: int = 1_000
    factor: float = 2.0
    max_ms: int = 300_000
    jitter: float = 0.2  # share of the delay that may be taken off
    timeout_ms: int = 10_000  # of one call to the provider
    answer_within_ms: int = 300_000  # until silence counts as an unknown result
    unknown: Literal["retry", "fail"] = "fail"
    on_success: str = ""
    on_failure: str = ""


class PendingEffect(Struct, frozen=True, gc=False, omit_defaults=True):
    """An effect without a final answer; `params` are kept so that every attempt sends the same."""

    effect: str
    action: str
    type: str
    params: dict[str, Any]
    attempt: int
    timeout_ms: int
    due_ms: int = 0  # of its timer
    waits_for_retry: bool = False
    private: dict[str, Any] = {}


PendingEffects = Mapping[str, PendingEffect]


class EffectAttemptFailed(Event, frozen=True):
    """One attempt failed or stayed unanswered; the next is asked for at `retry_at_ms`."""

    NAME: ClassVar[str] = "journey.effect_attempt_failed.v1"
    effect: str
    attempt: int
    error: str
    retry_at_ms: int
    detail: str = ""
    unknown: bool = False


class Settled(Struct, frozen=True):
    """What an answer or a timer leads to. `effect` is set when the effect has come to its end."""

    events: Sequence[Event]
    effect: PendingEffect | None = None
    succeeded: bool = False
    error: str = ""
    result: dict[str, Any] = {}


_NOTHING = Settled(())


def effect_id(facts: Facts, index: int) -> str:
    """The id of the decision's `index`-th effect: unique in the stream, since versions never come back."""
    return f"e{facts.version + 1}-{index}"


def request(facts: Facts, effect: EffectRequested, *, pending: int, policy: EffectPolicy) -> Sequence[Event]:
    """The events asking for a new effect; `pending` is the number of effects already unanswered."""
    if facts.backfill and not facts.perform_effects:
        return (_suppressed(effect),)
    if pending >= PENDING_MAX:
        detail = f"{PENDING_MAX} effects of this journey are unanswered"
        return (EffectFailed(effect=effect.effect, attempt=0, error="too_many_pending", detail=detail),)
    if len(encode((effect.params, effect.private))) > PARAMS_BYTES_MAX:
        detail = f"the parameters are larger than {PARAMS_BYTES_MAX} bytes"
        return (EffectFailed(effect=effect.effect, attempt=0, error="params_too_large", detail=detail),)
    return (effect, _answer_timer(effect.effect, facts, policy))


def answer(
    pending: PendingEffects, result: EffectResult, facts: Facts, policies: Mapping[str, EffectPolicy]
) -> Settled:
    """What a provider's answer leads to; no events when nobody waits for it any more."""
    effect = pending.get(result.effect)
    if effect is None:
        return _NOTHING
    policy = policies.get(effect.action, EffectPolicy())
    if result.status == "succeeded":  # from whichever attempt: it has happened
        done = EffectSucceeded(effect=effect.effect, attempt=result.attempt, result=result.result)
        return Settled((done, _cancel(effect)), effect, succeeded=True, result=result.result)
    if result.attempt != effect.attempt or effect.waits_for_retry:
        return _NOTHING
    unknown = result.status == "unknown"
    again = policy.unknown == "retry" if unknown else result.retryable
    if again and effect.attempt < policy.attempts:
        return _retry_later(effect, result, facts, policy)
    failed = EffectFailed(
        effect=effect.effect,
        attempt=effect.attempt,
        error=result.error or result.status,
        detail=result.detail,
        unknown=unknown,
        result=result.result,
    )
    return Settled((failed, _cancel(effect)), effect, error=failed.error, result=result.result)


def timer_fired(
    pending: PendingEffects, timer: str, facts: Facts, policies: Mapping[str, EffectPolicy]
) -> Settled:
    """What an effect's timer leads to: the next attempt, or an answer that never came."""
    effect = pending.get(timer.removeprefix(TIMER_PREFIX))
    if effect is None:
        return _NOTHING
    if effect.waits_for_retry:
        policy = policies.get(effect.action, EffectPolicy())
        again = EffectRequested(
            effect=effect.effect,
            action=effect.action,
            type=effect.type,
            params=effect.params,
            attempt=effect.attempt + 1,
            timeout_ms=effect.timeout_ms,
            private=effect.private,
        )
        if facts.backfill and not facts.perform_effects:
            return Settled((_suppressed(again), _cancel(effect)), effect)
        return Settled((again, _answer_timer(effect.effect, facts, policy)))
    silence = EffectResult(effect=effect.effect, attempt=effect.attempt, status="unknown", error=TIMED_OUT)
    return answer(pending, silence, facts, policies)


def evolve(pending: PendingEffects, event: Event) -> PendingEffects:
    """The unanswered effects after an event; the same object when the event says nothing about them."""
    match event:
        case EffectRequested(suppressed=False):
            asked = PendingEffect(
                effect=event.effect,
                action=event.action,
                type=event.type,
                params=event.params,
                attempt=event.attempt,
                timeout_ms=event.timeout_ms,
                private=event.private,
            )
            return {**pending, event.effect: asked}
        case EffectSucceeded() | EffectFailed() | EffectRequested() if event.effect in pending:
            return {name: effect for name, effect in pending.items() if name != event.effect}
        case EffectAttemptFailed() if (effect := pending.get(event.effect)) is not None:
            return {**pending, event.effect: _changed(effect, effect.due_ms, waits_for_retry=True)}
        case TimerArmed() if (effect := pending.get(event.timer.removeprefix(TIMER_PREFIX))) is not None:
            changed = _changed(effect, event.due_ms, waits_for_retry=effect.waits_for_retry)
            return {**pending, effect.effect: changed}
    return pending


def deadline_ms(pending: PendingEffects, timer: str) -> int | None:
    """When an effect's timer is due; None when the effect is settled."""
    effect = pending.get(timer.removeprefix(TIMER_PREFIX))
    return None if effect is None else effect.due_ms


def dump(pending: PendingEffects) -> tuple[dict[str, Any], dict[str, Any]]:
    """JSON forms of the effects: what may be shown, and the private params by effect."""
    shown = {name: to_builtins(effect) for name, effect in pending.items()}
    private = {name: data.pop("private") for name, data in shown.items() if "private" in data}
    return shown, private


def load(shown: Mapping[str, Any], private: Mapping[str, Any]) -> PendingEffects:
    """The effects from their dump."""
    return {name: PendingEffect(**data, private=private.get(name, {})) for name, data in shown.items()}


def _retry_later(effect: PendingEffect, result: EffectResult, facts: Facts, policy: EffectPolicy) -> Settled:
    delay_ms = retry_delay_ms(policy, facts, effect.effect, effect.attempt)
    if result.retry_after_ms is not None:
        delay_ms = max(delay_ms, min(result.retry_after_ms, RETRY_AFTER_MAX_MS))
    due_ms = facts.now_ms + delay_ms
    failed = EffectAttemptFailed(
        effect=effect.effect,
        attempt=effect.attempt,
        error=result.error or result.status,
        retry_at_ms=due_ms,
        detail=result.detail,
        unknown=result.status == "unknown",
    )
    return Settled((failed, TimerArmed(timer=TIMER_PREFIX + effect.effect, due_ms=due_ms)))


def retry_delay_ms(policy: EffectPolicy, facts: Facts, effect: str, attempt: int) -> int:
    """Exponential backoff after `attempt`; its jitter comes from the effect's name, so a replay agrees."""
    exponent = min(attempt - 1, 64)
    full_ms = min(policy.initial_ms * policy.factor**exponent, policy.max_ms)
    seed = blake2b(f"{facts.stream.text}/{effect}/{attempt}".encode(), digest_size=4).digest()
    return max(1, int(full_ms * (1 - policy.jitter * int.from_bytes(seed, "big") / 2**32)))


def _suppressed(effect: EffectRequested) -> EffectRequested:
    return EffectRequested(
        effect=effect.effect,
        action=effect.action,
        type=effect.type,
        params=effect.params,
        attempt=effect.attempt,
        timeout_ms=effect.timeout_ms,
        suppressed=True,
        private=effect.private,
    )


def _answer_timer(effect: str, facts: Facts, policy: EffectPolicy) -> TimerArmed:
    wait_ms = max(policy.answer_within_ms, policy.timeout_ms)
    return TimerArmed(timer=TIMER_PREFIX + effect, due_ms=facts.now_ms + wait_ms)


def _cancel(effect: PendingEffect) -> TimerCancelled:
    return TimerCancelled(timer=TIMER_PREFIX + effect.effect)


def _changed(effect: PendingEffect, due_ms: int, *, waits_for_retry: bool) -> PendingEffect:
    return PendingEffect(
        effect=effect.effect,
        action=effect.action,
        type=effect.type,
        params=effect.params,
        attempt=effect.attempt,
        timeout_ms=effect.timeout_ms,
        due_ms=due_ms,
        waits_for_retry=waits_for_retry,
        private=effect.private,
    )
