"""Where the rest of this room gets its compiled texts: the language is imported at first use."""

from collections.abc import Sequence

from orchestrator.messages.errors import TemplateSyntax
from orchestrator.messages.model import Text


def parsed(source: str, *, html: bool = False) -> Text:
    """A compiled source; with `html`, variables are escaped. Raises TemplateSyntax."""
    from orchestrator.messages import liquid_language  # noqa: PLC0415  takes a third of a second

    return liquid_language.parse(source, html=html)


def mistakes(source: str) -> Sequence[TemplateSyntax]:
    """Everything that keeps a source from being compiled."""
    from orchestrator.messages import liquid_language  # noqa: PLC0415  takes a third of a second

    return tuple(liquid_language.mistakes(source))
