"""`update_profile`: attributes of the customer's record."""

from typing import Any, ClassVar

from msgspec import Struct

from consumers.actions.base import ActionParams, Context, EffectRequest, Ending
from consumers.actions.commanding import send_command


class UpdateProfileParams(ActionParams, frozen=True):
    """`attributes` by name; null takes one away. `record` is the id of a published `customer` document."""

    attributes: dict[str, Any]
    record: str = "profile"


class UpdateProfileProvider:
    """The record decides each key once."""

    name: ClassVar[str] = "update_profile"
    idempotent: ClassVar[bool] = True
    params: ClassVar[type[Struct]] = UpdateProfileParams

    async def perform(self, request: EffectRequest, params: UpdateProfileParams, context: Context) -> Ending:
        """Done with the record's stream."""
        data = {"attributes": params.attributes}
        return await send_command(
            request, context, kind="customer", definition=params.record, command="identify", data=data
        )
