"""One base error and its few kinds; each kind says what the engine does with the message that caused it."""

from typing import Any


class OrchestratorError(Exception):
    """Anything this product raises on purpose."""


class Rejected(OrchestratorError):
    """A business rule says no: the command's outcome is `rejected`, its neighbours are untouched.

    `rule` is a stable dotted name (`lifecycle.trigger_not_allowed`); `inputs` are the JSON values it read.
    """

    def __init__(self, rule: str, **inputs: Any) -> None:
        super().__init__(rule)
        self.rule = rule
        self.inputs = inputs


class Undecidable(OrchestratorError):
    """A message that can't become a decision; it goes to the dead letters with `reason`.

    `reason` is a stable snake_case word used as a metric label: few values, never data. `secret` is what a foreign
    exception said: it may quote personal data, so it is kept with the message's bytes only.
    """

    def __init__(self, reason: str, message: str, secret: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        self.secret = secret


class Malformed(Undecidable):
    """The bytes, headers or data of a message don't have the shape of a command."""

    def __init__(self, message: str, reason: str = "malformed") -> None:
        super().__init__(reason, message)


class Fenced(OrchestratorError):
    """Another owner has moved a position of this lane: everything decided here since is void."""


class LaneStopped(OrchestratorError):
    """The lane can't go on without an operator; the message names the gap and the command that resolves it."""


class ConfigurationError(OrchestratorError):
    """Settings, database and topics don't fit together; the process exits with 78."""
