"""How a callback is turned away. What is said to the caller is a status and nothing else."""

from orchestrator.core.errors import OrchestratorError


class TurnedAway(OrchestratorError):
    """A callback that isn't taken. `result` is a metric's label; `detail` is for whoever has proved who they are."""

    status = 400
    result = "malformed"

    def __init__(self, detail: str = "") -> None:
        super().__init__(detail or self.result)
        self.detail = detail


class Unreadable(TurnedAway):
    """Not the shape that is documented."""


class Unsigned(TurnedAway):
    """No signature at all."""

    status = 401
    result = "unsigned"


class Forged(TurnedAway):
    """A signature that doesn't fit, is too old, or is of somebody we weren't told of."""

    status = 403
    result = "forged"


class Unavailable(TurnedAway):
    """We can't take it now; the provider is to try again."""

    status = 503
    result = "unavailable"
