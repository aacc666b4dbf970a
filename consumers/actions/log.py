"""`log`: one structured log line that says the action ran."""

from typing import Any, ClassVar, Literal

import msgspec
import structlog
from msgspec import Struct

from consumers.actions.base import ActionParams, Context, Done, EffectRequest, Ending

MAX_TEXT_CHARACTERS = 1_000
MAX_FIELDS = 50
_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
_log = structlog.get_logger("effects")


class LogParams(ActionParams, frozen=True):
    """`fields` are shown beside `message`; either may be any JSON value and is shown shortened."""

    message: Any = ""
    fields: dict[str, Any] = msgspec.field(default_factory=dict)
    level: Literal["debug", "info", "warning", "error"] = "info"


class LogProvider:
    """Logs are kept by others: a parameter that holds personal data, or might, is named and not shown."""

    name: ClassVar[str] = "log"
    idempotent: ClassVar[bool] = True
    params: ClassVar[type[Struct]] = LogParams

    async def perform(self, request: EffectRequest, params: LogParams, context: Context) -> Ending:  # noqa: ARG002
        """Always succeeds."""
        private = request.private
        if private is None:
            private = frozenset(("message", "fields"))
        shown: dict[str, Any] = {}
        if "message" not in private:
            shown["message"] = _short(params.message)
        if "fields" not in private:
            shown["fields"] = {
                name: _short(value) for name, value in tuple(params.fields.items())[:MAX_FIELDS]
            }
        await _log.alog(
            _LEVELS[params.level],
            "effect.log",
            action=request.action,
            effect=request.effect,
            attempt=request.attempt,
            stream=request.stream.text,
            hidden=sorted(private & request.params.keys()),
            **shown,
        )
        return Done()


def _short(value: Any) -> Any:
    if isinstance(value, bool | int | float | None):
        return value
    return (value if isinstance(value, str) else msgspec.json.encode(value).decode())[:MAX_TEXT_CHARACTERS]
