import pytest
from msgspec.structs import replace

from orchestrator.core.errors import ConfigurationError
from orchestrator.grants.keys import GrantKeys, generate
from orchestrator.grants.settings import GrantSettings
from orchestrator.grants.tokens import NoToken, issue
from orchestrator.grants.validation import validate
from tests.grants.forging import EXPECTED, GRANT, KEYS, NOW_S, SETTINGS, parts


def test_a_token_ends_with_its_grant_or_sooner() -> None:
    """A token never outlives its grant, nor the lifetime of tokens; parts of a second are cut off."""
    assert parts(issue(GRANT, KEYS, SETTINGS, NOW_S))[1]["exp"] == GRANT.expires_ms // 1000
    long = replace(GRANT, expires_ms=(NOW_S + 10**7) * 1000)
    assert parts(issue(long, KEYS, SETTINGS, NOW_S))[1]["exp"] == NOW_S + SETTINGS.token_lifetime_s


def test_a_grant_that_is_over_has_no_token() -> None:
    """From the second its grant ends in, nothing is signed."""
    end_s = GRANT.expires_ms // 1000
    issue(GRANT, KEYS, SETTINGS, end_s - 1)
    with pytest.raises(NoToken, match="over"):
        issue(GRANT, KEYS, SETTINGS, end_s)


def test_a_grant_without_an_end_has_tokens_that_end() -> None:
    """Zero says that a grant has no end; its tokens still have their lifetime."""
    token = issue(replace(GRANT, expires_ms=0), KEYS, SETTINGS, NOW_S)
    assert parts(token)[1]["exp"] == NOW_S + SETTINGS.token_lifetime_s


def test_reading_twice_gives_the_same_right() -> None:
    """Two tokens of one grant carry one jti: using either uses both."""
    first, second = (issue(GRANT, KEYS, SETTINGS, NOW_S + seconds) for seconds in (0, 60))
    assert first != second
    assert validate(first, KEYS, EXPECTED, NOW_S + 60).jti == validate(second, KEYS, EXPECTED, NOW_S + 60).jti


def test_the_longest_ids_still_fit() -> None:
    """A grant of ids as long as addresses allow gets a token that validates."""
    longest = dict.fromkeys(("experience", "sequence", "subject"), "é" * 64)
    grant = replace(GRANT, **{**longest, "experience": "é" * 32, "distribution": "é" * 31})
    assert validate(issue(grant, KEYS, SETTINGS, NOW_S), KEYS, EXPECTED, NOW_S).sub == "é" * 64


def test_ids_that_no_token_could_carry_are_refused() -> None:
    """What validation would call too large is not signed in the first place."""
    with pytest.raises(NoToken, match="longer"):
        issue(replace(GRANT, sequence="x" * 9_000), KEYS, SETTINGS, NOW_S)


def test_without_a_key_that_signs_the_cure_is_named() -> None:
    """No key, or one that begins later, is a configuration error that says what to do."""
    for keys in (GrantKeys(()), GrantKeys([generate(from_s=NOW_S + 1)])):
        with pytest.raises(ConfigurationError, match="orchestrator keys generate"):
            issue(GRANT, keys, SETTINGS, NOW_S)


@pytest.mark.parametrize(
    "wrong",
    [
        {"issuer": ""},
        {"audience": ""},
        {"token_lifetime_s": 86_401},
        {"token_lifetime_s": 0},
        {"clock_skew_s": 301},
    ],
)
def test_settings_out_of_bounds_name_their_variable(wrong: dict[str, object]) -> None:
    """A setting that would weaken grants is refused by the name of its variable."""
    (name,) = wrong
    with pytest.raises(ConfigurationError, match=f"ORCHESTRATOR_GRANTS_{name.upper()}"):
        GrantSettings(**wrong)  # type: ignore[arg-type]


def test_an_experience_may_name_its_own_issuer_and_audience() -> None:
    """What a document names counts for its grants; what it leaves out is the installation's."""
    own = SETTINGS.named("", "door.example.com")
    claims = parts(issue(GRANT, KEYS, own, NOW_S))[1]
    assert (claims["iss"], claims["aud"]) == (SETTINGS.issuer, "door.example.com")
