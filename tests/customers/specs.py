"""Specs of the two kinds kept beside journeys, and what their tests share."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema_rs
import msgspec

from orchestrator import definitions
from orchestrator.core.addresses import parse_stream
from orchestrator.core.decider import Definition, JourneyKind
from orchestrator.core.events import Event
from orchestrator.customers import POINTS, RECORD
from tests.support.spec import Spec

EXAMPLES = Path(__file__).parents[2] / "examples" / "customers"


def document(text: str | bytes) -> dict[str, Any]:
    """A document's value; YAML."""
    return definitions.read(text.encode() if isinstance(text, str) else text).value


def problems(kind: JourneyKind, source: Mapping[str, Any]) -> list[str]:
    """Places of what is wrong with a document: by its schema, or else by the kind's own checks."""
    validator = jsonschema_rs.Draft202012Validator(dict(kind.schema), offline=True)
    shape = ["".join(f"/{step}" for step in e.instance_path) for e in validator.iter_errors(dict(source))]
    return shape or [problem.pointer for problem in kind.check(source)]


def spec(kind: JourneyKind, source: str | bytes | Mapping[str, Any], *, version: int = 1) -> Spec:
    """A spec of a document, which must have no problem."""
    parsed = dict(source) if isinstance(source, Mapping) else document(source)
    assert problems(kind, parsed) == []
    definition = Definition(
        kind.name, parsed["id"], version, parsed, kind.compile(parsed), kind.listens(parsed)
    )
    return Spec(definition, kind, parse_stream(f"acme/c/anna/{kind.name}:{parsed['id']}"))


def record(source: str | bytes | Mapping[str, Any], *, version: int = 1) -> Spec:
    return spec(RECORD, source, version=version)


def ledger(source: str | bytes | Mapping[str, Any], *, version: int = 1) -> Spec:
    return spec(POINTS, source, version=version)


PROFILE = record((EXAMPLES / "profile.yaml").read_bytes())
LEDGER = ledger((EXAMPLES / "points.yaml").read_bytes())


def erased(event: Event) -> Event:
    """The event as it reads once its customer's key is gone."""
    return msgspec.structs.replace(event, private={}) if getattr(event, "private", None) else event


def stored_and_read(event: Event) -> Event:
    """The event after a stay in the log."""
    return msgspec.json.decode(msgspec.json.encode(event), type=type(event))
