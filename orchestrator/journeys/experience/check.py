"""Everything a JSON Schema can't say about an experience; all of it at once, each with its place and a cure."""

from collections.abc import Iterator, Mapping
from typing import Any

from orchestrator.core.decider import Problem
from orchestrator.core.durations import duration_ms
from orchestrator.distributions.base import Distribution
from orchestrator.distributions.reading import instant_ms
from orchestrator.journeys.experience.check_rules import check_attributes, check_routing
from orchestrator.journeys.experience.compile import PRIORITY, window
from orchestrator.journeys.experience.stages import ACCESS_CODE, WAITLIST


def check(document: Mapping[str, Any], mechanisms: Mapping[str, Distribution]) -> list[Problem]:
    """Every problem of a document that fits the schema."""
    return [
        *_times("", document),
        *_gates("/requirements", document.get("requirements", ()), document),
        *_codes(document),
        *_sequences(document),
        *_distributions(document, mechanisms),
        *_trust(document),
    ]


def _times(pointer: str, source: Mapping[str, Any]) -> Iterator[Problem]:
    found: dict[str, int] = {}
    for name in ("opens_at", "closes_at"):
        if name not in source:
            continue
        try:
            found[name] = instant_ms(source[name])
        except ValueError as error:
            yield Problem(f"{pointer}/{name}", str(error), "write an instant with its offset")
    if len(found) == 2 and found["closes_at"] <= found["opens_at"]:
        yield Problem(f"{pointer}/closes_at", "it closes before it opens", "write a later instant")


def _span(pointer: str, text: Any) -> Iterator[Problem]:
    try:
        duration_ms(text)
    except ValueError as error:
        yield Problem(pointer, str(error), "write a span such as 15m")


def _gates(pointer: str, gates: Any, document: Mapping[str, Any]) -> Iterator[Problem]:
    seen: set[str] = set()
    for n, gate in enumerate(gates):
        place, type = f"{pointer}/{n}", gate["type"]
        if type in seen:
            yield Problem(f"{place}/type", f"a second requirement of type {type}", "join the two")
        seen.add(type)
        if type == ACCESS_CODE:
            yield from _code_gate(place, gate, document)
            continue
        if "codes" in gate:
            yield Problem(
                f"{place}/codes", "codes pass an access_code gate alone", "remove it, or change the type"
            )
        provider = gate.get("provider")
        if provider is None and not document.get("trusted_sources"):
            message = "nobody could ever fulfil it: there is neither a provider nor a trusted source"
            yield Problem(place, message, "name a `provider`, or list `trusted_sources`")


def _code_gate(pointer: str, gate: Mapping[str, Any], document: Mapping[str, Any]) -> Iterator[Problem]:
    known = {code["id"] for code in document.get("access_codes", {}).get("codes", ())}
    if not known:
        yield Problem(pointer, "the experience has no access codes", "add `access_codes`")
    if "provider" in gate:
        yield Problem(f"{pointer}/provider", "no provider checks access codes", "remove it")
    for n, id in enumerate(gate.get("codes", ())):
        if known and id not in known:
            yield Problem(
                f"{pointer}/codes/{n}", f"no access code is called {id}", f"write one of: {_some(known)}"
            )


def _codes(document: Mapping[str, Any]) -> Iterator[Problem]:
    part = document.get("access_codes")
    if part is None:
        return
    if "guesses" in part:
        yield from _span("/access_codes/guesses/within", part["guesses"]["within"])
    ids: set[str] = set()
    hashes: set[str] = set()
    for n, code in enumerate(part["codes"]):
        place = f"/access_codes/codes/{n}"
        if code["id"] in ids:
            yield Problem(f"{place}/id", f"a second access code is called {code['id']}", "rename one")
        if code["hash"] in hashes:
            yield Problem(f"{place}/hash", "two access codes are the same", "remove one")
        ids.add(code["id"])
        hashes.add(code["hash"])
        if "expires_at" in code:
            try:
                instant_ms(code["expires_at"])
            except ValueError as error:
                yield Problem(f"{place}/expires_at", str(error), "write an instant with its offset")
    gates = [
        *document.get("requirements", ()),
        *(g for s in document["sequences"] for g in s.get("gates", ())),
    ]
    if not any(gate["type"] == ACCESS_CODE for gate in gates):
        rules = any("access_code" in str(sequence.get("when", "")) for sequence in document["sequences"])
        if not rules:
            message = "no requirement, gate or rule asks for an access code"
            yield Problem(
                "/access_codes", message, "add an access_code requirement, or remove the codes", "warning"
            )


def _sequences(document: Mapping[str, Any]) -> Iterator[Problem]:
    ids: set[str] = set()
    places: dict[str, Any] = document["distributions"]
    used: set[str] = set()
    for n, sequence in enumerate(document["sequences"]):
        pointer = f"/sequences/{n}"
        if sequence["id"] in ids:
            yield Problem(f"{pointer}/id", f"a second sequence is called {sequence['id']}", "rename one")
        ids.add(sequence["id"])
        yield from _times(pointer, sequence)
        yield from _gates(f"{pointer}/gates", sequence.get("gates", ()), document)
        yield from check_routing(f"{pointer}/when", sequence)
        yield from check_attributes(f"{pointer}/attributes", sequence)
        for field in ("distribution", "waitlist"):
            id = sequence.get(field)
            if id is None:
                continue
            used.add(id)
            if id not in places:
                message = f"no distribution is called {id}"
                yield Problem(f"{pointer}/{field}", message, f"write one of: {_some(places)}")
            elif (places[id].get("mechanism") == WAITLIST) != (field == "waitlist"):
                cure = (
                    "name it under `waitlist`"
                    if field == "distribution"
                    else "name a distribution with mechanism waitlist"
                )
                yield Problem(f"{pointer}/{field}", f"{id} is a {places[id].get('mechanism')}", cure)
        if sequence.get("on_admission_expired") == WAITLIST and "waitlist" not in sequence:
            yield Problem(f"{pointer}/on_admission_expired", "the sequence has no waitlist", "add `waitlist`")
        opens = window(document, sequence)[0] or document.get("opens_at")
        if "waitlist" in sequence and opens is None:
            message = "the sequence is always open: its waitlist serves only after an admission expired"
            yield Problem(f"{pointer}/waitlist", message, "add `opens_at` to wait for", "warning")
    for id in places:
        if id not in used:
            yield Problem(
                f"/distributions/{id}", f"no sequence leads to {id}", "use it, or remove it", "warning"
            )
    yield from _unreachable(document)


def _unreachable(document: Mapping[str, Any]) -> Iterator[Problem]:
    """Whatever comes after a sequence that takes everybody, for ever, is never reached."""
    order = sorted(
        enumerate(document["sequences"]), key=lambda pair: (pair[1].get("priority", PRIORITY), pair[0])
    )
    for at, (_, sequence) in enumerate(order[:-1]):
        always = sequence.get("when", True) is True and not sequence.get("gates")
        if always and window(document, sequence)[1] is None:
            for index, _later in order[at + 1 :]:
                message = f"{sequence['id']} takes everybody before, until its distribution ends"
                yield Problem(
                    f"/sequences/{index}", message, "give one of them a rule, a gate or a priority", "warning"
                )
            return


def _distributions(document: Mapping[str, Any], mechanisms: Mapping[str, Distribution]) -> Iterator[Problem]:
    for id, part in document["distributions"].items():
        if len(f"{document['id']}.{id}") > 120:
            yield Problem(
                f"/distributions/{id}",
                "the ids of experience and distribution are too long together",
                "shorten one",
            )
        if id == "codes":
            yield Problem(
                "/distributions/codes", "`codes` is kept for the counter of access codes", "rename it"
            )
        for problem in mechanisms[part["mechanism"]].check(part):
            place = f"/distributions/{id}{problem.pointer}"
            yield Problem(place, problem.message, problem.cure, problem.severity)


def _trust(document: Mapping[str, Any]) -> Iterator[Problem]:
    if "answer_within" in document:
        yield from _span("/answer_within", document["answer_within"])
    for n, source in enumerate(document.get("trusted_sources", ())):
        if source.startswith("engine/"):
            message = "sources of the engine can't be trusted by a document"
            yield Problem(f"/trusted_sources/{n}", message, "name the `source` of a service of yours")


def _some(names: Any) -> str:
    return ", ".join(sorted(names)[:10])
