"""A provider of tests that notes its calls and holds them until it is opened."""

import asyncio
from typing import Any, ClassVar

from consumers.actions.base import ActionParams, Context, Done, EffectRequest, Ending


class AnyParams(ActionParams, frozen=True, forbid_unknown_fields=False):
    pass


class Gate:
    """A provider of tests: notes calls, waits for `opened` where asked to."""

    params: ClassVar[type[AnyParams]] = AnyParams

    def __init__(self, name: str = "gate", *, idempotent: bool = True) -> None:
        self.name = name
        self.idempotent = idempotent
        self.calls: list[EffectRequest] = []
        self.called = asyncio.Event()
        self.opened = asyncio.Event()
        self.under_way = 0
        self.most_under_way = 0

    async def perform(self, request: EffectRequest, params: AnyParams, context: Context) -> Ending:
        self.calls.append(request)
        self.called.set()
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            if not request.params.get("quick"):
                await self.opened.wait()
        finally:
            self.under_way -= 1
        return Done({"n": len(self.calls)})


def options(gate: Gate) -> dict[str, Any]:
    return {"providers": (gate,)}
