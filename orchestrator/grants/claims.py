"""What a grant's token says: whose admission to what, by whom, for whom, and from when until when."""

from typing import Final

from msgspec import Struct

from orchestrator.core.addresses import Stream, parse_stream
from orchestrator.distributions.base import distribution_stream

ALGORITHM: Final = "Ed25519"
"""The only algorithm, with one curve and no parameters (RFC 9864); nothing in a token can choose another."""
TYPE: Final = "grant+jwt"
"""The header's `typ`: a token of another purpose that the same keys signed is no grant."""
TOKEN_BYTES_MAX: Final = 8_192


class Grant(Struct, frozen=True, kw_only=True):
    """An admission as its distribution's stream tells it. Ids are texts; `expires_ms` is UTC, 0 for a grant without an end."""

    organization: str
    experience: str
    sequence: str
    distribution: str  # the run of the distribution's stream
    mechanism: str  # its kind
    subject: str  # the customer's id
    jti: str
    expires_ms: int


class GrantClaims(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The members of a token, registered names (RFC 7519) first. Instants are whole seconds since 1970, UTC."""

    iss: str
    aud: str
    sub: str
    jti: str
    iat: int
    nbf: int
    exp: int
    organization: str
    experience: str
    sequence: str
    distribution: str
    mechanism: str

    @property
    def stream(self) -> Stream:
        """The distribution that gave the grant and alone knows whether it is used. Raises Malformed for impossible ids."""
        stream = distribution_stream(self.organization, self.experience, self.distribution, self.mechanism)
        return parse_stream(stream.text)
