"""The document kind `template`, as the registry of definitions sees it."""

from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.core.decider import Problem
from orchestrator.messages.check import check
from orchestrator.messages.compile import compile_document, prepared
from orchestrator.messages.model import Compiled
from orchestrator.messages.schema import SCHEMA


class TemplateKind:
    """A published document that isn't a journey: no stream, no state; effects look it up by id and version."""

    name = "template"
    schema: Mapping[str, Any] = SCHEMA

    def check(self, document: Mapping[str, Any]) -> Sequence[Problem]:
        """Every semantic problem of a document that already fits `schema`."""
        return check(document)

    def prepare(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """The document as it is stored: MJML made to HTML once and for all."""
        return prepared(document)

    def compile(self, document: Mapping[str, Any]) -> Compiled:
        """What `render` takes; called once per version and process."""
        return compile_document(document)
