import hashlib
import hmac
import json

import pytest
from cryptography.hazmat.primitives import serialization
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.grants.claims import TOKEN_BYTES_MAX
from orchestrator.grants.keys import GrantKeys, generate
from orchestrator.grants.validation import Expected, GrantRefused, validate
from tests.grants.forging import (
    EXPECTED,
    GRANT,
    KEY,
    KEYS,
    NOW_S,
    TOKEN,
    b64,
    parts,
    signed,
    with_claims,
    with_header,
)

OTHER = generate(from_s=0)


def refused(token: str, *, expected: Expected = EXPECTED, keys: GrantKeys = KEYS, now_s: int = NOW_S) -> str:
    """Why a token doesn't count."""
    with pytest.raises(GrantRefused) as caught:
        validate(token, keys, expected, now_s)
    assert len(token) < 40 or token not in str(caught.value)
    return caught.value.reason


def expecting(**changes: object) -> Expected:
    return Expected(**{n: changes.get(n, getattr(EXPECTED, n)) for n in Expected.__struct_fields__})


def test_a_true_token_says_what_the_grant_says() -> None:
    """A token that counts gives back every id of its grant and the address of its distribution."""
    claims = validate(TOKEN, KEYS, EXPECTED, NOW_S)
    for name in ("organization", "experience", "sequence", "distribution", "mechanism", "jti"):
        assert getattr(claims, name) == getattr(GRANT, name)
    assert claims.sub == GRANT.subject
    assert claims.stream.text == "acme/r/shoes.line/queue:shoes:line"
    assert parts()[0] == {"alg": "Ed25519", "typ": "grant+jwt", "kid": KEY.kid}


def test_every_altered_bit_is_refused() -> None:
    """No single bit of a token can be turned without its being refused."""
    for at, character in enumerate(TOKEN):
        for bit in range(8):
            refused(TOKEN[:at] + chr(ord(character) ^ (1 << bit)) + TOKEN[at + 1 :])


@given(at=st.integers(0, len(TOKEN)), length=st.integers(0, 8), put=st.text(max_size=8))
def test_every_edit_is_refused(at: int, length: int, put: str) -> None:
    """Whatever is cut out of a token or put into it, the outcome is the same token or a refusal."""
    edited = TOKEN[:at] + put + TOKEN[at + length :]
    if edited != TOKEN:
        refused(edited)


@given(
    token=st.text(alphabet=st.characters(codec="utf-8"), max_size=300)
    | st.from_regex(r"[\w-]*\.[\w-]*\.[\w-]*")
)
def test_noise_is_refused_by_name(token: str) -> None:
    """Any text at all is refused with a reason, never with another error."""
    refused(token)


@pytest.mark.parametrize("algorithm", ["none", "None", "", "EdDSA", "HS256", "RS256", "ES256", "ed25519"])
def test_only_one_algorithm_counts(algorithm: str) -> None:
    """The header can't choose another algorithm, not even with a true signature."""
    assert refused(with_header(alg=algorithm)) == "algorithm"
    header, payload, _ = with_header(alg=algorithm).split(".")
    assert refused(f"{header}.{payload}.") == "algorithm"


@pytest.mark.parametrize("form", ["raw", "pem", "der", "jwk"])
def test_the_public_key_is_no_shared_secret(form: str) -> None:
    """A MAC made with the public key, in whichever form, is refused under either algorithm's name."""
    public = KEY.key.public_key
    encodings = {
        "raw": (serialization.Encoding.Raw, serialization.PublicFormat.Raw),
        "pem": (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo),
        "der": (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo),
    }
    secret = json.dumps(KEY.public()).encode() if form == "jwk" else public.public_bytes(*encodings[form])
    for algorithm, digest, reason in (("HS256", "sha256", "algorithm"), ("Ed25519", "sha512", "signature")):
        header, claims = parts()
        text = f"{b64(json.dumps({**header, 'alg': algorithm}).encode())}.{b64(json.dumps(claims).encode())}"
        mac = hmac.new(secret, text.encode(), getattr(hashlib, digest)).digest()
        assert refused(f"{text}.{b64(mac)}") == reason


@pytest.mark.parametrize("member", ["jwk", "jku", "x5u", "x5c", "x5t", "crit", "b64", "zip", "enc", "cty"])
def test_keys_and_addresses_in_the_header_are_not_followed(member: str) -> None:
    """A token can't bring its own key, nor say where one is."""
    values = {"jwk": OTHER.public(), "x5c": ["MIIB"], "crit": ["b64"], "b64": False}
    changes = {member: values.get(member, "https://keys.example.org/jwks.json")}
    assert refused(with_header(OTHER, **changes)) == "header"
    assert refused(with_header(**changes)) == "header"


@pytest.mark.parametrize("typ", ["JWT", "at+jwt", "GRANT+JWT", "", 7])
def test_a_token_of_another_purpose_is_no_grant(typ: object) -> None:
    """The same key may sign other things: only the type of grants counts."""
    assert refused(with_header(typ=typ)) == "type"


def test_the_signature_must_be_of_the_named_key() -> None:
    """An unknown key, another's signature under a known id, and no signature are refused."""
    assert refused(with_header(OTHER, kid=OTHER.kid)) == "unknown_key"
    assert refused(with_header(OTHER)) == "signature"
    assert refused(with_header(kid=["x"])) == "unknown_key"
    assert refused(TOKEN.rpartition(".")[0] + ".") == "signature"
    assert refused(with_header(OTHER), keys=GrantKeys([KEY, OTHER])) == "signature"


@pytest.mark.parametrize("missing", ["alg", "typ", "kid"])
def test_the_header_is_whole(missing: str) -> None:
    """A header without one of its members is refused."""
    assert refused(with_header(**{missing: None})) == ("algorithm" if missing == "alg" else "header")


def test_a_token_for_somebody_else_is_refused() -> None:
    """Issuer, audience, organization and experience must each be the expected one."""
    assert refused(TOKEN, expected=expecting(issuer="https://other.example.org")) == "issuer"
    assert refused(TOKEN, expected=expecting(audience="other.example.org")) == "audience"
    assert refused(TOKEN, expected=expecting(organization="globex")) == "organization"
    assert refused(TOKEN, expected=expecting(experience="hats")) == "experience"
    assert validate(TOKEN, KEYS, expecting(experience="shoes"), NOW_S).sub == "anna"


def test_it_counts_from_its_making_to_its_end_and_the_clocks_may_differ_a_little() -> None:
    """Expiry and start are held to the second, give or take exactly the named skew."""
    end_s = GRANT.expires_ms // 1000
    validate(TOKEN, KEYS, EXPECTED, end_s + 29)
    assert refused(TOKEN, now_s=end_s + 30) == "expired"
    validate(TOKEN, KEYS, EXPECTED, NOW_S - 30)
    assert refused(TOKEN, now_s=NOW_S - 31) == "not_yet_valid"
    strict = expecting(clock_skew_s=0)
    validate(TOKEN, KEYS, strict, end_s - 1)
    assert refused(TOKEN, expected=strict, now_s=end_s) == "expired"
    assert refused(TOKEN, expected=strict, now_s=NOW_S - 1) == "not_yet_valid"
    assert refused(with_claims(nbf=NOW_S + 31)) == "not_yet_valid"


def test_a_wild_skew_is_bounded() -> None:
    """A mistyped skew doesn't make tokens live for days."""
    assert refused(TOKEN, expected=expecting(clock_skew_s=10**9), now_s=NOW_S + 1_000) == "expired"


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": None}, {"jti": None}, {"sub": None}, {"exp": "soon"}, {"exp": True}, {"exp": 1.5}, {"aud": ["a", "b"]},
        {"exp": NOW_S + 10**9}, {"exp": NOW_S - 1}, {"organization": ""}, {"experience": "x" * 129},
        {"distribution": "\x00"}, {"mechanism": ""}, {"admin": True},
    ],
    ids=lambda changes: "-".join(f"{name}:{value}"[:20] for name, value in changes.items()),
)  # fmt: skip
def test_claims_of_another_shape_are_refused(changes: dict[str, object]) -> None:
    """A signed token with missing, mistyped, impossible or additional claims is refused."""
    assert refused(with_claims(**changes)) in {"claims", "organization"}


def test_members_that_are_there_twice_are_refused() -> None:
    """No two readers can read one token differently: a doubled member in header or claims is refused."""
    header, claims = parts()
    twice = json.dumps(claims)[:-1] + ', "sub": "berta"}'
    assert refused(signed(header, twice.encode())) == "malformed"
    doubled = json.dumps(header)[:-1] + ', "alg": "none"}'
    assert refused(signed(doubled.encode(), claims)) == "malformed"


@pytest.mark.parametrize("payload", [b"[]", b"7", b"", b"{", b'{"exp": NaN}', b"\xff", b"[" * 3_000])
def test_claims_that_are_no_object_are_refused(payload: bytes) -> None:
    """Signed bytes that aren't one JSON object are refused, however deep they nest."""
    assert refused(signed(parts()[0], payload)) == "malformed"


def test_an_oversize_token_is_refused_unread() -> None:
    """Length is looked at first: a megabyte costs no decoding."""
    assert refused("a" * (TOKEN_BYTES_MAX + 1)) == "too_large"
    assert refused(with_claims(padding="a" * TOKEN_BYTES_MAX)) == "too_large"
    assert refused(signed({**parts()[0], "pad": "a" * 600}, {})) == "malformed"


def test_the_library_s_other_serializations_are_refused() -> None:
    """JSON serializations, detached payloads and padded base64 are no compact token."""
    header, payload, signature = TOKEN.split(".")
    document = json.dumps({"protected": header, "payload": payload, "signature": signature})
    for token in (document, f"{header}..{signature}", f"{TOKEN}.", f" {TOKEN}", f"{TOKEN}\n", f"{TOKEN}=="):
        assert refused(token) in {"malformed", "signature"}
