"""The state of an experience journey. Immutable; everything that is shown of it can be told from it alone."""

from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct, convert, to_builtins
from msgspec.structs import replace

from orchestrator.journeys import effects
from orchestrator.journeys.effects import PendingEffects
from orchestrator.journeys.experience.stages import (
    ACCESS_CODE,
    ADMISSION_EXPIRED,
    ADMITTED,
    AUTHENTICATION,
    ENDED,
    ENGAGED,
    ENTERABLE,
    ENTERING,
    NEEDS_ACCESS_CODE,
    NEEDS_AUTH,
    NONE,
    NOT_STARTED,
    ROUTED,
    ROUTING,
    UPCOMING,
)

NOTES_MAX: Final = 50  # journey events kept, the newest
OPEN, CHECKING, MET, SKIPPED = "open", "checking", "met", "skipped"
ANSWER_TIMER: Final = "answer"
WINDOW_TIMER: Final = "window"
GRANT_TIMER: Final = "grant"
CODES: Final = ""  # the id of no distribution: the resource that counts uses of access codes


class Need(Struct, frozen=True, omit_defaults=True):
    """A requirement and where it stands."""

    type: str
    required: bool = True
    status: str = OPEN
    reason: str = ""
    metadata: dict[str, Any] = {}

    @property
    def blocks(self) -> bool:
        """Whether the journey stands still for it. An optional code has to be given or skipped."""
        return self.status in {OPEN, CHECKING} and (self.required or self.type == ACCESS_CODE)


class Seat(Struct, frozen=True, omit_defaults=True):
    """The sequence the customer was routed to, as it was then. Times are ms, UTC."""

    sequence: str
    name: str
    distribution: str
    mechanism: str
    waitlist: str = ""
    opens_ms: int | None = None
    closes_ms: int | None = None
    on_expired: str = "end"


class Participation(Struct, frozen=True, omit_defaults=True):
    """What a distribution (or waitlist) holds for the customer."""

    id: str
    type: str
    distribution: str
    at_ms: int


class Admission(Struct, frozen=True, omit_defaults=True):
    """The right to go on. The token that proves it is signed by whoever reads the journey."""

    jti: str
    distribution: str  # empty: a trusted producer gave it
    expires_ms: int = 0  # 0: without an end
    quantity: int = 1
    redeemed: bool = False

    def over(self, now_ms: int) -> bool:
        """Whether its end has come; a used one has none."""
        return bool(self.expires_ms) and not self.redeemed and self.expires_ms <= now_ms


class Offer(Struct, frozen=True, omit_defaults=True):
    """A place that is the customer's if it is accepted before `expires_ms` (0: without an end)."""

    distribution: str
    expires_ms: int = 0

    def over(self, now_ms: int) -> bool:
        return bool(self.expires_ms) and self.expires_ms <= now_ms


class Question(Struct, frozen=True, omit_defaults=True):
    """What was asked of a distribution and not answered yet. `late`: the time for an answer is over."""

    to: str  # a distribution's id, or CODES
    action: str
    due_ms: int
    data: dict[str, Any] = {}
    late: bool = False


class Note(Struct, frozen=True, omit_defaults=True):
    """A journey event: something to show, log or count. `message` and `detail` may be shown to the customer."""

    id: str
    ts: int
    kind: str
    severity: str
    audience: str
    message: str
    detail: dict[str, Any] = {}


class ExperienceState(Struct, frozen=True, omit_defaults=True):
    """One customer's way through an experience."""

    experience: str
    name: str = ""
    version: int = 0  # of the definition; 0: not started
    revision: int = 0
    updated_ms: int = 0
    needs: tuple[Need, ...] = ()
    codes: tuple[str, ...] = ()  # ids of the access codes that were given
    seat: Seat | None = None
    stage: str = NONE  # of the sequence
    settling: bool = False
    paused: bool = False
    participation: Participation | None = None
    admission: Admission | None = None
    offer: Offer | None = None
    question: Question | None = None
    progress: dict[str, Any] = {}  # what the distribution last said of the customer's place
    refused: tuple[str, ...] = ()  # distributions that refused an entry
    over: tuple[str, ...] = ()  # distributions that told their end
    notes: tuple[Note, ...] = ()  # oldest first
    seen: str = ""
    guesses: tuple[int, ...] = ()  # when wrong codes were given, ms
    throttled: int = 0
    guess_limit: int = 0
    guess_within_ms: int = 0
    pending: PendingEffects = {}
    checks: Mapping[str, str] = {}  # unanswered effects and the requirement each is about
    timers: Mapping[str, int] = {}  # armed ones but those of effects
    attributes: dict[str, Any] = {}  # private
    segments: tuple[str, ...] = ()  # private

    def need(self, type: str) -> Need | None:
        """The requirement of a type."""
        return next((need for need in self.needs if need.type == type), None)

    @property
    def engaged(self) -> bool:
        """Whether a distribution holds something for the customer, or may be about to."""
        asked = self.question is not None and self.question.to != CODES and self.question.action != "refresh"
        return self.stage in ENGAGED or asked


def journey_stage(state: ExperienceState | None) -> str:
    """Where the journey as a whole stands."""
    if state is None or not state.version:
        return NOT_STARTED
    if state.seat is not None:
        return ROUTED
    blocking = {need.type for need in state.needs if need.blocks}
    if AUTHENTICATION in blocking:
        return NEEDS_AUTH
    if ACCESS_CODE in blocking:
        return NEEDS_ACCESS_CODE
    return ENTERING if blocking else ROUTING


def stage_at(state: ExperienceState | None, now_ms: int) -> str:
    """Where the sequence stands at a lane time: its windows open and close without a command."""
    if state is None or state.seat is None:
        return NONE
    stage, seat = state.stage, state.seat
    if stage in {UPCOMING, ENTERABLE, ADMISSION_EXPIRED} and (
        seat.closes_ms is not None and seat.closes_ms <= now_ms
    ):
        return ENDED
    if stage == UPCOMING and (seat.opens_ms is None or seat.opens_ms <= now_ms):
        return ENTERABLE
    return stage


def wanted_timers(state: ExperienceState | None) -> dict[str, int]:
    """The timers a state needs and when each is due (ms); effects have their own."""
    wanted: dict[str, int] = {}
    if state is None:
        return wanted
    if state.question is not None and not state.question.late:
        wanted[ANSWER_TIMER] = state.question.due_ms
    seat = state.seat
    if seat is not None:
        closes = state.stage in {ENTERABLE, ADMISSION_EXPIRED}
        due_ms = seat.opens_ms if state.stage == UPCOMING else seat.closes_ms if closes else None
        if due_ms is not None:
            wanted[WINDOW_TIMER] = due_ms
    admission = state.admission
    own = admission is not None and not admission.distribution and not admission.redeemed
    if admission is not None and own and state.stage == ADMITTED and admission.expires_ms:
        wanted[GRANT_TIMER] = admission.expires_ms
    return wanted


def deadline_ms(state: ExperienceState | None, timer: str) -> int | None:
    """When the timer is due; None when nothing waits for it."""
    if state is None:
        return None
    if timer.startswith(effects.TIMER_PREFIX):
        return effects.deadline_ms(state.pending, timer)
    return wanted_timers(state).get(timer)


def label(state: ExperienceState | None) -> str:
    """Both stages, such as `routed.participating`; the journey's alone before there is a sequence."""
    if state is None:
        return ""
    stage = journey_stage(state)
    return stage if state.stage == NONE else f"{stage}.{state.stage}"


def dump(state: ExperienceState) -> dict[str, Any]:
    """JSON form; attributes, segments and proofs only under `private`."""
    data: dict[str, Any] = to_builtins(state)
    pending, pending_private = effects.dump(state.pending)
    data.pop("pending", None)
    if pending:
        data["pending"] = pending
    hidden: dict[str, Any] = {name: data.pop(name) for name in ("attributes", "segments") if name in data}
    if pending_private:
        hidden["pending"] = pending_private
    return {**data, "private": hidden} if hidden else data


def load(data: Mapping[str, Any]) -> ExperienceState:
    """The state from its dump; what was private and is gone reads as nothing."""
    private = data.get("private", {})
    shown = {name: value for name, value in data.items() if name not in {"private", "pending"}}
    hidden = {name: value for name, value in private.items() if name != "pending"}
    state = convert({**shown, **hidden}, ExperienceState)
    if "pending" not in data:
        return state
    pending = effects.load(data["pending"], private.get("pending", {}))
    return replace(state, pending=pending)
