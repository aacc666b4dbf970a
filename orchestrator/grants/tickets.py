"""Ticket numbers of queues as tokens: signed when read, so that a page keeps its number and finds its own place by it.

A ticket says where somebody came in, and admits nobody: its type and its audience are others than a grant's, so that
neither is ever taken for the other.
"""

from typing import Annotated, Final, Literal

from msgspec import Meta, Struct, ValidationError, convert, json

from orchestrator.core.addresses import Stream, parse_stream
from orchestrator.core.errors import ConfigurationError, Malformed, OrchestratorError
from orchestrator.distributions.base import EXPERIENCE, distribution_stream
from orchestrator.distributions.queue import QUEUE
from orchestrator.grants.claims import ALGORITHM, TOKEN_BYTES_MAX
from orchestrator.grants.keys import GrantKeys
from orchestrator.grants.settings import CLOCK_SKEW_MAX_S, TOKEN_LIFETIME_MAX_S, GrantSettings
from orchestrator.grants.signed import NotSigned, opened, signed
from orchestrator.journeys.experience.stages import PARTICIPATING
from orchestrator.journeys.experience.state import ExperienceState

TICKET_TYPE: Final = "ticket+jwt"
"""The header's `typ`: a grant that the same keys signed is no ticket."""
AUDIENCE_SUFFIX: Final = ":tickets"

TicketReason = Literal[
    "too_large", "malformed", "header", "algorithm", "type", "unknown_key", "signature", "claims", "issuer",
    "audience", "organization", "experience", "distribution", "subject", "expired", "not_yet_valid",
]  # fmt: skip
_SAYS: Final[dict[TicketReason, str]] = {
    "too_large": f"the token is longer than {TOKEN_BYTES_MAX} bytes",
    "malformed": "this is no compact JWT: three parts of base64url, split by dots, each of unambiguous JSON",
    "header": "the header must have alg, typ and kid and nothing else: keys and addresses in it are not followed",
    "algorithm": f"alg must be {ALGORITHM}",
    "type": f"typ must be {TICKET_TYPE}: a grant is no ticket",
    "unknown_key": "no key of that kid counts: fetch the key set again, or read the ticket again",
    "signature": "the signature does not fit: the token was altered, or signed by another key",
    "claims": "the claims are not those of a ticket",
    "issuer": "another issuer made this token",
    "audience": "the token is meant for another audience",
    "organization": "the ticket is of another organization",
    "experience": "the ticket is for another experience",
    "distribution": "the ticket is of another queue",
    "subject": "the ticket is somebody else's",
    "expired": "the token is over: read the ticket again, the place in the line is kept without it",
    "not_yet_valid": "the token does not count yet: compare the clocks",
}


class NoTicket(OrchestratorError):
    """There is no ticket to sign: the customer doesn't wait in a queue, or their journey knows no number."""


class TicketRefused(OrchestratorError):
    """A token that is no ticket of ours. `reason` is a stable word; neither it nor the message quotes the token."""

    def __init__(self, reason: TicketReason) -> None:
        super().__init__(f"ticket refused ({reason}): {_SAYS[reason]}")
        self.reason: TicketReason = reason


class TicketSettings(Struct, frozen=True, kw_only=True):
    """Who signs tickets, for whom, and how long a token counts. A ticket is worth a place on a page: a day is no risk."""

    issuer: str
    audience: str
    lifetime_s: int = TOKEN_LIFETIME_MAX_S

    @classmethod
    def of(cls, grants: GrantSettings, audience: str = "") -> "TicketSettings":
        """Those beside the grants' settings: the same issuer, an audience of their own.

        Raises ConfigurationError for the audience of the grants: who reads `aud` alone would take one for the other.
        """
        if audience == grants.audience:
            raise ConfigurationError(
                f"{audience!r} is the audience of grants: tickets need another, such as {audience + AUDIENCE_SUFFIX!r}"
            )
        return cls(issuer=grants.issuer, audience=audience or grants.audience + AUDIENCE_SUFFIX)


class Ticket(Struct, frozen=True, kw_only=True):
    """A number of a queue and who holds it. Ids are texts; numbers count from 1 in order of arrival."""

    organization: str
    experience: str
    distribution: str  # the run of the queue's stream
    subject: str  # the customer's id
    number: int


class TicketClaims(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The members of a token, registered names (RFC 7519) first. Instants are whole seconds since 1970, UTC."""

    iss: str
    aud: str
    sub: str
    iat: int
    exp: int
    organization: str
    experience: str
    distribution: str
    number: Annotated[int, Meta(ge=1)]

    @property
    def stream(self) -> Stream:
        """The queue that gave the number. Raises Malformed for impossible ids."""
        stream = distribution_stream(self.organization, self.experience, self.distribution, QUEUE.name)
        return parse_stream(stream.text)


class ExpectedTicket(Struct, frozen=True, kw_only=True):
    """What a token must say to count here; None: any. Subject is whoever is signed in, where that matters."""

    issuer: str
    audience: str
    organization: str
    experience: str | None = None
    distribution: str | None = None
    subject: str | None = None
    clock_skew_s: int = 30  # how far the signer's clock and ours may differ, both ways


def ticket_of(journey: Stream, state: ExperienceState | None) -> Ticket:
    """The ticket that an experience journey holds as its queue told it; raises NoTicket unless it waits in one."""
    held = state.participation if state is not None else None
    if (
        journey.kind != EXPERIENCE
        or state is None
        or held is None
        or held.type != QUEUE.name
        or state.stage != PARTICIPATING
    ):
        raise NoTicket(
            f"{journey.text} does not wait in a queue: `orchestrator journeys show` tells where it is"
        )
    number = state.progress.get("ticket")
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        raise NoTicket(f"{journey.text} was not told its number yet: send it `refresh`, then read again")
    return Ticket(
        organization=journey.owner.organization,
        experience=journey.definition,
        distribution=held.distribution,
        subject=journey.owner.id,
        number=number,
    )


def issue_ticket(ticket: Ticket, keys: GrantKeys, settings: TicketSettings, now_s: int) -> str:
    """The ticket as a compact JWT: for its subject's eyes, never for a log, an event or a topic.

    Raises NoTicket for ids too long for a token, and ConfigurationError when no key signs now.
    """
    claims = TicketClaims(
        iss=settings.issuer,
        aud=settings.audience,
        sub=ticket.subject,
        iat=now_s,
        exp=now_s + settings.lifetime_s,
        organization=ticket.organization,
        experience=ticket.experience,
        distribution=ticket.distribution,
        number=ticket.number,
    )
    token = signed(TICKET_TYPE, json.encode(claims), keys.signing(now_s))
    if len(token) > TOKEN_BYTES_MAX:
        raise NoTicket(f"the token of ticket {ticket.number} would be longer than {TOKEN_BYTES_MAX} bytes")
    return token


def validate_ticket(token: str, keys: GrantKeys, expected: ExpectedTicket, now_s: int) -> TicketClaims:
    """The claims of a ticket that counts at `now_s`; raises TicketRefused. Says nothing about who waits still."""
    try:
        claims = convert(opened(token, TICKET_TYPE, keys, now_s), TicketClaims)
        _ = claims.stream
    except NotSigned as bad:
        raise TicketRefused(bad.reason) from None
    except (ValidationError, Malformed):
        raise TicketRefused("claims") from None
    _check(claims, expected, now_s)
    return claims


def _check(claims: TicketClaims, expected: ExpectedTicket, now_s: int) -> None:
    if claims.iss != expected.issuer:
        raise TicketRefused("issuer")
    if claims.aud != expected.audience:
        raise TicketRefused("audience")
    if claims.organization != expected.organization:
        raise TicketRefused("organization")
    if expected.experience not in {None, claims.experience}:
        raise TicketRefused("experience")
    if expected.distribution not in {None, claims.distribution}:
        raise TicketRefused("distribution")
    if expected.subject not in {None, claims.sub}:
        raise TicketRefused("subject")
    if not claims.iat <= claims.exp <= claims.iat + TOKEN_LIFETIME_MAX_S:
        raise TicketRefused("claims")
    skew_s = min(max(expected.clock_skew_s, 0), CLOCK_SKEW_MAX_S)
    if now_s >= claims.exp + skew_s:
        raise TicketRefused("expired")
    if now_s < claims.iat - skew_s:
        raise TicketRefused("not_yet_valid")
