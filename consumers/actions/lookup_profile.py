"""`lookup_profile`: attributes that another service knows, asked of it and told to the customer's record."""

from typing import Any, ClassVar

from msgspec import Struct

from consumers.actions.base import ActionParams, Context, Done, EffectRequest, Ending, Failed
from consumers.actions.commanding import send_command
from consumers.actions.webhook import WebhookParams, WebhookProvider

_ATTRIBUTES_MAX = 100


class LookupProfileParams(ActionParams, frozen=True):
    """`url` answers `{"attributes": {...}}`; `secret` names a signing secret. `attributes`: those to ask for, all if empty.

    `record` is the id of a published `customer` document.
    """

    url: str
    secret: str = ""
    attributes: list[str] = []
    record: str = "profile"


class LookupProfileProvider:
    """A signed call as `webhook` makes it, then one `identify` command under the effect's key."""

    name: ClassVar[str] = "lookup_profile"
    idempotent: ClassVar[bool] = True
    params: ClassVar[type[Struct]] = LookupProfileParams

    def __init__(self) -> None:
        self._webhook = WebhookProvider()

    async def perform(self, request: EffectRequest, params: LookupProfileParams, context: Context) -> Ending:
        """Deferred: the record answers, and refuses what its document doesn't allow. `bad_answer` for other JSON."""
        body = {"customer_id": request.stream.owner.id, "attributes": params.attributes}
        call = WebhookParams(url=params.url, body=body, secret=params.secret)
        ending = await self._webhook.perform(request, call, context)
        if not isinstance(ending, Done):
            return ending
        attributes = _attributes(ending.result.get("body"), params.attributes)
        if attributes is None:
            return Failed(
                "bad_answer", f'not {{"attributes": {{…}}}} with 1 to {_ATTRIBUTES_MAX} of those asked for'
            )
        return await send_command(
            request,
            context,
            kind="customer",
            definition=params.record,
            command="identify",
            data={"attributes": attributes},
        )


def _attributes(body: Any, asked: list[str]) -> dict[str, Any] | None:
    """What the answer tells of what was asked for; None for an answer of another shape, or one that tells nothing."""
    match body:
        case {"attributes": dict(found)} if all(isinstance(name, str) for name in found):
            told = {name: value for name, value in found.items() if not asked or name in asked}
            return told if 0 < len(told) <= _ATTRIBUTES_MAX else None
    return None
