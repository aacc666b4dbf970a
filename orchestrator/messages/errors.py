"""Why a message could not be written. Each reason is a stable word: it becomes the error of an effect."""

from orchestrator.core.errors import OrchestratorError


class RenderFailed(OrchestratorError):
    """A template that gives no message; nothing of it may be sent.

    `reason` is one of: missing_variable, over_limit, template_failed, not_text, line_break, empty_text. The message
    names the part and the place in the template, never a variable's value.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class MissingVariable(RenderFailed):
    """A variable that the template writes out is absent or null. `path` is as the template has it."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__("missing_variable", message)
        self.path = path


class TemplateSyntax(OrchestratorError):
    """A source that is no Liquid. `line` and `column` count from 1 within the part; None when nobody can say."""

    def __init__(self, message: str, line: int | None = None, column: int | None = None) -> None:
        super().__init__(message)
        self.line = line
        self.column = column


class MjmlInvalid(OrchestratorError):
    """An MJML source that can't become HTML."""
