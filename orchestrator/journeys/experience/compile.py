"""From a document without errors to what decisions look up."""

from collections.abc import Mapping
from typing import Any

from orchestrator.core.durations import duration_ms
from orchestrator.core.rules import Rule
from orchestrator.core.templates import Template
from orchestrator.distributions.base import Distribution
from orchestrator.distributions.reading import instant_ms
from orchestrator.journeys.experience.model import Code, Codes, Compiled, Gate, Placed, Sequence

PRIORITY: int = 100
"""Of a sequence that doesn't say its own."""


def compile_document(document: Mapping[str, Any], mechanisms: Mapping[str, Distribution]) -> Compiled:
    """The compiled experience. Expects a document without errors."""
    grants = document.get("grants", {})
    return Compiled(
        id=document["id"],
        name=document["name"],
        sequences=tuple(_sequence(document, index) for index in by_priority(document)),
        distributions={
            id: Placed(part["mechanism"], mechanisms[part["mechanism"]].compile_config(part))
            for id, part in document["distributions"].items()
        },
        gates=tuple(_gate(gate) for gate in document.get("requirements", ())),
        codes=_codes(document.get("access_codes")),
        trusted=frozenset(document.get("trusted_sources", ())),
        opens_ms=_instant(document.get("opens_at")),
        closes_ms=_instant(document.get("closes_at")),
        issuer=grants.get("issuer", ""),
        audience=grants.get("audience", ""),
        answer_within_ms=duration_ms(document.get("answer_within", "30s")),
    )


def by_priority(document: Mapping[str, Any]) -> list[int]:
    """The indices of the sequences in the order in which they are tried: by priority, then as written."""
    sequences = document["sequences"]
    return sorted(
        range(len(sequences)), key=lambda index: (sequences[index].get("priority", PRIORITY), index)
    )


def window(document: Mapping[str, Any], sequence: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """When a sequence opens and closes: as it says, else as its distribution's entries do."""
    part = document["distributions"].get(sequence["distribution"], {})
    opens = part.get("opens_at")
    if "pre_queue" in part:
        opens = part["pre_queue"].get("opens_at")
    elif "windows" in part:  # of a timed release
        opens = min((one["at"] for one in part["windows"]), key=_sortable)
    return sequence.get("opens_at", opens), sequence.get("closes_at", part.get("closes_at"))


def _sequence(document: Mapping[str, Any], index: int) -> Sequence:
    source = document["sequences"][index]
    opens, closes = (_instant(text) for text in window(document, source))
    all_opens, all_closes = _instant(document.get("opens_at")), _instant(document.get("closes_at"))
    attributes = source.get("attributes")
    return Sequence(
        id=source["id"],
        name=source.get("name", source["id"]),
        pointer=f"/sequences/{index}",
        distribution=source["distribution"],
        mechanism=document["distributions"][source["distribution"]]["mechanism"],
        when=Rule(source["when"]) if "when" in source else None,
        gates=tuple(_gate(gate) for gate in source.get("gates", ())),
        waitlist=source.get("waitlist", ""),
        opens_ms=max((at for at in (opens, all_opens) if at is not None), default=None),
        closes_ms=min((at for at in (closes, all_closes) if at is not None), default=None),
        on_expired=source.get("on_admission_expired", "end"),
        attributes=None if attributes is None else Template(attributes),
    )


def _gate(source: Mapping[str, Any]) -> Gate:
    return Gate(
        type=source["type"],
        required=source.get("required", True),
        reason=source.get("reason", ""),
        metadata=source.get("metadata", {}),
        provider=source.get("provider", ""),
        codes=frozenset(source.get("codes", ())),
    )


def _codes(source: Mapping[str, Any] | None) -> Codes:
    if source is None:
        return Codes()
    guesses = source.get("guesses", {"limit": 5, "within": "15m"})
    by_hash = {
        code["hash"]: Code(code["id"], _instant(code.get("expires_at")), code.get("uses"))
        for code in source["codes"]
    }
    return Codes(
        salt=bytes.fromhex(source["salt"]),
        ignore_case=source.get("ignore_case", True),
        by_hash=by_hash,
        by_id={code.id: code for code in by_hash.values()},
        guesses=guesses["limit"],
        within_ms=duration_ms(guesses["within"]),
    )


def _sortable(text: str) -> int:
    """An instant in ms; a text that is none comes last, and is told by the mechanism's own check."""
    try:
        return instant_ms(text)
    except ValueError:
        return 1 << 62


def _instant(text: str | None) -> int | None:
    return None if text is None else instant_ms(text)
