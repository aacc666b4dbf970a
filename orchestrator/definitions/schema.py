"""The JSON Schema of documents, for editors and other tools."""

from typing import Any

from orchestrator.journeys import DOCUMENTED
from orchestrator.messages import TEMPLATE
from orchestrator.messages.campaign import CAMPAIGN


def export(kind: str | None = None) -> dict[str, Any]:
    """The schema of one kind's documents, or of any kind's. Raises KeyError for unknown kinds."""
    schemas = {journey_kind.name: dict(journey_kind.schema) for journey_kind in DOCUMENTED}
    schemas[TEMPLATE.name] = dict(TEMPLATE.schema)
    schemas[CAMPAIGN.name] = dict(CAMPAIGN.schema)
    if kind is not None:
        return schemas[kind]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Journey definition",
        "type": "object",
        "required": ["kind"],
        "properties": {"kind": {"enum": sorted(schemas)}},
        "allOf": [
            {
                "if": {"properties": {"kind": {"const": name}}, "required": ["kind"]},
                "then": {"$ref": f"#/$defs/{name}"},
            }
            for name in sorted(schemas)
        ],
        "$defs": {
            name: {"$id": f"urn:journey-definition:{name}", **schema} for name, schema in schemas.items()
        },
    }
