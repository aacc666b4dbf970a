"""`award_points`: points onto the customer's ledger, which is opened by the first award."""

from typing import Any, ClassVar

from msgspec import Struct

from consumers.actions.base import ActionParams, Context, EffectRequest, Ending, Failed
from consumers.actions.commanding import send_command


class AwardPointsParams(ActionParams, frozen=True):
    """`ledger` is the id of a published `points` document. A whole number written as 100.0 is taken as 100."""

    points: int | float
    reason: str
    reference: str = ""
    ledger: str = "ledger"


class AwardPointsProvider:
    """The ledger decides each key once: a retry never awards twice."""

    name: ClassVar[str] = "award_points"
    idempotent: ClassVar[bool] = True
    params: ClassVar[type[Struct]] = AwardPointsParams

    async def perform(self, request: EffectRequest, params: AwardPointsParams, context: Context) -> Ending:
        """Done with the ledger's stream; the balance is in its event `points.awarded.v1` and in its view."""
        points = params.points
        if isinstance(points, float) and not points.is_integer():
            return Failed("invalid_params", "points must be a whole number")
        data: dict[str, Any] = {"points": int(points), "reason": params.reason}
        if params.reference:
            data["reference"] = params.reference
        return await send_command(
            request, context, kind="points", definition=params.ledger, command="award", data=data
        )
