"""From a record document without errors to what `decide` reads."""

from collections.abc import Mapping
from typing import Any, Final

from orchestrator.core.durations import duration_ms
from orchestrator.customers.record.caps import ANY, Cap
from orchestrator.customers.record.model import Attribute, Compiled, MessageClass

TEXT_CHARS: Final = 256  # of a text whose document names no max_length
JSON_BYTES: Final = 4_096  # the same of an array or object
SIZED: Final = frozenset({"string", "array", "object"})


def compile_document(document: Mapping[str, Any]) -> Compiled:
    """The compiled form; called once per version and process."""
    channels = document.get("channels", {})
    capped = {cap["channel"] for cap in document.get("caps", ())}
    return Compiled(
        attributes={name: _attribute(source) for name, source in document["attributes"].items()},
        keeps_unknown=document.get("unknown", "refuse") == "keep",
        zone=document.get("zone", ""),
        addresses={name: channel["address"] for name, channel in channels.items() if "address" in channel},
        tokens={name: list(channel["tokens"]) for name, channel in channels.items() if "tokens" in channel},
        events={
            type: {name: tuple(path.split(".")) for name, path in paths.items()}
            for type, paths in document.get("events", {}).items()
        },
        caps=tuple(
            Cap(cap["channel"], duration_ms(cap["per"]), cap["limit"], cap["per"])
            for cap in document.get("caps", ())
        ),
        classes={
            name: MessageClass(source.get("exempt", False), source.get("consent", True))
            for name, source in document.get("classes", {}).items()
        },
        capped=tuple(sorted(channels if ANY in capped else capped)),
    )


def _attribute(source: Mapping[str, Any]) -> Attribute:
    standard = TEXT_CHARS if source["type"] == "string" else JSON_BYTES
    return Attribute(source["type"], source["pii"], source.get("max_length", standard))
