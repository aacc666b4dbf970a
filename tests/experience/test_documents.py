"""Documents: every problem with its place and its cure."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from tests.experience.documents import GATED, ONE_SEQUENCE, one
from tests.experience.world import KIND, SALT, definition, parsed, problems


def test_the_documents_of_these_tests_are_good() -> None:
    """What the other tests stand on has no problem."""
    for document in (ONE_SEQUENCE, GATED, one("draw", opens_at="2026-01-05T11:00:00Z", waitlist="wait")):
        assert problems(document) == []


def _set(*path: Any) -> Callable[[dict[str, Any]], None]:
    """Sets the value at a path; the last item is the value."""
    *steps, name, value = path

    def change(document: dict[str, Any]) -> None:
        for step in steps:
            document = document[step]
        document[name] = value

    return change


BAD: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "an id with spaces": (_set("id", "my experience"), "/id"),
    "no instant": (_set("opens_at", "tomorrow"), "/opens_at"),
    "an instant without an offset": (_set("opens_at", "2026-01-05T11:00:00"), "/opens_at"),
    "closing before opening": (
        lambda d: d.update(opens_at="2026-01-06T00:00:00Z", closes_at="2026-01-05T00:00:00Z"),
        "/closes_at",
    ),
    "an unknown field": (_set("sequence", []), "/sequence"),
    "an unknown requirement": (_set("requirements", 0, "type", "height"), "/requirements/0/type"),
    "a requirement twice": (_set("requirements", 2, "type", "authentication"), "/requirements/2/type"),
    "a provider of access codes": (_set("requirements", 1, "provider", "x"), "/requirements/1/provider"),
    "a code that isn't there": (
        _set("sequences", 0, "gates", 0, "codes", ["gold"]),
        "/sequences/0/gates/0/codes/0",
    ),
    "a code twice": (_set("access_codes", "codes", 1, "id", "vip"), "/access_codes/codes/1/id"),
    "the same code under two ids": (
        _set("access_codes", "codes", 1, "code", "vip2026"),
        "/access_codes/codes/1/hash",
    ),
    "an end of a code that is no instant": (
        _set("access_codes", "codes", 1, "expires_at", "soon"),
        "/access_codes/codes/1/expires_at",
    ),
    "no uses": (_set("access_codes", "codes", 2, "uses", 0), "/access_codes/codes/2/uses"),
    "a span that is none": (
        _set("access_codes", "guesses", {"limit": 5, "within": "soon"}),
        "/access_codes/guesses/within",
    ),
    "a span that is too long": (
        _set("access_codes", "guesses", {"limit": 5, "within": "9999d"}),
        "/access_codes/guesses/within",
    ),
    "no codes at all": (lambda d: d.pop("access_codes"), "/requirements/1"),
    "a distribution that isn't there": (
        _set("sequences", 0, "distribution", "lime"),
        "/sequences/0/distribution",
    ),
    "a waitlist that isn't there": (_set("sequences", 0, "waitlist", "wait"), "/sequences/0/waitlist"),
    "a queue as a waitlist": (_set("sequences", 0, "waitlist", "line"), "/sequences/0/waitlist"),
    "a waitlist as a distribution": (
        _set("distributions", "line", "mechanism", "waitlist"),
        "/sequences/0/distribution",
    ),
    "a sequence twice": (_set("sequences", 1, "id", "vip"), "/sequences/1/id"),
    "an unknown mechanism": (
        _set("distributions", "line", "mechanism", "roulette"),
        "/distributions/line/mechanism",
    ),
    "a field the mechanism lacks": (
        _set("distributions", "line", "color", "red"),
        "/distributions/line/color",
    ),
    "a type the mechanism lacks": (_set("distributions", "line", "size", "big"), "/distributions/line/size"),
    "what the mechanism knows better": (_set("distributions", "line", "size", 0), "/distributions/line/size"),
    "the counter's own name": (
        lambda d: d["distributions"].update(codes={"mechanism": "queue"}),
        "/distributions/codes",
    ),
    "a rule that is a list": (_set("sequences", 0, "when", [1]), "/sequences/0/when"),
    "an unknown operator": (_set("sequences", 0, "when", {"iff": [1]}), "/sequences/0/when"),
    "a rule with its own clock": (_set("sequences", 0, "when", {"now": []}), "/sequences/0/when"),
    "an unknown variable": (_set("sequences", 0, "when", {"var": "costumer.tier"}), "/sequences/0/when"),
    "an attribute of an unknown variable": (
        _set("sequences", 0, "attributes", {"weight": {"var": "wheight"}}),
        "/sequences/0/attributes",
    ),
    "a waitlist after an expiry without one": (
        _set("sequences", 0, "on_admission_expired", "waitlist"),
        "/sequences/0/on_admission_expired",
    ),
    "codes on a gate that is none of codes": (
        _set("sequences", 0, "gates", [{"type": "authentication", "provider": "accounts", "codes": ["vip"]}]),
        "/sequences/0/gates/0/codes",
    ),
    "a trusted engine": (_set("trusted_sources", ["engine/streams"]), "/trusted_sources/0"),
    "an answer that may take for ever": (_set("answer_within", "9999d"), "/answer_within"),
}


@pytest.mark.parametrize("name", sorted(BAD))
def test_a_bad_document_is_refused_at_its_place(name: str) -> None:
    """One mistake, one place, and a cure to it."""
    change, pointer = BAD[name]
    document = copy.deepcopy(GATED)
    change(document)
    errors = [problem for problem in problems(document) if problem.severity == "error"]
    assert pointer in [problem.pointer for problem in errors]
    assert all(problem.cure for problem in errors)


def test_all_mistakes_are_told_at_once() -> None:
    """Nobody corrects a document one error at a time."""
    document = copy.deepcopy(GATED)
    document["sequences"][0]["distribution"] = "lime"
    document["sequences"][1]["when"] = {"var": "costumer"}
    document["access_codes"]["codes"][1]["id"] = "vip"
    assert len([problem for problem in problems(document) if problem.severity == "error"]) >= 3


def test_a_requirement_nobody_could_fulfil_is_an_error() -> None:
    """Without a provider and without a trusted source a sign-in would wait for ever."""
    document = {**ONE_SEQUENCE, "requirements": [{"type": "authentication"}]}
    assert problems(document) == []
    untrusting = {name: value for name, value in document.items() if name != "trusted_sources"}
    assert [problem.pointer for problem in problems(untrusting)] == ["/requirements/0"]


def test_what_can_never_happen_is_a_warning() -> None:
    """A sequence behind one that takes everybody, an unused distribution, codes that nobody asks for."""
    two = {
        **ONE_SEQUENCE,
        "sequences": [*ONE_SEQUENCE["sequences"], {"id": "second", "distribution": "line"}],
    }
    assert [(p.pointer, p.severity) for p in problems(two)] == [("/sequences/1", "warning")]
    unused = {
        **ONE_SEQUENCE,
        "distributions": {**ONE_SEQUENCE["distributions"], "spare": {"mechanism": "draw"}},
    }
    assert [(p.pointer, p.severity) for p in problems(unused)] == [("/distributions/spare", "warning")]
    codes = {**ONE_SEQUENCE, "access_codes": {"codes": [{"id": "a", "code": "ABC"}]}}
    assert [(p.pointer, p.severity) for p in problems(codes)] == [("/access_codes", "warning")]
    waits = one(waitlist="wait")
    assert [(p.pointer, p.severity) for p in problems(waits)] == [("/sequences/0/waitlist", "warning")]


def test_a_code_in_clear_is_no_part_of_a_stored_document() -> None:
    """Without preparation the schema refuses it: nothing in clear is published by any way."""
    import jsonschema_rs

    raw = {**GATED, "access_codes": {"salt": SALT, **GATED["access_codes"]}}
    validator = jsonschema_rs.Draft202012Validator(dict(KIND.schema), offline=True)
    assert not validator.is_valid(raw)
    assert validator.is_valid(parsed(raw))


def test_preparing_leaves_broken_documents_to_the_check() -> None:
    """Whatever isn't a list of codes is kept as it is, and told by the schema."""
    code = {"id": "a", "code": "ABC"}
    broken_salts = [{"salt": salt, "codes": [code]} for salt in (5, "", "xyz", "0" * 31, "0" * 33, "0" * 130)]
    broken_codes = [{"codes": [{"id": "a", "code": text}]} for text in ("", "  ", "x" * 201, 5)]
    for codes in (5, {"codes": "x"}, {"codes": [5, {"id": "a"}]}, *broken_salts, *broken_codes):
        document = {**ONE_SEQUENCE, "access_codes": codes}
        assert parsed(document)["access_codes"] == codes
        assert problems(document)


def test_a_compiled_document_says_what_decisions_need() -> None:
    """Order of priority, windows within the experience's, configs made by the mechanisms."""
    document = {
        **GATED, "opens_at": "2026-01-01T00:00:00Z", "closes_at": "2026-02-01T00:00:00Z",
        "grants": {"issuer": "https://grants.example.com", "audience": "shop.example.com"},
    }  # fmt: skip
    compiled = definition(document).compiled
    assert [sequence.id for sequence in compiled.sequences] == ["vip", "general"]
    assert all(sequence.opens_ms == compiled.opens_ms for sequence in compiled.sequences)
    assert all(sequence.closes_ms == compiled.closes_ms for sequence in compiled.sequences)
    assert compiled.distributions["line"].config == {"mechanism": "queue"}
    assert (compiled.issuer, compiled.audience) == ("https://grants.example.com", "shop.example.com")
    assert compiled.codes.by_id["few"].uses == 2
