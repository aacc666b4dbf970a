"""`start_journey`: another journey of the same customer begins."""

from typing import Any, ClassVar, Literal

import msgspec
from msgspec import Struct

from consumers.actions.base import ActionParams, Context, EffectRequest, Ending
from consumers.actions.commanding import send_command


class StartJourneyParams(ActionParams, frozen=True):
    """`journey` is the id of a published definition of `kind`; `context` is what it starts with."""

    journey: str
    kind: Literal["flow", "lifecycle"] = "flow"
    context: dict[str, Any] = msgspec.field(default_factory=dict)


class StartJourneyProvider:
    """The journey decides each key once; whether it lets the customer in again is its own rule."""

    name: ClassVar[str] = "start_journey"
    idempotent: ClassVar[bool] = True
    params: ClassVar[type[Struct]] = StartJourneyParams

    async def perform(self, request: EffectRequest, params: StartJourneyParams, context: Context) -> Ending:
        """Done with the journey's stream."""
        data = {"context": params.context}
        return await send_command(
            request, context, kind=params.kind, definition=params.journey, command="start", data=data
        )
