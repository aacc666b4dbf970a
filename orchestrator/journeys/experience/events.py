"""What happens in an experience journey, beside the events every kind shares. Times are ms, UTC.

Fields called `private` hold what the customer's record and trusted producers said; they never leave in clear.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

from orchestrator.core.events import Event, Told
from orchestrator.journeys.experience.state import Need, Note


class Happened(Event, frozen=True, kw_only=True):
    """Base of these events; `note` is what the customer's page, logs or analytics are told of it."""

    note: Note | None = None


class Began(Happened, frozen=True):
    """The journey has begun; `revision` is this event's own version in the stream."""

    NAME: ClassVar[str] = "experience.began.v1"
    at_ms: int
    revision: int
    name: str = ""
    needs: tuple[Need, ...] = ()
    guess_limit: int = (
        0  # wrong access codes within `guess_within_ms` before guessing is refused; 0: none is taken
    )
    guess_within_ms: int = 0
    private: dict[str, Any] = {}  # attributes, segments


class AttributesSet(Happened, frozen=True):
    """A trusted producer said what it knows of the customer; attributes are merged, segments replaced."""

    NAME: ClassVar[str] = "experience.attributes_set.v1"
    at_ms: int
    private: dict[str, Any] = {}


class NeedsAdded(Happened, frozen=True):
    """A sequence asks for more: these requirements are open now."""

    NAME: ClassVar[str] = "experience.needs_added.v1"
    at_ms: int
    sequence: str
    needs: tuple[Need, ...]


class ProofGiven(Happened, frozen=True):
    """A proof is being checked by this effect."""

    NAME: ClassVar[str] = "experience.proof_given.v1"
    at_ms: int
    need: str
    effect: str


class NeedMet(Happened, frozen=True):
    """A requirement is fulfilled; `by` is `effect`, `code` or the trusted producer's source."""

    NAME: ClassVar[str] = "experience.need_met.v1"
    at_ms: int
    need: str
    by: str
    code: str = ""  # the id of the access code


class NeedSkipped(Happened, frozen=True):
    """The customer goes on without an access code."""

    NAME: ClassVar[str] = "experience.need_skipped.v1"
    at_ms: int
    need: str


class ProofFailed(Happened, frozen=True):
    """The requirement is open again; `reason` is for operators."""

    NAME: ClassVar[str] = "experience.proof_failed.v1"
    at_ms: int
    need: str
    reason: str


class CodeMissed(Happened, frozen=True):
    """A wrong or expired access code; `within_ms` is how long it counts against further guesses."""

    NAME: ClassVar[str] = "experience.code_missed.v1"
    at_ms: int
    within_ms: int
    rule: str = ""


class Routed(Happened, frozen=True):
    """The customer belongs to a sequence. `considered` says of each one tried before why it wasn't that."""

    NAME: ClassVar[str] = "experience.routed.v1"
    at_ms: int
    definition_version: int
    sequence: str
    name: str
    rule: str  # JSON Pointer into the definition
    distribution: str
    mechanism: str
    stage: str
    waitlist: str = ""
    opens_ms: int | None = None
    closes_ms: int | None = None
    on_expired: str = "end"
    inputs: dict[str, Any] = {}
    considered: tuple[dict[str, Any], ...] = ()
    private: dict[str, Any] = {}  # what rules read of the customer


class NotRouted(Happened, frozen=True):
    """No sequence takes the customer now."""

    NAME: ClassVar[str] = "experience.not_routed.v1"
    at_ms: int
    definition_version: int
    considered: tuple[dict[str, Any], ...] = ()
    private: dict[str, Any] = {}


class Asked(Happened, frozen=True):
    """A distribution (or the resource that counts access codes) is asked; its answer comes as a told command."""

    NAME: ClassVar[str] = "experience.asked.v1"
    TELLS: ClassVar[bool] = True
    at_ms: int
    to: str
    stream: str
    action: str
    due_ms: int
    data: dict[str, Any] = {}
    private: dict[str, Any] = {}

    def tells(self) -> Sequence[Told]:
        return (Told(self.stream, self.action, self.data | self.private),)


class Unanswered(Happened, frozen=True):
    """The time for an answer is over; a late one still counts."""

    NAME: ClassVar[str] = "experience.unanswered.v1"
    at_ms: int
    to: str
    action: str


class CodeCounted(Happened, frozen=True):
    """The resource counted a use of the code, or refused it."""

    NAME: ClassVar[str] = "experience.code_counted.v1"
    at_ms: int
    code: str
    accepted: bool
    reason: str = ""


class Opened(Happened, frozen=True):
    """The sequence's window is open, or the distribution says that it is."""

    NAME: ClassVar[str] = "experience.opened.v1"
    at_ms: int


class Entered(Happened, frozen=True):
    """The distribution took the customer in."""

    NAME: ClassVar[str] = "experience.entered.v1"
    at_ms: int
    distribution: str
    mechanism: str
    participation: str
    stage: str
    progress: dict[str, Any] = {}


class Left(Happened, frozen=True):
    """The customer is out of the distribution; `reason` is the distribution's word."""

    NAME: ClassVar[str] = "experience.left.v1"
    at_ms: int
    distribution: str
    reason: str
    stage: str


class Settling(Happened, frozen=True):
    """Entries are closed and the result is being found."""

    NAME: ClassVar[str] = "experience.settling.v1"
    at_ms: int
    distribution: str


class Offered(Happened, frozen=True):
    """A place is offered until `expires_ms` (0: without an end)."""

    NAME: ClassVar[str] = "experience.offered.v1"
    at_ms: int
    distribution: str
    expires_ms: int
    stage: str


class OfferAccepted(Happened, frozen=True):
    """The waitlist let the customer go on to the sequence's distribution."""

    NAME: ClassVar[str] = "experience.offer_accepted.v1"
    at_ms: int
    distribution: str
    stage: str


class OfferExpired(Happened, frozen=True):
    """The offer was not accepted in time; `stage` is where the customer stands then."""

    NAME: ClassVar[str] = "experience.offer_expired.v1"
    at_ms: int
    distribution: str
    stage: str


class Admitted(Happened, frozen=True):
    """The customer may go on. `distribution` is empty when a trusted producer said so."""

    NAME: ClassVar[str] = "experience.admitted.v1"
    at_ms: int
    jti: str
    distribution: str = ""
    expires_ms: int = 0
    quantity: int = 1
    by: str = ""
    progress: dict[str, Any] = {}


class Redeemed(Happened, frozen=True):
    """The grant was used."""

    NAME: ClassVar[str] = "experience.redeemed.v1"
    at_ms: int
    jti: str


class AdmissionExpired(Happened, frozen=True):
    """The grant's time is over, or it was taken back."""

    NAME: ClassVar[str] = "experience.admission_expired.v1"
    at_ms: int
    reason: str = ""


class Ended(Happened, frozen=True):
    """The sequence is over for this customer: closed, completed, not_selected, or the distribution's own word."""

    NAME: ClassVar[str] = "experience.ended.v1"
    at_ms: int
    reason: str
    distribution: str = ""


class Refused(Happened, frozen=True):
    """The distribution refused what was asked; rule and inputs are for operators."""

    NAME: ClassVar[str] = "experience.refused.v1"
    at_ms: int
    distribution: str
    action: str
    reason: str
    inputs: dict[str, Any] = {}


class Updated(Happened, frozen=True):
    """What the distribution says of itself and of the customer's place; `answers` what was asked of it."""

    NAME: ClassVar[str] = "experience.updated.v1"
    at_ms: int
    distribution: str
    progress: dict[str, Any]
    paused: bool = False
    answers: bool = True
    stage: str = ""
    opens_ms: int | None = None


class Resumed(Happened, frozen=True):
    """The journey was rebuilt from what a server knows."""

    NAME: ClassVar[str] = "experience.resumed.v1"
    at_ms: int
    by: str
    stage: str
    met: tuple[str, ...] = ()
    participation: str = ""
    type: str = ""
    distribution: str = ""
    entered_ms: int = 0
    jti: str = ""
    expires_ms: int = 0


class Noted(Event, frozen=True):
    """A journey event of its own, where nothing happened that could carry it; `id` is its version in the stream."""

    NAME: ClassVar[str] = "experience.noted.v1"
    id: str
    at_ms: int
    kind: str
    severity: str
    audience: str
    message: str
    detail: dict[str, Any] = {}


class Seen(Happened, frozen=True):
    """The customer has seen the journey's events up to this one."""

    NAME: ClassVar[str] = "experience.seen.v1"
    at_ms: int
    id: str


class Forgotten(Happened, frozen=True, kw_only=True):
    """Nothing is left of the journey but the keys of its commands, and wrong guesses while they count."""

    NAME: ClassVar[str] = "experience.forgotten.v1"
    at_ms: int
    unpins: bool = True


EVENTS: tuple[type[Event], ...] = (
    Began,
    AttributesSet,
    NeedsAdded,
    ProofGiven,
    NeedMet,
    NeedSkipped,
    ProofFailed,
    CodeMissed,
    Routed,
    NotRouted,
    Asked,
    Unanswered,
    CodeCounted,
    Opened,
    Entered,
    Left,
    Settling,
    Offered,
    OfferAccepted,
    OfferExpired,
    Admitted,
    Redeemed,
    AdmissionExpired,
    Ended,
    Refused,
    Updated,
    Resumed,
    Noted,
    Seen,
    Forgotten,
)
