"""`siteverify`: asks the service that watched a customer whether it took it for a person."""

from typing import Any, ClassVar
from uuid import NAMESPACE_URL, uuid5

from aiohttp import FormData
from msgspec import Struct

from consumers.actions.base import ActionParams, Context, Done, EffectRequest, Ending, Failed
from consumers.actions.delivery import delivery_of
from consumers.actions.proof_settings import SITEVERIFY_URLS
from consumers.actions.provider_calls import Answer, post, server_fault
from consumers.actions.refusals import Refused, refuse

TOKEN_CHARS_MAX = 4_096
_CODES_SHOWN = 5


class SiteverifyParams(ActionParams, frozen=True):
    """`provider` names an account of the settings, `token` is what the customer's page was given."""

    provider: str
    token: str
    remote_ip: str = ""


class SiteverifyProvider:
    """Turnstile's and hCaptcha's call. A token is good for one check, so that a repeat can only say no."""

    name: ClassVar[str] = "siteverify"
    idempotent: ClassVar[bool] = True
    params: ClassVar[type[Struct]] = SiteverifyParams

    async def perform(self, request: EffectRequest, params: SiteverifyParams, context: Context) -> Ending:
        """Done with `{"success": true, "hostname"}`. `not_confirmed` when the service says no."""
        try:
            delivery = delivery_of(context)
            account = delivery.settings.proofs.verifiers.get(params.provider)
            if account is None:
                raise refuse("not_configured", f"no account {params.provider[:40]!r} for siteverify")
            if not params.token or len(params.token) > TOKEN_CHARS_MAX:
                raise refuse("invalid_token", f"a token has 1 to {TOKEN_CHARS_MAX} characters")
            form = {
                "secret": account.secret,
                "response": params.token,
                # Turnstile answers a repeat under the same key as it answered the first call.
                "idempotency_key": str(uuid5(NAMESPACE_URL, request.idempotency_key)),
            }
            if params.remote_ip:
                form["remoteip"] = params.remote_ip
            answer = await post(
                delivery,
                account.url or SITEVERIFY_URLS[params.provider],
                timeout_ms=request.timeout_ms,
                now_ms=context.now_ms(),
                data=FormData(form),
            )
        except Refused as refused:
            return refused.failed
        return _ending(answer, account.hostname)


def _ending(answer: Answer, hostname: str) -> Ending:
    if answer.status >= 500:
        return server_fault(answer)
    said = answer.json
    if answer.status == 429:
        return Failed("status_429", retryable=True, retry_after_ms=answer.retry_after_ms)
    if said.get("success") is True:
        found = said.get("hostname")
        if hostname and found != hostname:
            return Failed("other_hostname", "the check was made on another site")
        return Done({"success": True, "hostname": found if isinstance(found, str) else ""})
    codes = _codes(said.get("error-codes"))
    if "internal-error" in codes:
        return Failed("provider_internal_error", retryable=True)
    if any(code.endswith("input-secret") for code in codes):
        return Failed("not_configured", "the service refuses our secret")
    if said.get("success") is False:
        return Failed("not_confirmed", ", ".join(codes))
    return Failed("answer_unreadable", f"status {answer.status}")


def _codes(found: Any) -> list[str]:
    """The service's own words for why not: names, never data."""
    codes = [c for c in found if isinstance(c, str)] if isinstance(found, list) else []
    return [c[:64] for c in codes[:_CODES_SHOWN]]
