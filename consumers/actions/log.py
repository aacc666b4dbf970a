"""`log`: one structured log line that says the action ran."""

from typing import Any, ClassVar, Literal

import structlog
from msgspec import Struct

from consumers.actions.base import ActionParams, Context, Done, EffectRequest, Ending

_log = structlog.get_logger("effects")


class LogParams(ActionParams, frozen=True, forbid_unknown_fields=False):
    """Any parameters are accepted; only `level` is read."""

    level: Literal["debug", "info", "warning", "error"] = "info"


class LogProvider:
    """Prints names, never values: rendered parameters may hold personal data, and logs are kept by others."""

    name: ClassVar[str] = "log"
    idempotent: ClassVar[bool] = True
    params: ClassVar[type[Struct]] = LogParams

    async def perform(self, request: EffectRequest, params: LogParams, context: Context) -> Ending:  # noqa: ARG002
        """Always succeeds."""
        names: list[Any] = sorted(str(name) for name in request.params)
        await _log.alog(
            _LEVELS[params.level],
            "effect.log",
            action=request.action,
            effect=request.effect,
            attempt=request.attempt,
            stream=request.stream.text,
            parameters=names,
        )
        return Done()


_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
