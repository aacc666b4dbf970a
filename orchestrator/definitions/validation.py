"""Everything wrong with a document: first its shape by the kind's JSON Schema, then what the kind knows better."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, Protocol

import jsonschema_rs
from msgspec import Struct

from orchestrator.core.decider import Definition, JourneyKind, Problem
from orchestrator.definitions.documents import Document, InvalidDocument, read
from orchestrator.definitions.problems import problems_of
from orchestrator.journeys import DOCUMENTED, EXPERIENCE
from orchestrator.messages import TEMPLATE
from orchestrator.messages.campaign import CAMPAIGN


class DocumentKind(Protocol):
    """What every published document has: journeys, and templates, which no stream runs through."""

    name: str
    schema: Mapping[str, Any]

    def check(self, document: Mapping[str, Any]) -> Sequence[Problem]: ...


_JOURNEYS = {kind.name: kind for kind in DOCUMENTED}
_KINDS: dict[str, DocumentKind] = {**_JOURNEYS, TEMPLATE.name: TEMPLATE, CAMPAIGN.name: CAMPAIGN}


_ANY_SALT: Final = "00" * 16


class Report(Struct, frozen=True):
    """A document with all its problems, errors first, each in the order of the document."""

    document: Document | None
    problems: tuple[Problem, ...]

    @property
    def errors(self) -> tuple[Problem, ...]:
        return tuple(problem for problem in self.problems if problem.severity == "error")

    @property
    def warnings(self) -> tuple[Problem, ...]:
        return tuple(problem for problem in self.problems if problem.severity != "error")

    def line(self, problem: Problem) -> int | None:
        """The line of a problem (counted from 1), if the document could be read that far."""
        return None if self.document is None else self.document.line(problem.pointer)


def load(data: bytes) -> dict[str, Any]:
    """The document in YAML or JSON bytes, complete and without errors. Raises InvalidDocument with all problems."""
    report = validate(data)
    if report.errors or report.document is None:
        raise InvalidDocument(list(report.errors))
    return report.document.value


def validate(data: bytes) -> Report:
    """All problems of the document in YAML or JSON bytes."""
    try:
        document = read(data)
    except InvalidDocument as invalid:
        return Report(None, tuple(invalid.problems))
    problems = check(document.value)
    return Report(
        document,
        tuple(sorted(problems, key=lambda p: (p.severity != "error", document.line(p.pointer) or 0))),
    )


def check(document: Mapping[str, Any]) -> list[Problem]:
    """All problems of a document already read."""
    name = document.get("kind")
    kind = _KINDS.get(name) if isinstance(name, str) else None
    if kind is None:
        known = ", ".join(sorted(_KINDS))
        said = "the document doesn't say its kind" if "kind" not in document else f"{name!r} is no kind"
        return [Problem("/kind", said, f"write `kind:` and one of: {known}")]
    if kind is EXPERIENCE:
        document = EXPERIENCE.prepare(document, _ANY_SALT)  # a file may hold access codes in clear
    errors = _validator(kind.name).iter_errors(dict(document))
    shape = [problem for error in errors for problem in problems_of(error, kind.schema)]
    return shape or list(kind.check(document))


def build(kind: str, id: str, version: int, document: Mapping[str, Any]) -> Definition:
    """The definition a decider works with. Expects a document without errors; raises KeyError for unknown kinds."""
    journey_kind = _JOURNEYS[kind]
    return Definition(
        kind=kind,
        id=id,
        version=version,
        document=dict(document),
        compiled=journey_kind.compile(document),
        listens=journey_kind.listens(document),
    )


def kind_named(name: str) -> JourneyKind:
    """The journey kind of that name. Raises KeyError."""
    return _JOURNEYS[name]


@lru_cache(maxsize=16)
def _validator(kind: str) -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator(dict(_KINDS[kind].schema), offline=True)
