"""Requirements: proofs that are checked by effects, access codes, and what a trusted producer vouches for."""

from collections.abc import Mapping
from typing import Any, Final

from orchestrator.core.decider import EffectResult
from orchestrator.core.errors import Rejected
from orchestrator.core.events import CommandIgnored, CommandRejected, EffectFailed, EffectRequested
from orchestrator.journeys import effects
from orchestrator.journeys.effects import EffectPolicy, Settled
from orchestrator.journeys.experience.codes import find, recent, retry_after_ms
from orchestrator.journeys.experience.commands import Act, CodeAnswer
from orchestrator.journeys.experience.events import (
    CodeCounted,
    CodeMissed,
    NeedMet,
    NeedSkipped,
    ProofFailed,
    ProofGiven,
)
from orchestrator.journeys.experience.model import PROOF_POLICY, Code
from orchestrator.journeys.experience.routing import go_on, route
from orchestrator.journeys.experience.stages import ACCESS_CODE, AUTHENTICATION, BOT_CHECK
from orchestrator.journeys.experience.state import CODES
from orchestrator.journeys.experience.turn import Turn

VERIFY_ID_TOKEN: Final = "verify_id_token"  # noqa: S105 - an effect's type
SITEVERIFY: Final = "siteverify"
POLICIES: Final[Mapping[str, EffectPolicy]] = {AUTHENTICATION: PROOF_POLICY, BOT_CHECK: PROOF_POLICY}


def prove(turn: Turn, command: Act, type: str) -> None:
    """`authenticate` and `complete_bot_check`: a trusted producer's word, or a proof for an effect. Raises Rejected."""
    turn.allow(command.action)
    if turn.trusted:
        turn.add(NeedMet(turn.now_ms, type, turn.facts.source))
        _met(turn, type)
        return
    if not command.secret:
        field = "id_token" if type == AUTHENTICATION else "token"
        raise Rejected(
            "experience.proof_required", action=command.action, needs=f"{field}, or a trusted source"
        )
    if turn.history:
        raise Rejected("experience.history_asks_nobody", action=command.action)
    effect = effects.effect_id(turn.facts, 0)
    params: dict[str, Any] = {"provider": turn.compiled.gate(type).provider}
    if type == AUTHENTICATION:
        params["subject"] = turn.facts.stream.owner.id
    asked = EffectRequested(
        effect=effect,
        action=type,
        type=VERIFY_ID_TOKEN if type == AUTHENTICATION else SITEVERIFY,
        params=params,
        timeout_ms=PROOF_POLICY.timeout_ms,
        private={"token": command.secret},
    )
    turn.add(ProofGiven(turn.now_ms, type, effect))
    requested = effects.request(turn.facts, asked, pending=len(turn.state.pending), policy=PROOF_POLICY)
    turn.add(*requested)
    for event in requested:
        if isinstance(event, EffectFailed):
            _failed(turn, type, event.error)


def settle(turn: Turn, settled: Settled) -> None:
    """The answer about a proof, silence, or the next attempt."""
    if not settled.events:
        turn.add(CommandIgnored(reason="effect_already_settled"))
        return
    type = "" if settled.effect is None else turn.state.checks.get(settled.effect.effect, "")
    turn.add(*settled.events)
    if not type:
        return
    refused = settled.error if not settled.succeeded else _unproven(turn, type, settled.result)
    if refused:
        _failed(turn, type, refused)
        return
    turn.add(NeedMet(turn.now_ms, type, "effect"))
    _met(turn, type)


def answered(turn: Turn, result: EffectResult) -> None:
    """A provider's answer."""
    settle(turn, effects.answer(turn.state.pending, result, turn.facts, POLICIES))


def provide_code(turn: Turn, text: str) -> None:
    """An access code. A wrong one is rejected, and counted."""
    turn.allow("provide_access_code")
    code, rule = _known(turn, text)
    if code is None:
        state = turn.state
        counted = recent(state.guesses, turn.now_ms, state.guess_within_ms)
        left = state.guess_limit - len(counted) - 1
        turn.add(CommandRejected(rule, {"guesses_left": max(left, 0)}))
    _take(turn, code, rule)


def code_at_start(turn: Turn, text: str) -> None:
    """An access code that came with `start`: a wrong one is noted, and the journey begins all the same."""
    _take(turn, *_known(turn, text))


def skip_code(turn: Turn) -> None:
    """Go on without an access code. Raises Rejected where one is required."""
    turn.allow("skip_access_code")
    turn.add(NeedSkipped(turn.now_ms, ACCESS_CODE))
    go_on(turn)


def code_counted(turn: Turn, answer: CodeAnswer) -> None:
    """The resource that counts uses of codes answered. Raises Rejected for anybody else."""
    if turn.facts.teller != turn.code_stream().text:
        raise Rejected("experience.not_the_code_counter")
    question = turn.state.question
    if question is None or question.to != CODES or question.data.get("code") != answer.code:
        turn.add(CommandIgnored(reason="not_asked"))
        return
    turn.add(CodeCounted(turn.now_ms, answer.code, answer.accepted, answer.reason))
    if answer.accepted:
        turn.add(NeedMet(turn.now_ms, ACCESS_CODE, "code", answer.code))
        _met(turn, ACCESS_CODE)
    else:
        turn.note("requirement", "error", "This code can't be used any more.", detail={"type": ACCESS_CODE})


def refuse_throttled(turn: Turn) -> None:
    """Raises Rejected while too many wrong codes were given, also to a journey that was forgotten since."""
    codes = turn.compiled.codes
    wait_ms = retry_after_ms(turn.state.guesses, codes.guesses, codes.within_ms, turn.now_ms)
    if wait_ms:
        raise Rejected("access_code.throttled", retry_after_ms=wait_ms)


def _known(turn: Turn, text: str) -> tuple[Code | None, str]:
    """The code that was typed, or the rule that refuses it."""
    code = find(turn.compiled.codes, text)
    if code is None:
        return None, "access_code.wrong"
    if code.expires_ms is not None and code.expires_ms <= turn.now_ms:
        return None, "access_code.expired"
    return code, ""


def _take(turn: Turn, code: Code | None, rule: str) -> None:
    if code is None:
        turn.add(CodeMissed(turn.now_ms, turn.state.guess_within_ms, rule))
        turn.note("requirement", "error", "This code is not accepted.", detail={"type": ACCESS_CODE})
    elif code.uses is not None:
        turn.ask(CODES, "code.use", {"code": code.id})
    else:
        turn.add(NeedMet(turn.now_ms, ACCESS_CODE, "code", code.id))
        _met(turn, ACCESS_CODE)


def _unproven(turn: Turn, type: str, result: Mapping[str, Any]) -> str:
    """Why a provider's yes isn't one for this customer; empty when it is."""
    if type == AUTHENTICATION:
        return "" if result.get("subject") == turn.facts.stream.owner.id else "other_subject"
    return "" if result.get("success") is True else "not_confirmed"


def _met(turn: Turn, type: str) -> None:
    turn.note("requirement", "success", "That's done.", detail={"type": type})
    state = turn.state
    if state.seat is not None and not state.engaged and state.question is None:
        route(turn)
    else:
        go_on(turn)


def _failed(turn: Turn, type: str, reason: str) -> None:
    turn.add(ProofFailed(turn.now_ms, type, reason))
    turn.note("requirement", "error", "This could not be confirmed. Please try again.", detail={"type": type})
