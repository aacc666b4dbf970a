"""The document of bulk operations: what every installation has, and what may be changed in it."""

from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct

from orchestrator.core.addresses import Stream, resource

PAGE_MAX: Final = 1_000
DEFINITION: Final = "operation"
BUILT_IN: Final[Mapping[str, Any]] = {"kind": "bulk", "id": DEFINITION, "page": 200}
"""Published before the first operation of an installation, unless it published one of its own."""

SCHEMA: Final[Mapping[str, Any]] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Bulk operations",
    "description": "How operations on many runs go about it.",
    "type": "object",
    "properties": {
        "kind": {"const": "bulk"},
        "id": {"const": DEFINITION},
        "name": {"type": "string", "maxLength": 200},
        "description": {"type": "string", "maxLength": 4_000},
        "page": {
            "type": "integer",
            "minimum": 1,
            "maximum": PAGE_MAX,
            "description": "how many runs are looked for, and sent their command, at a time",
        },
    },
    "required": ["kind", "id", "page"],
    "additionalProperties": False,
}


class Compiled(Struct, frozen=True):
    """What `decide` reads of the document."""

    page: int


def compile_document(document: Mapping[str, Any]) -> Compiled:
    """The compiled form; expects a document without errors."""
    return Compiled(document["page"])


def stream_of(organization: str, operation: str) -> Stream:
    """The stream of an operation: a resource of its own in the organization whose runs it is for. Raises Malformed."""
    return Stream(resource(organization, f"bulk-{operation}"), "bulk", DEFINITION)
