"""What follows from a command of an experience journey."""

from collections.abc import Sequence
from typing import Any

from orchestrator.core.addresses import CUSTOMER
from orchestrator.core.decider import EffectResult, Facts, TimerFired
from orchestrator.core.errors import Rejected
from orchestrator.core.events import CommandIgnored, Event
from orchestrator.journeys import effects
from orchestrator.journeys.effects import TIMER_PREFIX
from orchestrator.journeys.experience import begin, needs, participate
from orchestrator.journeys.experience.answers import hear
from orchestrator.journeys.experience.commands import (
    Acknowledge,
    Act,
    Answer,
    CodeAnswer,
    Destroy,
    MarkAdmitted,
    SetAttributes,
    Start,
)
from orchestrator.journeys.experience.events import AdmissionExpired, Ended, Opened, Unanswered
from orchestrator.journeys.experience.server_data import Known, Resume, ResumeFromMe
from orchestrator.journeys.experience.stages import AUTHENTICATION, BOT_CHECK, ENDED, UPCOMING
from orchestrator.journeys.experience.state import (
    ANSWER_TIMER,
    GRANT_TIMER,
    WINDOW_TIMER,
    ExperienceState,
    deadline_ms,
    stage_at,
)
from orchestrator.journeys.experience.turn import Turn


def decide(state: ExperienceState | None, command: Any, facts: Facts) -> Sequence[Event]:
    """The events of a command; raises Rejected."""
    if facts.stream.owner.scope != CUSTOMER or facts.stream.run:
        raise Rejected(
            "experience.one_per_customer", needs="organization/c/customer/experience:id, without a run"
        )
    turn = Turn(state, facts)
    match command:
        case Act():
            _act(turn, command)
        case TimerFired():
            _timer(turn, command)
        case EffectResult():
            needs.answered(turn, command)
        case Answer():
            hear(turn, command)
        case CodeAnswer():
            needs.code_counted(turn, command)
        case Start():
            begin.start(turn, command)
        case Resume(known=known):
            begin.resume(turn, known)
        case ResumeFromMe():
            begin.resume(turn, command.experiences.get(facts.stream.definition, Known()))
        case SetAttributes():
            begin.set_attributes(turn, command)
        case MarkAdmitted():
            participate.mark_admitted(turn, command)
        case Acknowledge():
            begin.acknowledge(turn, command)
        case Destroy():
            begin.destroy(turn)
        case _:
            raise TypeError(f"{type(command).__name__} is no command of an experience")
    return turn.finish()


def _act(turn: Turn, command: Act) -> None:
    match command.action:
        case "authenticate":
            needs.prove(turn, command, AUTHENTICATION)
        case "complete_bot_check":
            needs.prove(turn, command, BOT_CHECK)
        case "provide_access_code":
            needs.provide_code(turn, command.secret)
        case "skip_access_code":
            needs.skip_code(turn)
        case "request_reroute":
            participate.reroute(turn)
        case "retry":
            participate.retry(turn)
        case "refresh_distribution":
            participate.refresh(turn)
        case _:
            participate.act(turn, command)


def _timer(turn: Turn, command: TimerFired) -> None:
    state, now_ms, timer = turn.found, turn.now_ms, command.timer
    due_ms = deadline_ms(state, timer)
    if state is None or due_ms is None:
        turn.add(CommandIgnored(reason="timer_not_armed"))
        return
    turn.fired = timer
    if due_ms > max(now_ms, command.due_ms):
        turn.add(CommandIgnored(reason="timer_moved"))
    elif timer.startswith(TIMER_PREFIX):
        needs.settle(turn, effects.timer_fired(state.pending, timer, turn.facts, needs.POLICIES))
    elif timer == ANSWER_TIMER and state.question is not None:
        turn.add(Unanswered(now_ms, state.question.to, state.question.action))
        turn.note("error", "warning", "There is no answer yet. You may try again.")
    elif timer == WINDOW_TIMER:
        _window(turn, state, max(now_ms, command.due_ms))
    elif timer == GRANT_TIMER:
        turn.add(AdmissionExpired(now_ms, "expired"))
        turn.note("distribution_change", "warning", "Your admission has ended.")


def _window(turn: Turn, state: ExperienceState, now_ms: int) -> None:
    if stage_at(state, now_ms) == ENDED:
        turn.add(Ended(turn.now_ms, "closed"))
        turn.note("sequence_change", "info", "This has ended.")
    elif state.stage == UPCOMING:
        turn.add(Opened(turn.now_ms))
        turn.note("sequence_change", "success", "It has begun.")
