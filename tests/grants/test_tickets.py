import hashlib
import hmac
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from orchestrator.core.addresses import parse_stream
from orchestrator.core.errors import ConfigurationError
from orchestrator.grants.claims import TOKEN_BYTES_MAX
from orchestrator.grants.keys import GrantKeys, generate
from orchestrator.grants.settings import GrantSettings
from orchestrator.grants.tickets import (
    ExpectedTicket,
    NoTicket,
    Ticket,
    TicketClaims,
    TicketRefused,
    TicketSettings,
    issue_ticket,
    ticket_of,
    validate_ticket,
)
from orchestrator.grants.tokens import issue
from orchestrator.grants.validation import Expected, GrantRefused, validate
from orchestrator.journeys.experience.state import ExperienceState, Participation
from tests.grants.forging import EXPECTED, GRANT, KEY, KEYS, NOW_S, SETTINGS, b64, parts, signed

OTHER = generate(from_s=0)
SIGNS = TicketSettings.of(SETTINGS)
TICKET = Ticket(organization="acme", experience="shoes", distribution="line", subject="anna", number=412)
TOKEN = issue_ticket(TICKET, KEYS, SIGNS, NOW_S)
OURS = ExpectedTicket(issuer=SIGNS.issuer, audience=SIGNS.audience, organization="acme", clock_skew_s=30)
END_S = NOW_S + SIGNS.lifetime_s
JOURNEY = parse_stream("acme/c/anna/experience:shoes")


def refused(
    token: str, *, expected: ExpectedTicket = OURS, keys: GrantKeys = KEYS, now_s: int = NOW_S
) -> str:
    """Why a token is no ticket."""
    with pytest.raises(TicketRefused) as caught:
        validate_ticket(token, keys, expected, now_s)
    assert len(token) < 40 or token not in str(caught.value)
    return caught.value.reason


def changed(*, header: dict[str, Any] | None = None, **claims: Any) -> str:
    """The true ticket with other members (None: without), signed anew."""
    head, said = parts(TOKEN)
    told = {n: v for n, v in {**said, **claims}.items() if v is not None}
    return signed({n: v for n, v in {**head, **(header or {})}.items() if v is not None}, told)


def waiting(**changes: Any) -> ExperienceState:
    held = Participation("p", changes.pop("type", "queue"), "line", 0)
    given = {"stage": "participating", "participation": held, "progress": {"ticket": 412}} | changes
    return ExperienceState("shoes", **given)


def test_a_true_ticket_says_the_number_and_nothing_it_needn_t() -> None:
    """A ticket gives back what was signed, and has no member beside."""
    claims = validate_ticket(TOKEN, KEYS, OURS, NOW_S)
    assert (claims.sub, claims.number) == ("anna", 412)
    assert claims.stream.text == "acme/r/shoes.line/queue:shoes:line"
    header, said = parts(TOKEN)
    assert header == {"alg": "Ed25519", "typ": "ticket+jwt", "kid": KEY.kid}
    assert set(said) == set(TicketClaims.__struct_fields__)


def test_a_ticket_is_no_grant_and_a_grant_no_ticket() -> None:
    """Signed by the same key for the same person, neither passes for the other, nor with its type or audience borrowed."""
    grant = issue(GRANT, KEYS, SETTINGS, NOW_S)
    assert refused(grant) == "type"
    with pytest.raises(GrantRefused) as caught:
        validate(TOKEN, KEYS, EXPECTED, NOW_S)
    assert caught.value.reason == "type"
    own = Expected(issuer=SIGNS.issuer, audience=SIGNS.audience, organization="acme")
    as_grant = changed(header={"typ": "grant+jwt"})
    for expected in (EXPECTED, own):
        with pytest.raises(GrantRefused) as caught:
            validate(as_grant, KEYS, expected, NOW_S)
        assert caught.value.reason == "claims"
    head, said = parts(grant)
    as_ticket = signed({**head, "typ": "ticket+jwt"}, said)
    for expected_ticket in (OURS, replace(OURS, audience=SETTINGS.audience)):
        assert refused(as_ticket, expected=expected_ticket) == "claims"


def test_tickets_never_have_the_audience_of_grants() -> None:
    """Who looks at the audience alone can tell them apart, whatever is configured."""
    assert SIGNS.audience == f"{SETTINGS.audience}:tickets"
    assert TicketSettings.of(GrantSettings()).audience == "grants:tickets"
    assert TicketSettings.of(SETTINGS, "pages.example.com").audience == "pages.example.com"
    with pytest.raises(ConfigurationError, match="audience of grants"):
        TicketSettings.of(SETTINGS, SETTINGS.audience)
    assert refused(changed(aud=SETTINGS.audience)) == "audience"


def test_every_altered_bit_of_a_ticket_is_refused() -> None:
    """No single bit of a ticket can be turned without its being refused."""
    for at, character in enumerate(TOKEN):
        for bit in range(8):
            refused(TOKEN[:at] + chr(ord(character) ^ (1 << bit)) + TOKEN[at + 1 :])


def test_nobody_writes_themselves_a_better_number() -> None:
    """Another number under the old signature, or under one's own key, is refused."""
    header, said = parts(TOKEN)
    better = b64(json.dumps({**said, "number": 1}).encode())
    head, _, signature = TOKEN.split(".")
    assert refused(f"{head}.{better}.{signature}") == "signature"
    assert refused(signed(header, {**said, "number": 1}, OTHER)) == "signature"
    assert refused(signed({**header, "kid": OTHER.kid}, {**said, "number": 1}, OTHER)) == "unknown_key"


@given(
    token=st.text(alphabet=st.characters(codec="utf-8"), max_size=300)
    | st.from_regex(r"[\w-]*\.[\w-]*\.[\w-]*")
)
def test_noise_is_no_ticket(token: str) -> None:
    """Any text at all is refused with a reason, never with another error."""
    refused(token)


@pytest.mark.parametrize("algorithm", ["none", "None", "", "EdDSA", "HS256", "RS256", "ES256", "ed25519"])
def test_a_ticket_can_t_choose_its_algorithm(algorithm: str) -> None:
    """Another algorithm in the header is refused, with a true signature and with none."""
    token = changed(header={"alg": algorithm})
    assert refused(token) == "algorithm"
    assert refused(token.rpartition(".")[0] + ".") == "algorithm"


def test_the_public_key_is_no_secret_to_sign_tickets_with() -> None:
    """A MAC made with the public key is refused under its own algorithm's name and under ours."""
    secret = json.dumps(KEY.public()).encode()
    header, said = parts(TOKEN)
    for algorithm, digest, reason in (("HS256", "sha256", "algorithm"), ("Ed25519", "sha512", "signature")):
        text = f"{b64(json.dumps({**header, 'alg': algorithm}).encode())}.{b64(json.dumps(said).encode())}"
        mac = hmac.new(secret, text.encode(), getattr(hashlib, digest)).digest()
        assert refused(f"{text}.{b64(mac)}") == reason


@pytest.mark.parametrize("member", ["jwk", "jku", "x5u", "crit"])
def test_a_ticket_brings_no_key_of_its_own(member: str) -> None:
    """Keys and addresses of keys in the header are not followed."""
    assert refused(changed(header={member: "https://keys.example.org/jwks.json"})) == "header"


def test_a_ticket_for_somebody_or_something_else_is_refused() -> None:
    """Issuer, audience, organization, experience, queue and subject must each be the expected one."""
    assert refused(TOKEN, expected=replace(OURS, issuer="https://other.example.org")) == "issuer"
    assert refused(TOKEN, expected=replace(OURS, audience="other.example.org")) == "audience"
    assert refused(TOKEN, expected=replace(OURS, organization="globex")) == "organization"
    assert refused(TOKEN, expected=replace(OURS, experience="hats")) == "experience"
    assert refused(TOKEN, expected=replace(OURS, distribution="other")) == "distribution"
    assert refused(TOKEN, expected=replace(OURS, subject="berta")) == "subject"
    all_named = replace(OURS, experience="shoes", distribution="line", subject="anna")
    assert validate_ticket(TOKEN, KEYS, all_named, NOW_S).number == 412


def test_a_ticket_counts_from_its_making_to_its_end() -> None:
    """Start and expiry are held to the second, give or take exactly the named skew, which is bounded."""
    validate_ticket(TOKEN, KEYS, OURS, END_S + 29)
    assert refused(TOKEN, now_s=END_S + 30) == "expired"
    validate_ticket(TOKEN, KEYS, OURS, NOW_S - 30)
    assert refused(TOKEN, now_s=NOW_S - 31) == "not_yet_valid"
    assert refused(TOKEN, expected=replace(OURS, clock_skew_s=10**9), now_s=END_S + 300) == "expired"


@pytest.mark.parametrize(
    "claims",
    [
        {"number": 0}, {"number": -1}, {"number": "1"}, {"number": 1.5}, {"number": True}, {"number": None},
        {"exp": None}, {"exp": NOW_S - 1}, {"exp": NOW_S + 10**9}, {"sub": None}, {"aud": ["a", "b"]},
        {"organization": ""}, {"experience": "x" * 129}, {"distribution": "\x00"}, {"jti": "ab"},
    ],
    ids=lambda claims: "-".join(f"{name}:{value}"[:20] for name, value in claims.items()),
)  # fmt: skip
def test_claims_of_another_shape_are_no_ticket(claims: dict[str, Any]) -> None:
    """A signed token with missing, mistyped, impossible or additional claims is refused."""
    assert refused(changed(**claims)) in {"claims", "organization"}


def test_an_oversize_ticket_is_refused_unread_and_never_signed() -> None:
    """What is longer than a token may be is neither decoded nor made."""
    assert refused("a" * (TOKEN_BYTES_MAX + 1)) == "too_large"
    with pytest.raises(NoTicket, match="longer"):
        issue_ticket(replace(TICKET, distribution="x" * 9_000), KEYS, SIGNS, NOW_S)


def test_a_ticket_outlives_a_rotation_of_keys() -> None:
    """What the old key signed counts while that key does, and no longer."""
    old = GrantKeys([replace(KEY, until_s=NOW_S + 100), OTHER])
    assert validate_ticket(TOKEN, old, OURS, NOW_S + 99).number == 412
    assert refused(TOKEN, keys=old, now_s=NOW_S + 100) == "unknown_key"


def test_only_who_waits_in_a_queue_has_a_ticket() -> None:
    """The journey's own state decides: its queue, its number, its customer; any other standing has none, by name."""
    assert ticket_of(JOURNEY, waiting()) == TICKET
    others = [
        None,
        ExperienceState("shoes"),
        waiting(type="draw"),  # a draw numbers its entries too
        waiting(stage="admitted"),
        waiting(stage="ended"),
    ]
    for state in others:
        with pytest.raises(NoTicket, match="does not wait"):
            ticket_of(JOURNEY, state)
    for progress in ({}, {"ticket": "1"}, {"ticket": True}, {"ticket": 0}):
        with pytest.raises(NoTicket, match="refresh"):
            ticket_of(JOURNEY, waiting(progress=progress))
    with pytest.raises(NoTicket, match="does not wait"):
        ticket_of(parse_stream("acme/c/anna/lifecycle:shop"), waiting())
