"""Definition documents: reading, validating, building. Versions live in the engine's repository."""

from orchestrator.definitions.documents import Document, InvalidDocument, read
from orchestrator.definitions.schema import export
from orchestrator.definitions.validation import Report, build, check, kind_named, load, validate

__all__ = [
    "Document",
    "InvalidDocument",
    "Report",
    "build",
    "check",
    "export",
    "kind_named",
    "load",
    "read",
    "validate",
]
