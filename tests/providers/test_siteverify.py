"""`siteverify` against a server that answers as Turnstile's and hCaptcha's documentation says."""

import json
from typing import Any
from urllib.parse import parse_qs

import pytest

from consumers.actions.base import Done, Ending, Failed
from consumers.actions.delivery_settings import DeliverySettings
from consumers.actions.proof_settings import ProofSettings, SiteVerifier, proofs_from
from consumers.actions.siteverify import SiteverifyProvider
from orchestrator.core.errors import ConfigurationError
from tests.effects.receiver import Answer, Receiver, receiver, status
from tests.providers.stage import perform, stage

SECRET = "0x-test-secret"
YES: dict[str, Any] = {
    "success": True,
    "challenge_ts": "2026-01-01T00:00:00Z",
    "hostname": "shop.example.com",
}


def answered(**body: Any) -> Answer:
    return status(200, json.dumps(body).encode())


async def check(answer: Answer, *, hostname: str = "", **params: Any) -> tuple[Ending, Receiver]:
    async with receiver(answer) as service:
        account = SiteVerifier(SECRET, service.url("/siteverify"), hostname)
        async with stage(DeliverySettings(proofs=ProofSettings(verifiers={"turnstile": account}))) as context:
            asked = {"provider": "turnstile", "token": "page-token", **params}
            return await perform(SiteverifyProvider(), context, asked), service


async def test_a_person_is_confirmed() -> None:
    """One form post with our secret and the page's token, under the effect's key."""
    ending, service = await check(answered(**YES), remote_ip="192.0.2.7")
    assert ending == Done({"success": True, "hostname": "shop.example.com"})
    sent = {name: value for name, [value] in parse_qs(service.calls[0].body.decode()).items()}
    assert (sent["secret"], sent["response"], sent["remoteip"]) == (SECRET, "page-token", "192.0.2.7")
    again, second = await check(answered(**YES))
    assert isinstance(again, Done)
    repeated = parse_qs(second.calls[0].body.decode())["idempotency_key"]
    assert repeated == [sent["idempotency_key"]], "a repeat of the effect carries the same key"


@pytest.mark.parametrize(
    ("body", "error", "retryable"),
    [
        ({"success": False, "error-codes": ["timeout-or-duplicate"]}, "not_confirmed", False),
        ({"success": False, "error-codes": ["invalid-input-response"]}, "not_confirmed", False),
        ({"success": False, "error-codes": ["internal-error"]}, "provider_internal_error", True),
        ({"success": False, "error-codes": ["invalid-input-secret"]}, "not_configured", False),
        ({"success": "true"}, "answer_unreadable", False),
        ({}, "answer_unreadable", False),
    ],
    ids=["used", "wrong", "their fault", "our secret", "text for true", "nothing"],
)
async def test_anything_but_a_yes_is_a_failure_with_a_name(
    body: dict[str, Any], error: str, retryable: bool
) -> None:
    """A service that says no, stumbles, or lies about its shape never lets anybody pass."""
    ending, _ = await check(answered(**body))
    assert isinstance(ending, Failed)
    assert (ending.error, ending.retryable) == (error, retryable)


async def test_a_check_made_on_another_site_does_not_count() -> None:
    """A token is good for the site it was made on."""
    ending, _ = await check(answered(**YES), hostname="other.example.com")
    assert isinstance(ending, Failed)
    assert ending.error == "other_hostname"


@pytest.mark.parametrize("code", [429, 500, 503])
async def test_a_service_that_is_busy_is_asked_again(code: int) -> None:
    """Limits and faults of the service are worth another attempt."""
    ending, _ = await check(status(code, headers={"Retry-After": "3"}))
    assert isinstance(ending, Failed)
    assert (ending.error, ending.retryable, ending.retry_after_ms) == (f"status_{code}", True, 3_000)


async def test_redirects_are_refused() -> None:
    """Our secret goes to the configured address alone."""
    ending, _ = await check(status(302, headers={"Location": "http://127.0.0.1:1/"}))
    assert isinstance(ending, Failed)
    assert ending.error == "redirect_refused"


def test_accounts_come_from_the_environment() -> None:
    """An account is JSON in a variable of its name; known services need no address; secrets are never shown."""
    found = proofs_from({"ORCHESTRATOR_SITEVERIFY_TURNSTILE": json.dumps({"secret": SECRET})})
    assert found.verifiers["turnstile"].secret == SECRET
    assert SECRET not in repr(found)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ORCHESTRATOR_SITEVERIFY_TURNSTILE", "{}"),
        ("ORCHESTRATOR_SITEVERIFY_OTHER", '{"secret": "s3cret-word"}'),
        ("ORCHESTRATOR_SITEVERIFY_TURNSTILE", '{"secret": "s3cret-word", "url": "http://example.com"}'),
        ("ORCHESTRATOR_ID_ISSUER_SHOP", '{"issuer": "i", "audience": "a", "jwks_url": "ftp://example.com"}'),
        ("ORCHESTRATOR_ID_ISSUER_SHOP", '{"issuer": "i", "audience": "a", "jwks_url": "https://example.com", "algorithms": ["HS256"]}'),
    ],
    ids=["no secret", "unknown without address", "plain http", "no web address", "shared secret"],
)  # fmt: skip
def test_a_wrong_setting_names_its_variable(name: str, value: str) -> None:
    """Whoever starts a worker with it reads which variable to correct, and never a secret."""
    with pytest.raises(ConfigurationError, match=name) as error:
        proofs_from({name: value})
    assert "s3cret-word" not in str(error.value)
